//! Names that imports give to modules and functions: `import subprocess as sp`, `from os import system as s`.

use std::collections::BTreeMap;

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, ExprCall, Stmt};

use super::Python;

/// What each imported name stands for.
#[derive(Default)]
pub struct Aliases(BTreeMap<String, String>);

impl Aliases {
    /// All imports of a file, in any scope.
    pub fn of(python: &Python) -> Self {
        let mut aliases = Aliases::default();
        visitor::walk_body(&mut aliases, &python.module().body);
        aliases
    }

    /// `a.b.c` of a chain of names, with the name at its start replaced by what it stands for. Calls and subscripts are
    /// looked through, and `__import__("os").system` is `os.system`.
    pub fn resolved(&self, expr: &Expr) -> String {
        let mut parts: Vec<&str> = Vec::new();
        let mut at = expr;
        let root: Option<String> = loop {
            match at {
                Expr::Name(name) => break Some(name.id.to_string()),
                Expr::Attribute(attribute) => {
                    parts.push(attribute.attr.as_str());
                    at = &attribute.value;
                }
                Expr::Call(call) => match imported_literally(call) {
                    Some(module) => break Some(module),
                    None => at = &call.func,
                },
                Expr::Subscript(subscript) => at = &subscript.value,
                _ => break None,
            }
        };
        let root = root.map(|root| self.0.get(&root).cloned().unwrap_or(root));
        parts.reverse();
        root.iter().map(String::as_str).chain(parts).collect::<Vec<_>>().join(".")
    }
}

/// The module of `__import__("os")` and `importlib.import_module("os")`.
fn imported_literally(call: &ExprCall) -> Option<String> {
    let name = match &*call.func {
        Expr::Name(name) => name.id.as_str(),
        Expr::Attribute(attribute) => attribute.attr.as_str(),
        _ => "",
    };
    match call.arguments.args.first() {
        Some(Expr::StringLiteral(text)) if matches!(name, "__import__" | "import_module") => {
            Some(text.value.to_str().to_string())
        }
        _ => None,
    }
}

impl<'a> Visitor<'a> for Aliases {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::Import(import) => {
                for alias in &import.names {
                    if let Some(name) = &alias.asname {
                        self.0.insert(name.to_string(), alias.name.to_string());
                    }
                }
            }
            Stmt::ImportFrom(import) => {
                let module = import.module.as_ref().map_or("", |module| module.as_str());
                for alias in &import.names {
                    let name = alias.asname.as_ref().unwrap_or(&alias.name);
                    self.0.insert(name.to_string(), format!("{module}.{}", alias.name));
                }
            }
            // `run = exec`, `sh = subprocess.run`
            Stmt::Assign(assign) => {
                if let ([Expr::Name(name)], Expr::Name(_) | Expr::Attribute(_) | Expr::Call(_)) =
                    (&*assign.targets, &*assign.value)
                {
                    let stands_for = match &*assign.value {
                        Expr::Call(call) => imported_literally(call),
                        value => Some(self.resolved(value)),
                    };
                    let known = |full: &String| {
                        let top = full.split('.').next().unwrap_or_default();
                        matches!(
                            top,
                            "exec" | "eval" | "builtins" | "os" | "subprocess" | "marshal" | "runpy" | "ctypes"
                        ) && full != "os.environ"
                    };
                    if let Some(full) = stands_for.filter(known) {
                        self.0.insert(name.id.to_string(), full);
                    }
                }
            }
            _ => {}
        }
        visitor::walk_stmt(self, stmt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_followed_to_what_they_stand_for() {
        let text = "import subprocess as sp\nfrom os import system as s\nrun = exec\nm = __import__('marshal')\n";
        let python = Python::parse(text).unwrap();
        let aliases = Aliases::of(&python);
        for (text, full) in [
            ("sp.run", "subprocess.run"),
            ("s", "os.system"),
            ("run", "exec"),
            ("m.loads", "marshal.loads"),
            ("__import__('os').popen", "os.popen"),
            ("a.b", "a.b"),
        ] {
            let python = Python::parse(text).unwrap();
            let Stmt::Expr(expr) = &python.module().body[0] else { panic!("{text}") };
            assert_eq!(aliases.resolved(&expr.value), full);
        }
    }
}
