//! Which top-level module of a library imports which, read from its tokens.

use std::io;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One mention of another top-level module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// Top-level module that imports.
    pub from: String,
    /// Top-level module that is imported.
    pub to: String,
    /// File below the library's folder.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
}

/// Every mention in the files that `lib.rs` declares, directly or not, of another top-level module: `use` items,
/// `crate::` paths anywhere (also inside macros), and `super::` paths that reach the crate's root. Code under
/// `#[cfg(test)]` does not count.
pub fn imports(source: &Path) -> io::Result<Vec<Import>> {
    let mut found = Vec::new();
    read_module(source, "lib.rs", &[], &mut found)?;
    found.sort();
    Ok(found)
}

/// Reads the file of the module at `path` and those it declares.
fn read_module(source: &Path, file: &str, path: &[String], found: &mut Vec<Import>) -> io::Result<()> {
    let text = std::fs::read_to_string(source.join(file))?;
    let tokens: TokenStream = text.parse().map_err(|error| io::Error::other(format!("{file}: {error}")))?;
    let mut reader = Reader { file, declared: Vec::new(), found };
    reader.tokens(tokens, path);
    for path in reader.declared {
        let stem = path.join("/");
        let (own, folder) = (format!("{stem}.rs"), format!("{stem}/mod.rs"));
        let file = if source.join(&own).exists() { own } else { folder };
        read_module(source, &file, &path, found)?;
    }
    Ok(())
}

/// Walks the tokens of one file.
struct Reader<'a> {
    file: &'a str,
    declared: Vec<Vec<String>>,
    found: &'a mut Vec<Import>,
}

impl Reader<'_> {
    /// Tokens that stand in the module at `path`.
    fn tokens(&mut self, tokens: TokenStream, path: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            if is_test_attribute(&tokens[at..]) {
                at = after_item(&tokens, at);
                continue;
            }
            match &tokens[at..] {
                [TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Punct(end), ..]
                    if word == "mod" && end.as_char() == ';' =>
                {
                    self.declared.push(child(path, &name.to_string()));
                    at += 3;
                }
                [TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Group(body), ..]
                    if word == "mod" && body.delimiter() == Delimiter::Brace =>
                {
                    self.tokens(body.stream(), &child(path, &name.to_string()));
                    at += 3;
                }
                [TokenTree::Ident(word), ..] if word == "crate" => {
                    self.path(&tokens[at + 1..], &[], path);
                    at += 1;
                }
                [TokenTree::Ident(word), ..] if word == "super" => {
                    let ups = 1 + super_chain(&tokens[at + 1..]);
                    let after = at + 1 + 3 * (ups - 1);
                    let parent = path.len().checked_sub(ups).map(|len| path[..len].to_vec());
                    if let Some(parent) = parent {
                        self.path(&tokens[after..], &parent, path);
                    }
                    at = after;
                }
                [TokenTree::Group(group), ..] => {
                    self.tokens(group.stream(), path);
                    at += 1;
                }
                _ => at += 1,
            }
        }
    }

    /// What follows `crate` or a chain of `super`, which name `base`: `::name` or `::{name, ...}`.
    fn path(&mut self, tokens: &[TokenTree], base: &[String], from: &[String]) {
        let [TokenTree::Punct(a), TokenTree::Punct(b), next, ..] = tokens else { return };
        if (a.as_char(), b.as_char()) != (':', ':') || !base.is_empty() {
            return;
        }
        match next {
            TokenTree::Ident(name) => self.mention(&name.to_string(), from, name.span().start().line),
            TokenTree::Group(group) => {
                let mut is_first = true;
                for token in group.stream() {
                    match token {
                        TokenTree::Ident(name) if is_first => {
                            self.mention(&name.to_string(), from, name.span().start().line);
                            is_first = false;
                        }
                        TokenTree::Punct(comma) if comma.as_char() == ',' => is_first = true,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn mention(&mut self, to: &str, from: &[String], line: usize) {
        // The root itself (`lib.rs`) stands above all.
        let Some(from) = from.first().filter(|from| *from != to) else { return };
        // Items of the root, macros for one, are no modules.
        self.found.push(Import { from: from.clone(), to: to.to_string(), file: self.file.to_string(), line });
    }
}

fn child(path: &[String], name: &str) -> Vec<String> {
    path.iter().cloned().chain([name.to_string()]).collect()
}

/// How many `::super` follow.
fn super_chain(tokens: &[TokenTree]) -> usize {
    match tokens {
        [TokenTree::Punct(a), TokenTree::Punct(b), TokenTree::Ident(word), rest @ ..]
            if (a.as_char(), b.as_char()) == (':', ':') && word == "super" =>
        {
            1 + super_chain(rest)
        }
        _ => 0,
    }
}

/// Whether `#[cfg(test)]` or `#[cfg(all(test, ...))]` comes next.
fn is_test_attribute(tokens: &[TokenTree]) -> bool {
    let [TokenTree::Punct(hash), TokenTree::Group(attribute), ..] = tokens else { return false };
    let text = attribute.stream().to_string().replace(' ', "");
    hash.as_char() == '#' && (text == "cfg(test)" || text.starts_with("cfg(all(test,"))
}

/// The index after the item whose attributes begin at `at`: it ends with `;`, `,` or a group in braces.
fn after_item(tokens: &[TokenTree], at: usize) -> usize {
    let ends = |token: &TokenTree| match token {
        TokenTree::Punct(punct) => matches!(punct.as_char(), ';' | ','),
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        _ => false,
    };
    tokens.iter().skip(at).position(ends).map_or(tokens.len(), |length| at + length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<(String, String)> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        imports(folder.path()).unwrap().into_iter().map(|import| (import.from, import.to)).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect()
    }

    #[test]
    fn use_items_paths_and_macros_count() {
        let a = "use crate::{b::X, c};\nfn f() { crate::d::g(); println!(\"{}\", crate::e::H); }\nmod inner;";
        let inner = "use super::super::f;\nuse super::own;\nuse crate::a::own;";
        let lib = "mod a; mod b; mod c; mod d; mod e; mod f;";
        let empty = ["b.rs", "c.rs", "d.rs", "e.rs", "f.rs"].map(|name| (name, ""));
        let files = [&[("lib.rs", lib), ("a/mod.rs", a), ("a/inner.rs", inner)], &empty[..]].concat();
        assert_eq!(found(&files), pairs(&[("a", "b"), ("a", "c"), ("a", "d"), ("a", "e"), ("a", "f")]));
    }

    #[test]
    fn tests_comments_and_strings_do_not() {
        let a = "// use crate::b;\n/* crate::b */ const T: &str = \"crate::b\";\n\
                 #[cfg(test)]\nuse crate::b;\n#[cfg(test)]\nmod tests { use crate::b; }\n\
                 #[cfg(all(test, feature = \"x\"))]\n#[derive(Debug)]\nstruct S { b: crate::b::B }\n\
                 #[cfg(test)]\nmod more_tests;\nfn after() { crate::c::real(); }";
        let files = [("lib.rs", "mod a; mod b; mod c;"), ("a.rs", a), ("b.rs", ""), ("c.rs", "")];
        assert_eq!(found(&files), pairs(&[("a", "c")]));
    }
}
