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
        ("builtins", "set", ImportVerdict::Unknown),
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
