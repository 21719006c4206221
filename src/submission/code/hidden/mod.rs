//! Code that a reader of the script does not see: text executed from elsewhere, names that are built, other files.
//!
//! Only what shows where the text comes from is found. `exec` of text that the script writes out itself, such as a
//! kernel's, is a way to generate code and no finding.

mod lines;
mod origins;

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, ExprCall, ExprSubscript, Stmt};
use ruff_text_size::{Ranged, TextSize};

pub use self::origins::is_own_file;
use self::origins::{Origins, Source, Written, literals_and_names};
use super::Python;
use super::aliases::Aliases;
use super::notes::NoteKind;

/// What is executed, where, and what is wrong with it.
pub type Hidden = (NoteKind, TextSize, &'static str);

/// All such places of a file, one a line.
pub fn of(python: &Python, aliases: &Aliases) -> Vec<Hidden> {
    let origins = Origins::of(python, aliases);
    let mut reader = Reader { origins: &origins, unpickled: Vec::new(), functions: Vec::new(), found: Vec::new() };
    visitor::walk_body(&mut reader, &python.module().body);
    let mut found = reader.found;
    found.sort_by_key(|(kind, at, _)| (*at, *kind));
    found.dedup_by_key(|(kind, at, _)| (python.line(*at), *kind));
    found
}

struct Reader<'a, 'b> {
    origins: &'b Origins<'a>,
    /// Variables that hold what a pickle gave.
    unpickled: Vec<String>,
    /// Functions around, outermost first.
    functions: Vec<String>,
    found: Vec<Hidden>,
}

/// What is said of a literal that is decoded and executed.
pub const ENCODED: &str = "encoded text is executed";

/// Names of builtins that execute or import.
const EXECUTING: [&str; 4] = ["exec", "eval", "compile", "__import__"];
/// Ends of files that hold code, or anything at all.
const CODE_FILES: [&str; 10] = [".py", ".pyc", ".pyo", ".so", ".zip", ".whl", ".egg", ".pyz", ".pyd", ".bin"];

impl Reader<'_, '_> {
    fn hidden(&mut self, at: TextSize, what: &'static str) {
        self.found.push((NoteKind::HiddenCode, at, what));
    }

    fn another_file(&mut self, at: TextSize) {
        self.found.push((NoteKind::RunsAnotherFile, at, ""));
    }

    /// A file that is run: the script's own text in a temporary file is a way to compile a kernel.
    fn runs(&mut self, at: TextSize, path: &Expr) {
        match self.origins.written_to(path) {
            Written::Text => {}
            Written::Decoded => self.hidden(at, ENCODED),
            Written::Nothing if is_own_file(path) => {}
            Written::Nothing => self.another_file(at),
        }
    }

    fn call(&mut self, call: &ExprCall) {
        let at = call.start();
        let name = self.origins.aliases.resolved(&call.func);
        let method = name.rsplit('.').next().unwrap_or_default();
        let top = name.split('.').next().unwrap_or_default();
        let first = call.arguments.args.first();
        match (name.as_str(), method) {
            ("exec" | "eval" | "builtins.exec" | "builtins.eval", _)
            | (_, "FunctionType" | "runsource" | "runcode") => {
                if let Some(text) = first.or_else(|| call.arguments.keywords.first().map(|keyword| &keyword.value)) {
                    self.executes(at, text);
                }
            }
            (_, "run_path") | ("runpy.run_module", _) => {
                if let Some(path) = first {
                    let library = literals_and_names(path).iter().any(|text| text.starts_with("torch."));
                    if !library {
                        self.runs(at, path);
                    }
                }
            }
            (_, "SourcelessFileLoader" | "ExtensionFileLoader" | "load_compiled" | "load_dynamic") => {
                self.hidden(at, "a compiled module is loaded");
            }
            (
                _,
                "spec_from_file_location" | "SourceFileLoader" | "load_source" | "zipimporter" | "spec_from_loader",
            ) => {
                self.module_file(call, method);
            }
            ("builtins.getattr" | "getattr", _) => self.attribute(call),
            ("__import__" | "importlib.import_module" | "builtins.__import__" | "importlib.__import__", _) => {
                if first.is_some_and(|module| self.origins.is_built(&self.functions.join("."), module)) {
                    self.hidden(at, "a module is imported under a name put together at run time");
                }
            }
            (_, "load" | "loads") if matches!(top, "marshal" | "dill" | "cloudpickle") => {
                self.hidden(at, "compiled code is loaded, which no reader can check");
            }
            (_, "insert" | "append") if name.starts_with("sys.path") => {
                let archive = |text: &String| CODE_FILES[4..].iter().any(|end| text.ends_with(end));
                if call.arguments.args.iter().flat_map(literals_and_names).any(|text| archive(&text)) {
                    self.another_file(at);
                }
            }
            _ => self.starts(call, &name),
        }
        // `fn = pickle.loads(blob); fn()`
        if let Expr::Name(function) = &*call.func
            && self.unpickled.iter().any(|name| name == function.id.as_str())
        {
            self.hidden(at, "a function out of a pickle is called");
        }
    }

    /// `exec`, `eval` and the like of a text.
    fn executes(&mut self, at: TextSize, text: &Expr) {
        let sources = self.origins.sources(&self.functions.join("."), text);
        let what = match () {
            () if sources.contains(&Source::Bytecode) => "compiled code is executed, which no reader can check",
            () if sources.contains(&Source::Environment) => "text from the environment is executed",
            () if sources.contains(&Source::Network) => "text from another machine is executed",
            () if sources.contains(&Source::Input) => "text from the command line or standard input is executed",
            () if sources.contains(&Source::Encoded) && sources.contains(&Source::File) => {
                "what is packed in another file is executed"
            }
            () if sources.contains(&Source::Encoded) => ENCODED,
            () if sources.contains(&Source::File) => return self.another_file(at),
            () => return,
        };
        self.hidden(at, what);
    }

    /// A module loaded from a path.
    fn module_file(&mut self, call: &ExprCall, method: &str) {
        let place = usize::from(method != "zipimporter");
        let path = call.arguments.find_argument_value("location", place);
        let Some(path) = path else { return };
        let names = literals_and_names(path);
        let is_code = |text: &String| CODE_FILES.iter().any(|end| text.ends_with(end)) || text.contains('/');
        let beside = names.iter().any(|name| name == "__file__");
        let decoded = self.origins.written_to(path) == Written::Decoded;
        if names.iter().any(is_code) || beside || decoded || method == "zipimporter" {
            self.runs(call.start(), path);
        }
    }

    /// `getattr(builtins, "ex" + "ec")`, `getattr(__builtins__, "exec")`.
    fn attribute(&mut self, call: &ExprCall) {
        let [object, attribute, ..] = &*call.arguments.args else { return };
        let object = self.origins.aliases.resolved(object);
        let of_builtins = matches!(object.as_str(), "builtins" | "__builtins__");
        let executing = matches!(attribute, Expr::StringLiteral(text) if EXECUTING.contains(&text.value.to_str()));
        let built = self.origins.is_built(&self.functions.join("."), attribute);
        let module =
            matches!(object.as_str(), "os" | "sys" | "importlib" | "marshal" | "ctypes" | "subprocess" | "runpy");
        if of_builtins && (executing || built) || module && built {
            self.hidden(call.start(), "a function is called under a name put together at run time");
        }
    }

    /// `subprocess.run([sys.executable, "other.py"])`.
    fn starts(&mut self, call: &ExprCall, name: &str) {
        let starts = name.starts_with("subprocess.")
            || ["os.exec", "os.spawn", "os.posix_spawn"].iter().any(|start| name.starts_with(start))
            || matches!(name, "os.system" | "os.popen");
        let scripts = || {
            let texts = call.arguments.args.iter().flat_map(literals_and_names).collect::<Vec<_>>();
            texts
                .iter()
                .flat_map(|text| text.split_whitespace())
                .any(|word| word.ends_with(".py") && !matches!(word, "train_gpt.py" | "./train_gpt.py"))
        };
        let written = |path: &Expr| self.origins.written_to(path);
        if starts && call.arguments.args.iter().any(|path| written(path) == Written::Decoded) {
            self.hidden(call.start(), ENCODED);
        } else if starts && scripts() && !call.arguments.args.iter().any(|path| written(path) == Written::Text) {
            self.another_file(call.start());
        }
    }

    /// `__builtins__["exec"]`, `vars(builtins)["ex" + "ec"]`, `globals()["__builtins__"]`.
    fn item(&mut self, part: &ExprSubscript) {
        let (object, looked_through) = match &*part.value {
            Expr::Call(call) => {
                let name = self.origins.aliases.resolved(&call.func);
                let argument = call.arguments.args.first().map(|argument| self.origins.aliases.resolved(argument));
                (if name == "vars" { argument.unwrap_or_default() } else { name }, true)
            }
            other => (self.origins.aliases.resolved(other), false),
        };
        let of_builtins =
            matches!(object.as_str(), "builtins" | "__builtins__" | "builtins.__dict__" | "__builtins__.__dict__");
        let text = match &*part.slice {
            Expr::StringLiteral(text) => text.value.to_str(),
            _ => "",
        };
        let of_globals = looked_through && matches!(object.as_str(), "globals" | "locals");
        if of_builtins && (EXECUTING.contains(&text) || self.origins.is_built(&self.functions.join("."), &part.slice))
            || of_globals && (text == "__builtins__" || EXECUTING.contains(&text))
        {
            self.hidden(part.start(), "a function is called under a name put together at run time");
        }
    }
}

impl<'a> Visitor<'a> for Reader<'_, '_> {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        if let Stmt::FunctionDef(function) = stmt {
            self.functions.push(function.name.to_string());
            visitor::walk_stmt(self, stmt);
            self.functions.pop();
            return;
        }
        if let Stmt::Assign(assign) = stmt
            && let ([Expr::Name(target)], Expr::Call(call)) = (&*assign.targets, &*assign.value)
            && matches!(
                self.origins.aliases.resolved(&call.func).as_str(),
                "pickle.loads" | "pickle.load" | "joblib.load"
            )
        {
            self.unpickled.push(target.id.to_string());
        }
        visitor::walk_stmt(self, stmt);
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Call(call) => self.call(call),
            Expr::Subscript(part) => self.item(part),
            _ => {}
        }
        visitor::walk_expr(self, expr);
    }
}

#[cfg(test)]
mod tests;
