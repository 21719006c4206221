//! What a script can be told from outside: environment variables, command-line options, and its own defaults.

use std::collections::BTreeSet;

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, ExprCall, Stmt, StmtFunctionDef};
use ruff_text_size::Ranged;

use super::Python;
use super::defaults::{self, Argument, environment_value};
use super::names::dotted;

/// An environment variable the script reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VariableRead {
    /// Its name.
    pub name: String,
    /// 1-based line of the first read.
    pub line: u64,
    /// The value that stands for it while it is unset, where the source states one.
    pub default: Option<String>,
    /// Reading it while it is unset is an error: `os.environ["X"]`.
    pub required: bool,
}

/// An option of `argparse` and its relatives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionRead {
    /// The longest spelling, such as `--seed`; a bare name is a positional argument.
    pub flag: String,
    /// 1-based line.
    pub line: u64,
    /// Default as the source states it.
    pub default: Option<String>,
    /// The script ends without it.
    pub required: bool,
}

/// A default of a class of settings, which nothing outside changes by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldDefault {
    /// Name of the field.
    pub name: String,
    /// 1-based line.
    pub line: u64,
    /// Its literal value.
    pub value: String,
}

/// How a script is told what to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Variables it reads, by name.
    pub variables: Vec<VariableRead>,
    /// Options it takes, in the order of lines.
    pub options: Vec<OptionRead>,
    /// Literal defaults of its classes of settings, in the order of lines.
    pub fields: Vec<FieldDefault>,
    /// It also reads variables whose names are worked out at run time.
    pub reads_computed_names: bool,
    /// It looks at its command line.
    pub reads_arguments: bool,
}

impl Interface {
    /// A variable it reads.
    pub fn variable(&self, name: &str) -> Option<&VariableRead> {
        self.variables.iter().find(|variable| variable.name == name)
    }

    /// An option it takes; `-` and `_` inside are alike.
    pub fn option(&self, flag: &str) -> Option<&OptionRead> {
        let plain = |flag: &str| flag.trim_start_matches('-').replace('-', "_");
        self.options.iter().find(|option| option.flag.starts_with('-') && plain(&option.flag) == plain(flag))
    }
}

/// Reads a script's interface from its syntax tree.
pub fn of(python: &Python) -> Interface {
    let mut helpers = Helpers::default();
    visitor::walk_body(&mut helpers, &python.module().body);
    let mut reader = Reader { python, helpers, found: Interface::default(), functions: Vec::new() };
    visitor::walk_body(&mut reader, &python.module().body);
    let mut found = reader.found;
    found.variables.sort();
    found.variables.dedup_by(|later, first| {
        let same = later.name == first.name;
        if same && first.default.is_none() {
            first.default = later.default.take();
        }
        first.required &= !same || later.required;
        same
    });
    found
}

/// Names that stand for `os.environ`, for its `get`, or for a function around it.
#[derive(Default)]
struct Helpers {
    mappings: BTreeSet<String>,
    getters: BTreeSet<String>,
    /// The parameters of the function being walked.
    parameters: Vec<(String, BTreeSet<String>)>,
}

impl Helpers {
    fn is_mapping(&self, name: &str) -> bool {
        matches!(name, "os.environ" | "environ" | "_os.environ") || self.mappings.contains(name)
    }

    fn is_getter(&self, name: &str) -> bool {
        let method = name.rsplit_once('.');
        let of_mapping = |(mapping, method): (&str, &str)| {
            matches!(method, "get" | "setdefault" | "pop") && self.is_mapping(mapping)
        };
        matches!(name, "os.getenv" | "getenv") || method.is_some_and(of_mapping) || self.getters.contains(name)
    }
}

impl<'a> Visitor<'a> for Helpers {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::FunctionDef(function) => {
                self.parameters.push((function.name.to_string(), parameters(function)));
                visitor::walk_stmt(self, stmt);
                self.parameters.pop();
                return;
            }
            Stmt::Assign(assign) => {
                if let [Expr::Name(target)] = assign.targets.as_slice() {
                    let value = match assign.value.as_ref() {
                        value @ (Expr::Name(_) | Expr::Attribute(_)) => dotted(value),
                        _ => String::new(),
                    };
                    if self.is_mapping(&value) {
                        self.mappings.insert(target.id.to_string());
                    } else if self.is_getter(&value) {
                        self.getters.insert(target.id.to_string());
                    } else if let Expr::Lambda(lambda) = assign.value.as_ref() {
                        let names = lambda.parameters.iter().flat_map(|all| all.iter());
                        let names = names.map(|parameter| parameter.name().to_string()).collect();
                        self.parameters.push((target.id.to_string(), names));
                        visitor::walk_expr(self, &lambda.body);
                        self.parameters.pop();
                    }
                }
            }
            _ => {}
        }
        visitor::walk_stmt(self, stmt);
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        let name = match expr {
            Expr::Call(call) if self.is_getter(&dotted(&call.func)) => call.arguments.args.first(),
            Expr::Subscript(subscript) if self.is_mapping(&dotted(&subscript.value)) => Some(subscript.slice.as_ref()),
            _ => None,
        };
        if let (Some(Expr::Name(name)), Some((function, parameters))) = (name, self.parameters.last())
            && parameters.contains(name.id.as_str())
        {
            self.getters.insert(function.clone());
        }
        visitor::walk_expr(self, expr);
    }
}

