//! Other programs that a script starts, and compiled libraries that it loads.

use std::collections::BTreeMap;

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, ExprCall, Stmt};
use ruff_text_size::{Ranged, TextSize};

use super::Python;
use super::aliases::Aliases;
use super::hidden::is_own_file;

/// Calls that start a program, beside `os.exec*`, `os.spawn*` and `os.posix_spawn*`.
const PROGRAM_CALLS: [&str; 13] = [
    "subprocess.run",
    "subprocess.Popen",
    "subprocess.call",
    "subprocess.check_call",
    "subprocess.check_output",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "os.system",
    "os.popen",
    "pty.spawn",
    "asyncio.create_subprocess_exec",
    "asyncio.create_subprocess_shell",
    "pexpect.spawn",
];
/// Programs that describe the machine and the code in the log, or install packages before the run.
const HARMLESS_PROGRAMS: [&str; 17] = [
    "nvidia-smi",
    "nvcc",
    "git",
    "uname",
    "lscpu",
    "pip",
    "pip3",
    "uv",
    "hostname",
    "lspci",
    "nproc",
    "free",
    "df",
    "date",
    "whoami",
    "which",
    "nvidia-settings",
];
/// Calls that load a compiled library or compiled code.
const LIBRARY_CALLS: [&str; 9] = [
    "ctypes.CDLL",
    "ctypes.PyDLL",
    "ctypes.cdll.LoadLibrary",
    "torch.ops.load_library",
    "torch.classes.load_library",
    "torch.jit.load",
    "torch._inductor.aoti_load_package",
    "torch._export.aot_load",
    "onnxruntime.InferenceSession",
];

/// Where a script starts a program that only it knows, or loads a library that lies beside it.
pub fn of(python: &Python, aliases: &Aliases) -> Vec<TextSize> {
    let mut reader = Reader { aliases, constants: BTreeMap::new(), found: Vec::new() };
    visitor::walk_body(&mut reader, &python.module().body);
    reader.found
}

struct Reader<'a> {
    aliases: &'a Aliases,
    /// Variables given a list or a text.
    constants: BTreeMap<String, &'a Expr>,
    found: Vec<TextSize>,
}

impl<'a> Reader<'a> {
    fn call(&mut self, call: &'a ExprCall) {
        let name = self.aliases.resolved(&call.func);
        let Some(first) = call.arguments.args.first().or_else(|| call.arguments.keywords.first().map(|k| &k.value))
        else {
            return;
        };
        let name = match name.strip_prefix("np.") {
            Some(rest) => format!("numpy.{rest}"),
            None => name,
        };
        // `os.execvp` and its seven siblings.
        let family = ["os.exec", "os.spawn", "os.posix_spawn"].iter().any(|start| name.starts_with(start));
        if family || PROGRAM_CALLS.contains(&name.as_str()) {
            if !self.is_harmless(call, first) {
                self.found.push(call.func.start());
            }
            return;
        }
        let loads = LIBRARY_CALLS.contains(&name.as_str()) || name.ends_with("ffi.dlopen");
        if loads && self.is_shipped(first) || name == "numpy.ctypeslib.load_library" {
            self.found.push(call.func.start());
        }
    }

