//! Programs assembled by hand from `pickletools`' description of the instructions, and hostile ones.

use super::*;

fn names(pickle: &Pickle) -> Vec<(String, ImportVerdict)> {
    pickle.imports.iter().map(|import| (format!("{}.{}", import.module, import.name), import.verdict)).collect()
}

#[test]
fn nothing_is_run_and_everything_is_listed() {
    // What `pickle.dumps` gives for a class whose __reduce__ returns (os.system, ("true",)), protocol 0 spelling.
    let pickle = interpret(b"cposix\nsystem\np0\n(Vtrue\np1\ntp2\nRp3\n.").unwrap();
    assert_eq!(names(&pickle), [("posix.system".to_string(), ImportVerdict::Dangerous)]);
    let Node::Call { callee, arguments, .. } = pickle.node(pickle.root) else {
        panic!("{:?}", pickle.node(pickle.root))
    };
    assert!(pickle.is_global(*callee, "posix", "system"));
    assert_eq!(pickle.text(pickle.elements(*arguments).unwrap()[0]), Some("true"));
    assert_eq!(pickle.actions.len(), 1);
    assert_eq!((pickle.actions[0].opcode, pickle.actions[0].target), (Opcode::REDUCE, Some(*callee)));
    assert_eq!(pickle.length, 36);
}

