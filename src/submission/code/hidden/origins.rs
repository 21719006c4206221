//! Where text comes from that a script executes.

use std::collections::{BTreeMap, BTreeSet};

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, ExprCall, ExprSubscript, Operator};

use super::super::Python;
use super::super::aliases::Aliases;
use super::super::names::dotted;
use super::lines::Lines;

/// Where something comes from that is not written in the script for a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// `marshal.loads`: compiled code, readable by no editor.
    Bytecode,
    /// A variable of the environment.
    Environment,
    /// Another machine.
    Network,
    /// Arguments or standard input.
    Input,
    /// A literal that is decoded first.
    Encoded,
    /// A file.
    File,
}

/// Rounds over assignments: longer chains of variables are not followed.
const ROUNDS: usize = 5;

/// What decodes or unpacks.
const DECODERS: [&str; 16] = [
    "b64decode",
    "b85decode",
    "a85decode",
    "b32decode",
    "b16decode",
    "urlsafe_b64decode",
    "standard_b64decode",
    "decodebytes",
    "fromhex",
    "unhexlify",
    "decompress",
    "translate",
    "a2b_base64",
    "a2b_hex",
    "decodestring",
    "frombuffer",
];
/// What reads a file, whatever it hangs on.
const READERS: [&str; 11] = [
    "open",
    "read_text",
    "read_bytes",
    "fromfile",
    "memmap",
    "ZipFile",
    "getlines",
    "get_data",
    "getsource_from",
    "fdopen",
    "genfromtxt",
];

/// Sources of the variables and functions of a file, whatever their scope.
pub struct Origins<'a> {
    pub aliases: &'a Aliases,
    /// By function and name; a function in another is `outer.inner`, the module is empty.
    variables: BTreeMap<(String, String), BTreeSet<Source>>,
    functions: BTreeMap<String, BTreeSet<Source>>,
    /// Names of paths, and paths, that the script writes what is written in it to.
    written: BTreeSet<String>,
    /// The same for what it decodes from a literal.
    decoded: BTreeSet<String>,
}

/// What a script wrote to a path before it runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing that is known.
    Nothing,
    /// Text that stands in the script.
    Text,
    /// A literal, decoded.
    Decoded,
}

impl<'a> Origins<'a> {
    pub fn of(python: &Python, aliases: &'a Aliases) -> Self {
        let mut lines = Lines::new(aliases);
        visitor::walk_body(&mut lines, &python.module().body);
        let empty = BTreeSet::new();
        let mut origins = Origins {
            aliases,
            variables: BTreeMap::new(),
            functions: BTreeMap::new(),
            written: empty.clone(),
            decoded: empty,
        };
        for _ in 0..ROUNDS {
            for (scope, names, value) in &lines.assigned {
                let sources = origins.sources(scope, value);
                names.iter().for_each(|name| origins.holds(scope, name, &sources));
            }
            for (name, scope, value) in &lines.returned {
                let sources = origins.sources(scope, value);
                origins.functions.entry(name.clone()).or_default().extend(sources);
            }
            for (scope, function, arguments) in &lines.calls {
                let Some((inside, parameters)) = lines.parameters.get(function) else { continue };
                for (name, argument) in parameters.iter().zip(arguments.iter()) {
                    let sources = origins.sources(scope, argument);
                    origins.holds(inside, name, &sources);
                }
            }
        }
        let handles: BTreeMap<&str, &[String]> =
            lines.handles.iter().map(|(handle, paths)| (handle.as_str(), paths.as_slice())).collect();
        let mut other: BTreeSet<String> = BTreeSet::new();
        for (scope, to, text) in &lines.written {
            let paths = |name: &String| handles.get(name.as_str()).map_or_else(|| vec![name.clone()], |p| p.to_vec());
            let to = to.iter().flat_map(paths);
            let sources = origins.sources(scope, text);
            if sources.is_empty() {
                origins.written.extend(to);
            } else if sources.iter().all(|source| *source == Source::Encoded) {
                origins.decoded.extend(to);
            } else {
                other.extend(to);
            }
        }
        origins.decoded.retain(|name| !other.contains(name));
        origins.written.retain(|name| !other.contains(name) && !origins.decoded.contains(name));
        origins
    }