fn parameters(function: &StmtFunctionDef) -> BTreeSet<String> {
    function.parameters.iter().map(|parameter| parameter.name().to_string()).collect()
}

struct Reader<'a> {
    python: &'a Python,
    helpers: Helpers,
    found: Interface,
    /// Names of the functions around.
    functions: Vec<String>,
}

impl Reader<'_> {
    fn read(&mut self, name: Option<&Expr>, default: Option<String>, required: bool, at: &impl Ranged) {
        match name {
            Some(Expr::StringLiteral(literal)) => self.found.variables.push(VariableRead {
                name: literal.value.to_str().to_string(),
                line: self.python.line(at.start()),
                default,
                required,
            }),
            // Inside of a helper the names come from its callers.
            Some(_) if !self.functions.iter().any(|name| self.helpers.getters.contains(name)) => {
                self.found.reads_computed_names = true;
            }
            _ => {}
        }
    }

    fn call(&mut self, call: &ExprCall) {
        let name = dotted(&call.func);
        if self.helpers.is_getter(&name) {
            let default = defaults::of_read(call).and_then(environment_value);
            self.read(call.arguments.args.first(), default, false, call);
        } else if let Some(argument) = Argument::of(call) {
            self.found.reads_arguments = true;
            if let Some(&flag) = argument.flags.iter().max_by_key(|flag| (flag.starts_with("--"), flag.len())) {
                let is_true = |value: &Expr| matches!(value, Expr::BooleanLiteral(literal) if literal.value);
                let (default, is_there) = (argument.keyword("default"), |name| argument.keyword(name).is_some());
                self.found.options.push(OptionRead {
                    flag: flag.to_string(),
                    line: self.python.line(call.start()),
                    default: default.and_then(environment_value),
                    required: argument.keyword("required").is_some_and(is_true)
                        || !flag.starts_with('-') && !is_there("nargs") && default.is_none(),
                });
            }
        } else if let Some((mapping, method)) = name.rsplit_once('.')
            && self.helpers.is_mapping(mapping)
            && matches!(method, "items" | "keys" | "values")
        {
            self.found.reads_computed_names = true;
        }
    }
}

impl<'a> Visitor<'a> for Reader<'_> {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::FunctionDef(function) => {
                self.functions.push(function.name.to_string());
                visitor::walk_stmt(self, stmt);
                self.functions.pop();
                return;
            }
            Stmt::ClassDef(class) => {
                for field in &class.body {
                    let (name, value) = match field {
                        Stmt::AnnAssign(assign) => (assign.target.as_ref(), assign.value.as_deref()),
                        Stmt::Assign(assign) => match assign.targets.as_slice() {
                            [target] => (target, Some(assign.value.as_ref())),
                            _ => continue,
                        },
                        _ => continue,
                    };
                    if let (Expr::Name(name), Some(value)) = (name, value.and_then(environment_value)) {
                        let line = self.python.line(field.start());
                        self.found.fields.push(FieldDefault { name: name.id.to_string(), line, value });
                    }
                }
            }
            Stmt::Assign(assign) if matches!(assign.value.as_ref(), Expr::Lambda(_)) => {
                self.functions.extend(assign.targets.first().map(plain_name));
                visitor::walk_stmt(self, stmt);
                self.functions.pop();
                return;
            }
            // Writing a variable is no reading.
            Stmt::Assign(assign) if assign.targets.iter().any(|target| self.is_environment_item(target)) => {
                visitor::walk_expr(self, &assign.value);
                return;
            }
            _ => {}
        }
        visitor::walk_stmt(self, stmt);
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Call(call) => self.call(call),
            Expr::Subscript(subscript) if self.is_environment_item(expr) => {
                self.read(Some(&subscript.slice), None, true, subscript);
            }
            Expr::Compare(compare) => {
                let environment = compare.comparators.iter().any(|right| self.helpers.is_mapping(&plain_name(right)));
                if environment {
                    self.read(Some(&compare.left), None, false, compare);
                }
            }
            Expr::Attribute(_) if plain_name(expr) == "sys.argv" => self.found.reads_arguments = true,
            _ => {}
        }
        visitor::walk_expr(self, expr);
    }
}