#[test]
fn every_way_to_import_is_seen() {
    for (program, expected) in [
        (&b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R."[..], "builtins.eval"),
        (b"(S'true'\nios\nsystem\n.", "os.system"),
        (b"(cos\nsystem\nS'true'\no.", "os.system"),
        (b"\x80\x02cos\nsystem\n)\x81.", "os.system"),
        // The name comes out of the memo.
        (b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x30\x30h\x00h\x01\x93.", "os.system"),
        // The module is computed: not a constant, so not allowed either.
        (b"\x80\x04]\x8c\x06system\x93.", "?.system"),
    ] {
        let pickle = interpret(program).unwrap();
        assert_eq!(names(&pickle)[0].0, expected);
        assert!(pickle.first_refused().is_some());
    }
}

#[test]
fn what_tensors_need_is_allowed_and_nothing_beside_it() {
    for (module, name, verdict) in [
        ("torch._utils", "_rebuild_tensor_v2", ImportVerdict::Allowed),
        ("torch", "HalfStorage", ImportVerdict::Allowed),
        ("collections", "OrderedDict", ImportVerdict::Allowed),
        ("collections", "OrderedDict.__init__.__globals__", ImportVerdict::Unknown),
        ("torch", "load", ImportVerdict::Dangerous),
        ("torch.hub", "load_state_dict_from_url", ImportVerdict::Dangerous),
        ("__builtin__", "getattr", ImportVerdict::Dangerous),
        ("builtins", "eval.__call__", ImportVerdict::Dangerous),
        ("builtins", "set", ImportVerdict::Allowed),
        ("builtins", "map", ImportVerdict::Unknown),
        ("builtins", "type", ImportVerdict::Unknown),
        ("numpy._core.multiarray", "scalar", ImportVerdict::Allowed),
        ("numpy.dtypes", "Float64DType", ImportVerdict::Allowed),
        ("numpy.dtypes", "sys.DType", ImportVerdict::Unknown),
        ("numpy", "load", ImportVerdict::Dangerous),
        ("torch", "float8_e4m3fn", ImportVerdict::Allowed),
        ("torch.serialization", "load", ImportVerdict::Unknown),
        ("torchx", "HalfStorage", ImportVerdict::Unknown),
        ("os.path", "join", ImportVerdict::Dangerous),
        ("my_model", "GPT", ImportVerdict::Unknown),
    ] {
        assert_eq!(classify(module, name), verdict, "{module}.{name}");
    }
}

#[test]
fn values_of_every_kind() {
    // {'a': [1, -1, 256, 2.5, None, True], 'b': (2**40, b'x')} in protocol 2 and 4 instructions.
    let program = b"\x80\x04}(\x8c\x01a](K\x01J\xff\xff\xff\xffM\x00\x01G\x40\x04\x00\x00\x00\x00\x00\x00N\x88e\
                    \x8c\x01b\x8a\x06\x00\x00\x00\x00\x00\x01C\x01x\x86u.";
    let pickle = interpret(program).unwrap();
    let a = pickle.get(pickle.root, "a").unwrap();
    let found: Vec<&Node> = pickle.elements(a).unwrap().iter().map(|&id| pickle.node(id)).collect();
    assert_eq!(
        found,
        [&Node::Int(1), &Node::Int(-1), &Node::Int(256), &Node::Float(2.5), &Node::None, &Node::Bool(true)]
    );
    let b = pickle.elements(pickle.get(pickle.root, "b").unwrap()).unwrap();
    assert_eq!((pickle.node(b[0]), pickle.node(b[1])), (&Node::Int(1 << 40), &Node::Bytes(b"x".to_vec())));
}

#[test]
fn broken_programs_are_errors_with_an_offset() {
    for (program, offset, part) in [
        (&b""[..], 0, "cut short"),
        (b"N", 1, "cut short"),
        (b".", 0, "empty stack"),
        (b"\xff.", 0, "no pickle instruction"),
        (b"(u.", 1, "empty stack"),
        (b"}Ns.", 2, "empty stack"),
        (b"}(Nu.", 3, "key without a value"),
        (b"t.", 0, "no MARK"),
        (b"h\x05.", 0, "never set"),
        (b"X\xff\xff\xff\xffabc", 0, "cut short"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc", 0, "cut short"),
        (b"Vno newline", 0, "line without end"),
        (b"NNs.", 2, "empty stack"),
        (b"Fabc\n.", 0, "no number"),
    ] {
        let error = interpret(program).unwrap_err();
        assert!(error.what.contains(part) && error.offset == offset, "{program:?}: {error}");
    }
    let many = [vec![b'N'; MAX_VALUES + 10], b".".to_vec()].concat();
    assert!(interpret(&many).unwrap_err().what.contains("more than"));
}

#[test]
fn names_are_read_as_python_reads_them() {
    for (program, expected) in [
        // Escapes in quoted and in unquoted text.
        (&b"S'\\x6f\\163'\nS'system'\n\x93."[..], "os.system"),
        (b"V\\u006fs\nVsystem\n\x93.", "os.system"),
        // The registry of extensions is known to the loading process only.
        (b"\x82\x01.", "copyreg.extension 1"),
    ] {
        assert_eq!(names(&interpret(program).unwrap())[0].0, expected);
    }
}

#[test]
fn frames_that_end_within_an_instruction_are_no_honest_program() {
    let framed = |length: u8, rest: &[u8]| [&[0x80, 4, 0x95, length, 0, 0, 0, 0, 0, 0, 0], rest].concat();
    let import = b"ccollections\nOrderedDict\n.";
    let refused =
        |program: &[u8]| interpret(program).unwrap().first_refused().map(|i| format!("{}.{}", i.module, i.name));
    assert_eq!(refused(&framed(import.len() as u8, import)), None);
    // Frames behind one another, and text between them.
    assert_eq!(refused(&[framed(1, b"N"), b"0".to_vec(), framed(2, b"N.")[2..].to_vec()].concat()), None);
    // CPython imports `collections.t` here: it drops the part of the name that lies within the frame.
    assert_eq!(refused(&framed(23, import)), Some("?.?".into()));
    // A frame within a frame that ends behind it, one that ends behind the program, and one behind all bytes.
    assert_eq!(refused(&framed(10, &[&framed(3, b"N0")[2..], b"N."].concat())), Some("?.?".into()));
    assert_eq!(refused(&framed(4, b"N.xx")), Some("?.?".into()));
    assert_eq!(refused(&framed(4, b"N.")), None);
}

#[test]
fn allowed_imports_may_not_be_misused() {
    let encode = |encoding: &[u8]| [b"c_codecs\nencode\n(Vtext\nV", encoding, b"\ntR."].concat();
    assert!(interpret(&encode(b"latin1")).unwrap().first_refused().is_none());
    // A codec is a module that is looked up by name.
    for program in [
        encode(b"evil"),
        b"c_codecs\nencode\n]R.".to_vec(),
        // Attributes of what everybody uses.
        b"ctorch._utils\n_rebuild_tensor_v2\n}Vx\nK\x01sb.".to_vec(),
        b"ctorch.storage\n_load_from_bytes\n(Vtext\ntR.".to_vec(),
    ] {
        let pickle = interpret(&program).unwrap();
        assert_eq!(pickle.first_refused().map(|import| import.verdict), Some(ImportVerdict::Unknown));
    }
}

#[test]
fn what_was_imported_before_a_program_broke_is_told() {
    for (program, called) in [
        (&b"cos\nsystem\n(Vtrue\ntR\xff"[..], true),
        (b"cos\nsystem\n(Vtrue\ntR", true),
        (b"cos\nsystem\n\xff", false),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.\xff".split_at(23).0, true),
    ] {
        let broken = follow(program).unwrap_err();
        let import = broken.first_refused().unwrap();
        assert_eq!((&*import.module, &*import.name, broken.called), ("os", "system", called));
    }
    assert!(follow(b"cos\nsys").unwrap_err().error.is_cut());
    assert!(!follow(b"cos\nsystem\n\xff").unwrap_err().error.is_cut());
}

#[test]
fn recalled_text_is_kept_once_and_long_bytes_not_at_all() {
    // 64 kB of text, imported from 20,000 times: gigabytes if it were copied.
    let mut program = b"\x80\x04\x8d".to_vec();
    program.extend((1u64 << 16).to_le_bytes());
    program.extend(vec![b'a'; 1 << 16]);
    program.extend(b"\x94");
    program.extend(b"h\0h\0\x930".repeat(20_000));
    program.extend(b".");
    let pickle = interpret(&program).unwrap();
    assert_eq!(pickle.imports.len(), 20_000);
    let first = &pickle.imports[0];
    assert!(pickle.imports.iter().all(|i| std::sync::Arc::ptr_eq(&i.module, &first.module)));
    assert!(std::sync::Arc::ptr_eq(&first.module, &first.name));
    assert_eq!(first.verdict, ImportVerdict::Unknown);
    // However long the name, it is the beginning that decides.
    assert_eq!(classify("os", &format!("{}system", "path.os.".repeat(100))), ImportVerdict::Dangerous);
    assert_eq!(classify("numpy.dtypes", &format!("{}DType", "A".repeat(300))), ImportVerdict::Unknown);

    let mut program = b"\x80\x05B\xd0\x07\0\0".to_vec();
    program.extend(vec![7; 2000]);
    program.push(b'.');
    let pickle = interpret(&program).unwrap();
    assert_eq!(*pickle.node(pickle.root), Node::Span(7..2007));
    assert_eq!(pickle.bytes(pickle.root, &program).unwrap().len(), 2000);
}

#[test]
fn containers_imports_and_calls_are_bounded_together() {
    // 2^14 lists that each hold one value 2^10 times.
    let list = [b"(N".to_vec(), b"2".repeat(1 << 10), b"l0".to_vec()].concat();
    let program = [b"N".to_vec(), list.repeat(1 << 14)].concat();
    let error = follow(&program).unwrap_err().error;
    assert!(error.is_bound() && error.what.contains("containers of more than"), "{error}");
    let builds = [b"}".to_vec(), b"2b".repeat(MAX_IMPORTS + 2)].concat();
    assert!(follow(&builds).unwrap_err().error.is_bound());
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let _ = interpret(&bytes);
    }

    #[test]
    fn arbitrary_programs_never_panic(picks in proptest::collection::vec(0usize..24, 0..120)) {
        const WORDS: [&[u8]; 24] = [
            b"(", b"N", b"}", b"]", b")", b"t", b"u", b"s", b"e", b"a", b"0", b"1", b"2", b"R", b"b", b"K\x01", b"q\x00",
            b"h\x00", b"cm\nn\n", b"\x93", b"\x85", b"d", b"o", b"X\x01\0\0\0a",
        ];
        let mut program: Vec<u8> = picks.iter().flat_map(|&pick| WORDS[pick].to_vec()).collect();
        program.push(b'.');
        let _ = interpret(&program);
    }
}
