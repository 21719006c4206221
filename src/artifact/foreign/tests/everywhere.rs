//! Pickles wherever they may stand, and files made to exhaust their reader.

use super::*;

/// `posix.system("true")` in protocol 2.
const EVIL: &[u8] = b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.";

/// The module and name that a file is refused for.
fn refused(bytes: &[u8]) -> Option<String> {
    match parse(bytes, Path::new("file")) {
        Err(ForeignError::Import { module, name, .. }) => Some(format!("{module}.{name}")),
        _ => None,
    }
}

#[test]
fn a_pickle_is_followed_wherever_it_stands() {
    use crate::artifact::foreign::wrapper::tests::{WRITTEN, compressed};
    let system = Some("posix.system".to_string());
    // Every protocol: 0 and 1 have no mark.
    let bare = [
        &b"cposix\nsystem\n(Vtrue\ntR."[..],
        b"(S'true'\niposix\nsystem\n.",
        b"(cposix\nsystem\nU\x04trueo.",
        EVIL,
        b"\x80\x04\x95\x1f\0\0\0\0\0\0\0\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
    ];
    for program in bare {
        assert_eq!(refused(program), system, "{program:?}");
        // A program that breaks after the call has called by then.
        assert_eq!(refused(&[&program[..program.len() - 1], &[0xff]].concat()), system, "{program:?}");
    }
    for wrapper in WRITTEN {
        let mut bytes = compressed(wrapper, EVIL);
        assert_eq!(refused(&bytes), system, "{wrapper}");
        // Six layers, and behind the end of a whole stream.
        for _ in 1..6 {
            bytes = compressed(Wrapper::Zlib, &bytes);
        }
        assert_eq!(refused(&bytes), system, "{wrapper} in zlib");
        let benign = compressed(Wrapper::Zlib, &compressed(Wrapper::Zstd, &ptz()));
        assert_eq!(refused(&[benign, compressed(wrapper, EVIL)].concat()), system, "{wrapper} behind a stream");
    }
    let tar = [
        crate::artifact::foreign::tar::tests::member("a", b"text"),
        crate::artifact::foreign::tar::tests::member("b", EVIL),
    ]
    .concat();
    for bytes in [
        zip(&[("archive/data.pkl", b"}."), ("archive/config.p", EVIL)]),
        zip(&[("archive/data.pkl", b"}."), ("archive/data/0", EVIL)]),
        zip(&[("archive/data.pkl", b"}."), ("archive/constants.pkl", EVIL), ("archive/code/a.py", b"pass")]),
        zip(&[("archive/data.pkl", b"}."), ("archive/data/0", &compressed(Wrapper::Bzip2, EVIL))]),
        zip(&[("archive/data.pkl", b"}."), ("archive/x", &zip(&[("archive/data.pkl", EVIL)]))]),
        zip(&[("archive/sub/data.pkl", b"}."), ("archive/data.pkl", EVIL)]),
        zip(&[("a.npy", &crate::artifact::foreign::npy::tests::file("'|O'", "False", "()", EVIL))]),
        crate::artifact::foreign::npy::tests::file("'|O'", "False", "()", EVIL),
        tar,
        legacy(&[EVIL.to_vec()]),
        // The pickle that a tensor pickled by itself carries.
        [&b"\x80\x02ctorch.storage\n_load_from_bytes\nC"[..], &[EVIL.len() as u8], EVIL, b"\x85R."].concat(),
    ] {
        assert_eq!(refused(&bytes), system, "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn imports_that_are_never_called_count_unless_they_are_words_of_a_list() {
    let system = Some("os.popen".to_string());
    for program in [
        &b"U\x02osT\x05\0\0\0popen\x93\xff"[..],
        b"\x80\x02cnumpy\ndtype\n0cos\npopen\n\xff",
        b"(cos\npopen\n\xff",
        b"cos\npopen\n?",
        // A name that no module has comes first.
        b"\x93\0cn\x01o\nname\n0cos\npopen\n\xff".split_at(2).1,
    ] {
        assert_eq!(refused(program), system, "{program:?}");
    }
    for list in [&b"cat\ndog\nfish\n"[..], b"certifi\nnumpy\ntorch\n"] {
        assert_eq!(refused(list), None);
    }
}

#[test]
fn long_names_are_refused_and_shown_in_part() {
    let program = [b"\x80\x02c".to_vec(), vec![b'a'; 9000], b"\n".to_vec(), vec![b'b'; 9000], b"\n.".to_vec()].concat();
    let error = parse(&program, Path::new("x")).unwrap_err().to_string();
    assert!(error.contains("aaa....bbb") && error.len() < 700, "{error}");
}

/// Without a mark at the beginning only names count; a long chain of attributes is one.
#[test]
fn a_long_chain_of_attributes_hides_no_import() {
    let chain = format!("{}system", "path.os.".repeat(100));
    let mut program = b"N0\x80\x04\x8c\x02osX".to_vec();
    program.extend((chain.len() as u32).to_le_bytes());
    program.extend(chain.bytes());
    program.extend(b"\x93\x8c\x02ls\x85R.");
    let error = parse(&program, Path::new("x")).unwrap_err().to_string();
    assert!(error.contains("os.path.os"), "{error}");
}

#[test]
fn deeper_than_six_layers_is_not_looked_at_and_not_passed() {
    use crate::artifact::foreign::wrapper::tests::compressed;
    let nested = (0..12).fold(EVIL.to_vec(), |bytes, _| compressed(Wrapper::Zlib, &bytes));
    assert!(matches!(parse(&nested, Path::new("x")), Err(ForeignError::TooDeep { .. })));
    let hidden = (0..12).fold(EVIL.to_vec(), |bytes, _| zip(&[("a/x", &bytes), ("a/y", b"text")]));
    assert!(matches!(parse(&hidden, Path::new("x")), Err(ForeignError::TooDeep { .. })));
}

#[test]
fn pytorch_s_choice_of_index_is_ours() {
    let index = |members: &[(&str, &[u8])]| {
        let bytes = zip(members);
        torch::index(&crate::artifact::foreign::zip::Zip::open(&bytes).unwrap())
    };
    let found = |name: &str| Ok(Some(name.to_string()));
    assert_eq!(index(&[("a/b/data.pkl", b""), ("a/data.pkl", b"")]), found("a/data.pkl"));
    assert_eq!(index(&[("a/x", b""), ("b/data.pkl", b""), ("a/DATA.pkl", b"")]), found("a/DATA.pkl"));
    assert_eq!(index(&[("data.pkl", b"")]), found("data.pkl"));
    assert_eq!(index(&[("a/x", b"")]), Ok(None));
    assert!(index(&[("a/x", b""), ("b/data.pkl", b""), ("c/data.pkl", b"")]).is_err());
}

#[test]
fn small_hostile_files_stay_small() {
    use crate::artifact::foreign::wrapper::tests::compressed;
    // A thousand members that share nothing and expand to a megabyte each.
    let bomb = compressed(Wrapper::Deflate, &vec![0; 1 << 20]);
    let names: Vec<String> = (0..1000).map(|i| format!("a/{i}")).collect();
    let members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &bomb[..])).collect();
    let listed = list_within(&zip(&members), Path::new("x"), 1 << 22);
    assert!(matches!(listed, Err(ForeignError::TooLarge { .. } | ForeignError::Damaged { .. })), "{listed:?}");
    // A file of one tensor under a million names.
    let mut program = state_dict("FloatStorage", "_rebuild_tensor_v2", "I00\nccollections\nOrderedDict\n)R");
    program.pop();
    program.splice(0..0, b"](".iter().copied());
    program.extend(b"2".repeat(1 << 19));
    program.extend(b"e.");
    let bytes = zip(&[("archive/data.pkl", &program), ("archive/data/k", &[0; 8])]);
    let listing = list_within(&bytes, Path::new("x"), 1 << 22).unwrap();
    assert!(listing.tensors <= crate::artifact::foreign::rebuild::MAX_TENSORS);
}
