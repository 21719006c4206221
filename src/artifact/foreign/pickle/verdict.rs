//! What to think of an import. An allow-list decides; the list of known weapons only sharpens the wording.

/// One thing a pickle would import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Module, as spelled in the file; `?` where it is not a constant.
    pub module: String,
    /// Qualified name in it; `?` where it is not a constant.
    pub name: String,
    /// Offset of the importing instruction.
    pub offset: usize,
    /// What is to be thought of it.
    pub verdict: ImportVerdict,
}

/// Whether an import belongs in a file of tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImportVerdict {
    /// Needed to describe tensors; on the allow-list.
    Allowed,
    /// Not on the allow-list. Loading the file in Python would import it.
    Unknown,
    /// Known to run commands, import modules or reach files when called.
    Dangerous,
}

/// Imports that `torch.save` makes for tensors, parameters and the containers around them.
const ALLOWED: [(&str, &[&str]); 5] = [
    ("torch._utils", &["_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter"]),
    (
        "torch",
        &[
            "FloatStorage",
            "HalfStorage",
            "BFloat16Storage",
            "DoubleStorage",
            "CharStorage",
            "ByteStorage",
            "ShortStorage",
            "IntStorage",
            "LongStorage",
            "BoolStorage",
            "Size",
            "float32",
            "float16",
            "bfloat16",
            "float64",
            "int8",
            "uint8",
            "int16",
            "int32",
            "int64",
            "bool",
        ],
    ),
    ("torch.storage", &["UntypedStorage", "TypedStorage"]),
    ("torch.nn.parameter", &["Parameter"]),
    ("collections", &["OrderedDict"]),
];

/// Modules that execute, import, open or connect.
const DANGEROUS_MODULES: [&str; 27] = [
    "os",
    "posix",
    "nt",
    "subprocess",
    "sys",
    "runpy",
    "importlib",
    "imp",
    "shutil",
    "socket",
    "pty",
    "ctypes",
    "code",
    "codeop",
    "commands",
    "multiprocessing",
    "asyncio",
    "webbrowser",
    "urllib",
    "http",
    "requests",
    "marshal",
    "pickle",
    "_pickle",
    "tempfile",
    "pathlib",
    "bdb",
];

/// Built-ins that evaluate text, reach attributes or open files.
const DANGEROUS_BUILTINS: [&str; 14] = [
    "eval",
    "exec",
    "execfile",
    "compile",
    "open",
    "__import__",
    "getattr",
    "setattr",
    "delattr",
    "globals",
    "locals",
    "vars",
    "breakpoint",
    "input",
];

/// What importing this name means.
pub fn classify(module: &str, name: &str) -> ImportVerdict {
    if ALLOWED.iter().any(|(known, names)| *known == module && names.contains(&name)) {
        return ImportVerdict::Allowed;
    }
    let top = module.split('.').next().unwrap_or(module);
    let is_builtin = matches!(module, "builtins" | "__builtin__" | "__builtins__");
    // A dotted name walks attributes from an import, so its first step decides as well.
    let first = name.split('.').next().unwrap_or(name);
    if DANGEROUS_MODULES.contains(&top)
        || (is_builtin && DANGEROUS_BUILTINS.contains(&first))
        || (module == "torch" && matches!(first, "load" | "hub" | "jit" | "classes" | "ops"))
        || module.starts_with("torch.hub")
        || module.starts_with("torch.utils.cpp_extension")
        || matches!((module, first), ("operator" | "_operator", "attrgetter" | "methodcaller"))
        || (top == "numpy" && matches!(first, "load" | "fromfile" | "memmap"))
    {
        ImportVerdict::Dangerous
    } else {
        ImportVerdict::Unknown
    }
}