    fn constant(&self, expr: &'a Expr) -> &'a Expr {
        match expr {
            Expr::Name(name) => self.constants.get(name.id.as_str()).copied().unwrap_or(expr),
            _ => expr,
        }
    }

    fn is_harmless(&self, call: &'a ExprCall, first: &'a Expr) -> bool {
        let command = self.constant(first);
        let program = self.first_word(command);
        let base = program.as_deref().map(|program| program.rsplit('/').next().unwrap_or_default().to_string());
        if base.is_some_and(|program| HARMLESS_PROGRAMS.contains(&program.as_str())) {
            return true;
        }
        let mut words = Words::default();
        words.visit_expr(command);
        call.arguments.args.iter().for_each(|argument| words.visit_expr(self.constant(argument)));
        // The script starts itself again, or Python installs a package.
        let elements = match command {
            Expr::List(list) => list.elts.as_slice(),
            Expr::Tuple(tuple) => tuple.elts.as_slice(),
            other => std::slice::from_ref(other),
        };
        let itself =
            words.arguments || elements.iter().any(|part| !matches!(part, Expr::StringLiteral(_)) && is_own_file(part));
        let itself = itself && !words.texts.iter().any(|text| text.ends_with(".py") && text != "train_gpt.py");
        let installs = words.texts.windows(2).any(|pair| pair[0] == "-m" && matches!(pair[1].as_str(), "pip" | "uv"));
        itself || installs || words.texts.iter().any(|text| text.contains("-m pip install"))
    }

    /// The program of `["lrzip", ...]`, `"lrzip -z file"` or `f"nvidia-smi -i {rank}"`.
    fn first_word(&self, command: &Expr) -> Option<String> {
        match command {
            Expr::StringLiteral(text) => text.value.to_str().split_whitespace().next().map(str::to_string),
            Expr::FString(text) => {
                let first = text.value.elements().next()?.as_literal()?;
                first.value.split_whitespace().next().map(str::to_string)
            }
            Expr::List(list) => self.first_word(list.elts.first()?),
            Expr::Tuple(tuple) => self.first_word(tuple.elts.first()?),
            Expr::BinOp(sum) => self.first_word(&sum.left),
            Expr::Name(name) => match self.constants.get(name.id.as_str())? {
                Expr::StringLiteral(text) => Some(text.value.to_str().to_string()),
                _ => None,
            },
            Expr::Call(call) if self.aliases.resolved(&call.func).ends_with("split") => match &*call.func {
                Expr::Attribute(text) if call.arguments.args.is_empty() => self.first_word(&text.value),
                _ => self.first_word(call.arguments.args.first()?),
            },
            Expr::Call(call) if self.aliases.resolved(&call.func) == "shutil.which" => {
                self.first_word(call.arguments.args.first()?)
            }
            _ => None,
        }
    }

    /// Whether a library's path says that it lies beside the script: relative, or made from `__file__`.
    fn is_shipped(&self, path: &'a Expr) -> bool {
        let path = self.constant(path);
        let mut words = Words::default();
        words.visit_expr(path);
        let relative = |text: &String| {
            !text.starts_with('/') && (text.contains('/') && !text.starts_with("nvidia/") && !text.starts_with("lib/"))
                || [".pt", ".ptz", ".pt2", ".onnx", ".ts", ".bin"].iter().any(|end| text.ends_with(end))
        };
        words.own_file || words.texts.iter().any(relative)
    }
}

#[derive(Default)]
struct Words {
    texts: Vec<String>,
    /// `__file__` is among them.
    own_file: bool,
    /// `sys.argv` is among them.
    arguments: bool,
}

impl<'a> Visitor<'a> for Words {
    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::StringLiteral(text) => self.texts.push(text.value.to_str().to_string()),
            Expr::Name(name) => self.own_file |= name.id.as_str() == "__file__",
            Expr::Attribute(attribute) => self.arguments |= attribute.attr.as_str() == "argv",
            _ => {}
        }
        visitor::walk_expr(self, expr);
    }
}

impl<'a> Visitor<'a> for Reader<'a> {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        if let Stmt::Assign(assign) = stmt
            && let [Expr::Name(name)] = &*assign.targets
        {
            self.constants.entry(name.id.to_string()).or_insert(&assign.value);
        }
        visitor::walk_stmt(self, stmt);
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        if let Expr::Call(call) = expr {
            self.call(call);
        }
        visitor::walk_expr(self, expr);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<u64> {
        let python = Python::parse(text).unwrap();
        assert!(python.syntax_errors().is_empty(), "{text}");
        of(&python, &Aliases::of(&python)).into_iter().map(|at| python.line(at)).collect()
    }

    #[test]
    fn programs_that_nobody_else_has_are_found() {
        for script in include_str!("programs/dishonest.py").split("\n# ----\n") {
            assert!(!lines(script).is_empty(), "{script}");
        }
    }

    #[test]
    fn programs_that_describe_the_machine_are_not() {
        for script in include_str!("programs/honest.py").split("\n# ----\n") {
            assert!(lines(script).is_empty(), "{script}");
        }
    }
}