    fn holds(&mut self, scope: &str, name: &str, sources: &BTreeSet<Source>) {
        self.variables.entry((scope.to_string(), name.to_string())).or_default().extend(sources.iter().copied());
    }

    /// The variable of a name as a function sees it: its own, else that of the function around, else the module's.
    fn variable(&self, scope: &str, name: &str) -> Option<&BTreeSet<Source>> {
        let mut scope = scope;
        loop {
            if let Some(sources) = self.variables.get(&(scope.to_string(), name.to_string())) {
                return Some(sources);
            }
            if scope.is_empty() {
                return None;
            }
            scope = scope.rsplit_once('.').map_or("", |(outer, _)| outer);
        }
    }

    /// All sources an expression draws on.
    pub fn sources(&self, scope: &str, expr: &Expr) -> BTreeSet<Source> {
        let mut finder = Finder { origins: self, scope, found: BTreeSet::new() };
        finder.visit_expr(expr);
        finder.found
    }

    /// What the script itself wrote to a path.
    pub fn written_to(&self, path: &Expr) -> Written {
        let names = literals_and_names(path);
        match () {
            () if names.iter().any(|name| self.decoded.contains(name)) => Written::Decoded,
            () if names.iter().any(|name| self.written.contains(name)) => Written::Text,
            () => Written::Nothing,
        }
    }

    /// Whether the text of an expression is put together so that no search finds it.
    pub fn is_built(&self, scope: &str, expr: &Expr) -> bool {
        let halves = |expr: &Expr| matches!(expr, Expr::BinOp(op) if op.op == Operator::Add && is_text(&op.left) && is_text(&op.right));
        let sources = self.sources(scope, expr);
        halves(expr)
            || [Source::Encoded, Source::Environment, Source::Network].iter().any(|source| sources.contains(source))
    }
}

fn is_text(expr: &Expr) -> bool {
    match expr {
        Expr::StringLiteral(_) => true,
        Expr::BinOp(op) => is_text(&op.left) && is_text(&op.right),
        _ => false,
    }
}

/// `__file__`, `Path(__file__)`, `os.path.abspath(__file__)`, `sys.argv[0]`, `"train_gpt.py"`.
pub fn is_own_file(expr: &Expr) -> bool {
    match expr {
        Expr::Name(name) => name.id.as_str() == "__file__",
        Expr::StringLiteral(text) => matches!(text.value.to_str(), "train_gpt.py" | "./train_gpt.py"),
        Expr::Call(call) => match (&*call.func, call.arguments.args.first()) {
            // `dirname(__file__)` is a folder, with other files.
            (function, Some(argument)) => {
                let name = dotted(function);
                let same = ["Path", "abspath", "realpath", "str", "fspath", "normpath", "PosixPath"];
                same.contains(&name.rsplit('.').next().unwrap_or_default()) && is_own_file(argument)
            }
            (Expr::Attribute(method), None) => method.attr.as_str() != "parent" && is_own_file(&method.value),
            _ => false,
        },
        Expr::Subscript(part) => {
            matches!(&*part.value, Expr::Attribute(argv) if argv.attr.as_str() == "argv")
                && matches!(&*part.slice, Expr::NumberLiteral(_))
        }
        _ => false,
    }
}

/// Names and texts in an expression.
pub fn literals_and_names(expr: &Expr) -> Vec<String> {
    struct All(Vec<String>);
    impl<'a> Visitor<'a> for All {
        fn visit_expr(&mut self, expr: &'a Expr) {
            match expr {
                Expr::StringLiteral(text) => self.0.push(text.value.to_str().to_string()),
                // `os.path.join(folder, name)` is about a folder and a name.
                Expr::Name(name) if !matches!(name.id.as_str(), "os" | "Path" | "pathlib" | "str" | "tempfile") => {
                    self.0.push(name.id.to_string());
                }
                Expr::Attribute(attribute) if matches!(&*attribute.value, Expr::Name(name) if name.id.as_str() == "self") =>
                {
                    self.0.push(attribute.attr.to_string());
                }
                _ => {}
            }
            visitor::walk_expr(self, expr);
        }
    }
    let mut all = All(Vec::new());
    all.visit_expr(expr);
    all.0
}

