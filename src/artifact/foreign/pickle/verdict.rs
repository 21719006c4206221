//! What to think of an import. An allow-list decides; the list of known weapons only sharpens the wording.

use std::sync::Arc;

/// One thing a pickle would import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Module, as spelled in the file; `?` where it is not a constant.
    pub module: Arc<str>,
    /// Qualified name in it; `?` where it is not a constant.
    pub name: Arc<str>,
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

/// Imports that `torch.save` and NumPy make for tensors, arrays, scalars and the containers around them. None of them,
/// called with any of the others, does more than build values: the list keeps to what `torch.load(weights_only=True)`
/// allows, plus NumPy's own functions for arrays and scalars.
const ALLOWED: [(&[&str], &[&str]); 13] = [
    (
        &["torch._utils"],
        &[
            "_rebuild_tensor",
            "_rebuild_tensor_v2",
            "_rebuild_tensor_v3",
            "_rebuild_parameter",
            "_rebuild_parameter_with_state",
            "_rebuild_qtensor",
            "_rebuild_sparse_tensor",
            "_rebuild_sparse_csr_tensor",
            "_rebuild_meta_tensor_no_storage",
            "_rebuild_nested_tensor",
            "_rebuild_device_tensor_from_numpy",
            "_rebuild_wrapper_subclass",
        ],
    ),
    (
        &["torch"],
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
            "ComplexFloatStorage",
            "ComplexDoubleStorage",
            "QInt8Storage",
            "QUInt8Storage",
            "QInt32Storage",
            "QUInt4x2Storage",
            "QUInt2x4Storage",
            "UntypedStorage",
            "Tensor",
            "Size",
            "device",
            "per_tensor_affine",
            "per_tensor_symmetric",
            "per_channel_affine",
            "per_channel_symmetric",
            "per_channel_affine_float_qparams",
            "strided",
            "sparse_coo",
            "sparse_csr",
            "sparse_csc",
            "sparse_bsr",
            "sparse_bsc",
            "contiguous_format",
            "channels_last",
            "preserve_format",
        ],
    ),
    (&["torch"], &DTYPES),
    (&["torch._tensor"], &["_rebuild_from_type_v2"]),
    (&["torch.storage"], &["UntypedStorage", "TypedStorage", "_load_from_bytes"]),
    (&["torch.serialization"], &["_get_layout"]),
    (&["torch.nn.parameter"], &["Parameter", "Buffer"]),
    (&["collections"], &["OrderedDict", "defaultdict", "Counter"]),
    (&["_codecs"], &["encode"]),
    (
        &["builtins", "__builtin__"],
        &[
            "bool",
            "bytearray",
            "bytes",
            "complex",
            "dict",
            "float",
            "frozenset",
            "int",
            "list",
            "set",
            "slice",
            "str",
            "tuple",
        ],
    ),
    (&["numpy.core.multiarray", "numpy._core.multiarray"], &["_reconstruct", "scalar"]),
    (&["numpy.core.numeric", "numpy._core.numeric"], &["_frombuffer"]),
    (&["numpy"], &["dtype", "ndarray"]),
];

/// Element types of PyTorch.
const DTYPES: [&str; 49] = [
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
    "uint16",
    "uint32",
    "uint64",
    "complex32",
    "complex64",
    "complex128",
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
    "float4_e2m1fn_x2",
    "qint8",
    "quint8",
    "qint32",
    "quint4x2",
    "quint2x4",
    "bits8",
    "bits16",
    "bits1x8",
    "bits2x4",
    "bits4x2",
    "uint1",
    "uint2",
    "uint3",
    "uint4",
    "uint5",
    "uint6",
    "uint7",
    "int1",
    "int2",
    "int3",
    "int4",
    "int5",
    "int6",
    "int7",
    "float",
    "half",
    "double",
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

/// What is read of the name of a module, or of something in it; a longer one is judged by its beginning. A program may
/// recall one text as a name very often.
pub const MAX_NAME_BYTES: usize = 255;

/// The part of a name that is read.
pub fn name_start(name: &str) -> &str {
    name.get(..name.floor_char_boundary(MAX_NAME_BYTES)).unwrap_or(name)
}

/// What importing this name means.
pub fn classify(module: &str, name: &str) -> ImportVerdict {
    let is_whole = module.len().max(name.len()) <= MAX_NAME_BYTES;
    let (module, name) = (name_start(module), name_start(name));
    // `numpy.dtypes.Float64DType`, and so on: classes of element types, which take no arguments.
    let is_dtype =
        module == "numpy.dtypes" && name.ends_with("DType") && name.bytes().all(|b| b.is_ascii_alphanumeric());
    let is_allowed =
        is_dtype || ALLOWED.iter().any(|(modules, names)| modules.contains(&module) && names.contains(&name));
    if is_whole && is_allowed {
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