impl Reader<'_> {
    fn is_environment_item(&self, expr: &Expr) -> bool {
        matches!(expr, Expr::Subscript(subscript) if self.helpers.is_mapping(&plain_name(&subscript.value)))
    }
}

/// `a.b` of a name or attribute; nothing of a call.
fn plain_name(expr: &Expr) -> String {
    match expr {
        Expr::Name(_) | Expr::Attribute(_) => dotted(expr),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Interface {
        of(&Python::parse(text).unwrap())
    }

    fn variables(text: &str) -> Vec<(String, Option<String>, bool)> {
        read(text).variables.into_iter().map(|v| (v.name, v.default, v.required)).collect()
    }

    #[test]
    fn every_spelling_of_a_variable() {
        for (text, name, default, required) in [
            ("x = int(os.environ.get('SEED', 1337))", "SEED", Some("1337"), false),
            ("x = os.environ.get('SEED', \"7\")", "SEED", Some("7"), false),
            ("x = os.getenv('SEED')", "SEED", None, false),
            ("x = os.getenv('LR', default=1e-3)", "LR", Some("0.001"), false),
            ("from os import environ\nx = environ['SEED']", "SEED", None, true),
            ("x = bool(int(os.environ.get('A', str(0))))", "A", Some("0"), false),
            ("x = os.environ.get('A', True)", "A", Some("1"), false),
            ("x = os.environ.get('A', -1.5)", "A", Some("-1.5"), false),
            ("x = os.environ.get('A', f'{y}')", "A", None, false),
            ("x = 'RANK' in os.environ", "RANK", None, false),
            ("os.environ.setdefault('A', '3')", "A", Some("3"), false),
            ("def env(name, d):\n    return type(d)(os.environ.get(name, d))\nx = env('A', 3)", "A", Some("3"), false),
            ("def env(name):\n    return os.environ[name]\nclass H:\n    a = int(env('A'))", "A", None, false),
            ("E = os.environ.get\nx = E('A', 2)", "A", Some("2"), false),
            ("e = os.environ\nx = e.get('A', 2)", "A", Some("2"), false),
            ("g = lambda k, d: int(os.environ.get(k, d))\nx = g('A', 2)", "A", Some("2"), false),
            ("def f(x=os.environ.get('A', 2)): pass", "A", Some("2"), false),
        ] {
            let expected = [(name.to_string(), default.map(str::to_string), required)];
            let found = read(text);
            assert_eq!(variables(text), expected, "{text}");
            assert!(!found.reads_computed_names, "{text}");
        }
    }

    #[test]
    fn writing_is_no_reading_and_computed_names_are_said() {
        assert!(variables("os.environ['A'] = '1'").is_empty());
        assert!(read("for k in ks:\n    x = os.environ.get(k.upper())").reads_computed_names);
        assert!(read("for k, v in os.environ.items(): pass").reads_computed_names);
        assert!(!read("subprocess.run(x, env=os.environ.copy())").reads_computed_names);
    }

    #[test]
    fn the_deepest_accepted_source_is_walked_on_a_test_thread() {
        let depth = crate::submission::code::python::MAX_DEPTH - 20;
        for text in [
            format!("x = 1{}\n", " + 1".repeat(depth)),
            format!("x = a{}\n", ".b".repeat(depth)),
            format!("x = a{}\n", "(1)".repeat(depth / 2)),
            format!("x = {}1{}\n", "f(".repeat(depth / 2), ")".repeat(depth / 2)),
            format!("x = os.environ{}\n", ".get('a')".repeat(depth / 3)),
        ] {
            of(&Python::parse(&text).unwrap());
        }
    }

    #[test]
    fn options_fields_and_first_defaults() {
        let found = read(
            "import argparse\np = argparse.ArgumentParser()\np.add_argument('-s', '--seed', type=int, default=42)\n\
             p.add_argument('mode')\np.add_argument('--out', required=True)\n@dataclass\nclass C:\n    lr: float = 0.5\n    \
             n = 3\n    m = f()\n",
        );
        let options: Vec<_> =
            found.options.iter().map(|o| (o.flag.as_str(), o.default.as_deref(), o.required)).collect();
        assert_eq!(options, [("--seed", Some("42"), false), ("mode", None, true), ("--out", None, true)]);
        assert!(found.reads_arguments && found.option("--seed").is_some() && found.option("--mode").is_none());
        let fields: Vec<_> = found.fields.iter().map(|f| (f.name.as_str(), f.value.as_str(), f.line)).collect();
        assert_eq!(fields, [("lr", "0.5", 8), ("n", "3", 9)]);
        let twice = read("a = os.environ['A']\nb = os.environ.get('A', 5)\n");
        assert_eq!(
            twice.variables,
            [VariableRead { name: "A".into(), line: 1, default: Some("5".into()), required: false }]
        );
    }
}