struct Finder<'a, 'b> {
    origins: &'b Origins<'a>,
    scope: &'b str,
    found: BTreeSet<Source>,
}

impl Finder<'_, '_> {
    /// Whether the call's arguments need no look.
    fn call(&mut self, call: &ExprCall) -> bool {
        let name = self.origins.aliases.resolved(&call.func);
        let (object, method) = name.rsplit_once('.').unwrap_or(("", name.as_str()));
        let top = object.split('.').next().unwrap_or_default();
        let argument = call.arguments.args.first();
        let from_file = READERS.contains(&method)
            || matches!(method, "load" | "loadtxt") && matches!(top, "np" | "numpy" | "torch" | "json" | "pickle");
        if from_file {
            // `open(path)` and `path.read_text()`
            let path = match &*call.func {
                Expr::Attribute(reader) if argument.is_none() || method.starts_with("read_") => Some(&*reader.value),
                _ => argument,
            };
            let writes = call.arguments.args.get(1).is_some_and(
                |mode| matches!(mode, Expr::StringLiteral(mode) if mode.value.to_str().contains(['w', 'a', 'x'])),
            );
            let own = path.is_some_and(|path| is_own_file(path) || self.origins.written_to(path) == Written::Text);
            if !own && !writes {
                self.found.insert(Source::File);
            }
            return true;
        }
        match (top, method) {
            ("marshal" | "dill" | "cloudpickle", "load" | "loads") => {
                self.found.insert(Source::Bytecode);
            }
            ("inspect", "getsource") => return true,
            ("os", "getenv") => {
                self.found.insert(Source::Environment);
            }
            ("", "input") => {
                self.found.insert(Source::Input);
            }
            ("requests" | "httpx", "get" | "post") | (_, "urlopen") => {
                self.found.insert(Source::Network);
            }
            (_, "chr" | "decrypt") => {
                self.found.insert(Source::Encoded);
            }
            ("", "bytes" | "bytearray")
                if matches!(argument, Some(Expr::List(_) | Expr::ListComp(_) | Expr::Generator(_))) =>
            {
                self.found.insert(Source::Encoded);
            }
            ("codecs", "decode") => {
                self.found.insert(Source::Encoded);
            }
            (_, method) if DECODERS.contains(&method) => {
                self.found.insert(Source::Encoded);
            }
            (_, method) => {
                if let Some(sources) = self.origins.functions.get(method) {
                    self.found.extend(sources);
                }
            }
        }
        false
    }
}

impl<'a> Visitor<'a> for Finder<'_, '_> {
    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Call(call) if self.call(call) => return,
            Expr::Attribute(_) => {
                let name = self.origins.aliases.resolved(expr);
                if name.starts_with("os.environ") {
                    self.found.insert(Source::Environment);
                } else if matches!(name.as_str(), "sys.argv" | "sys.stdin") {
                    self.found.insert(Source::Input);
                }
            }
            Expr::Name(name) => {
                if self.origins.aliases.resolved(expr) == "os.environ" {
                    self.found.insert(Source::Environment);
                }
                self.found.extend(self.origins.variable(self.scope, name.id.as_str()).into_iter().flatten());
            }
            Expr::Subscript(part) if is_reversed(part) => {
                self.found.insert(Source::Encoded);
            }
            _ => {}
        }
        visitor::walk_expr(self, expr);
    }
}

/// `text[::-1]`
fn is_reversed(part: &ExprSubscript) -> bool {
    matches!(&*part.slice, Expr::Slice(slice) if slice.step.as_deref().is_some_and(|step| matches!(step, Expr::UnaryOp(_))))
}
