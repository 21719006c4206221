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
        crate::artifact::foreign::npy::tests::file("'object'", "False", "()", EVIL),
        crate::artifact::foreign::npy::tests::file("'\\x4f'", "False", "()", EVIL),
        // A picture, and whatever else, that programs which look for the end open as a zip file.
        [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], &zip(&[("data.pkl", EVIL)])].concat(),
        [&b"\0\xff\x07"[..], &zip(&[("a", b"text"), ("b/x", EVIL)])].concat(),
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

/// Every member reaches to the end of the file, so together they are as long as its square.
#[test]
fn members_of_a_tar_file_that_overlap_are_not_all_looked_at() {
    let header = |size: usize| crate::artifact::foreign::tar::tests::member("a", &vec![0; size])[..512].to_vec();
    let tar: Vec<u8> = (0..2_000).flat_map(|i| header((2_000 - i) * 512)).collect();
    let started = std::time::Instant::now();
    assert!(matches!(parse(&tar, Path::new("x")), Err(ForeignError::TooLarge { .. })));
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    let nested = crate::artifact::foreign::tar::tests::member("b", EVIL);
    let nested = (0..3).fold(nested, |inner, _| crate::artifact::foreign::tar::tests::member("a", &inner));
    assert_eq!(refused(&nested), Some("posix.system".to_string()));
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

/// Values that names share are stored once, and held once for each name.
#[test]
fn names_that_share_a_tensor_are_counted_each() {
    let one = state_dict("FloatStorage", "_rebuild_tensor_v2", "I00\nccollections\nOrderedDict\n)R");
    let tensor = String::from_utf8(one[b"}Vw\n".len()..one.len() - b"s.".len()].to_vec()).unwrap();
    let file = |names: usize, in_sections: bool| {
        let names: String = (1..names).map(|i| format!("Vname{i}\ng9\n")).collect();
        let weights = format!("}}(Vname0\n{tensor}p9\n{names}u");
        let meta: String = (0..names.matches('V').count() + 1).map(|i| format!("Vname{i}\nVpassthrough\n")).collect();
        let program = if in_sections { format!("}}(Vw\n{weights}Vm\n}}({meta}uu.") } else { format!("{weights}.") };
        zip(&[("archive/data.pkl", program.as_bytes()), ("archive/data/k", &[0; 8])])
    };
    let max = 1 << 12;
    for in_sections in [false, true] {
        // Eight bytes each.
        let most = parse_within(&file(512, in_sections), Path::new("m.pt"), 1 << 16).unwrap();
        assert_eq!(most.params().iter().count(), 512);
        let error = parse_within(&file(600, in_sections), Path::new("m.pt"), max).unwrap_err();
        assert!(matches!(error, ForeignError::Damaged { .. } | ForeignError::TooLarge { .. }), "{error}");
        if !in_sections {
            assert!(error.to_string().contains("600 tensors of 4800 bytes together; at most 4096 are read"), "{error}");
        }
    }
    let listed = list_within(&file(200_000, true), Path::new("m.pt"), 1 << 24).unwrap_err();
    assert!(listed.to_string().contains("more than 65536 tensors"), "{listed}");
}

#[test]
fn lists_of_words_are_no_programs() {
    let lists = [
        &b"cos\nsin\ntan\nexp\n"[..],
        b"code\nos\nsystem\n",
        b"cat\ndog\n.gitignore\n",
        b"Vim\ncurl\ngit\n",
        b"(cat\ndog)\n",
        b"certifi\nnumpy\ntorch\n",
        b"click\npip\nRequests\n",
        b"c,loss\n1,2.5\n",
        b"index\nvalue\n1\n",
        b"{\"c\": [1, 2], \"d\": \"cos\\nsystem\"}\n",
        b"[1, 2, 3]\n",
        b"]\n)\n}\n.\n",
        b"the\ncat\nsat\n.\n",
        b"c\na\nb\nR.\n",
        b"I am text\nand more\n.",
        b"Finance\nN.\n",
        b"# A record\n\n(c) 2026 Ada\n",
    ];
    for list in lists {
        let said = parse(list, Path::new("file")).map(|_| ()).map_err(|error| error.to_string());
        assert!(refused(list).is_none(), "{list:?}: {said:?}");
        let unknown = matches!(parse(list, Path::new("file")), Err(ForeignError::Unknown { is_text: true, .. }));
        assert!(unknown, "{list:?}: {said:?}");
    }
    // What is text and calls something is a program, whatever stands around the call.
    for program in [&b"Vim\ncposix\nsystem\n(Vtrue\ntR."[..], b"cevil\nrun\n(tRand\nwords\n", b"(ievil\nrun\n."] {
        assert!(refused(program).is_some(), "{program:?}");
    }
}

/// What `torch.jit.save` writes for a module of one tensor, and its members.
fn script(data: &[u8], others: &[(&str, &[u8])]) -> Vec<u8> {
    let storage = 1.5f32.to_le_bytes();
    zip(&[[("m/data.pkl", data), ("m/data/0", &storage)].as_slice(), others].concat())
}

/// `__torch__.M` with a state: its tensor `w`, and a list that `torch.jit._pickle` restores.
fn module(import: &str) -> Vec<u8> {
    let mut pickle = format!("\u{0}{import}\n").into_bytes();
    pickle[0] = b'c';
    let tensor = b"X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x01tQK\0K\x01\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR";
    let list = b"X\x01\0\0\0lctorch.jit._pickle\nbuild_intlist\n(]K\x01atR";
    [b"\x80\x02", pickle.as_slice(), b")\x81}(", tensor, list, b"ub."].concat()
}

#[test]
fn torchscript_imports_nothing_and_is_listed() {
    let code: [(&str, &[u8]); 3] = [
        ("m/constants.pkl", b"\x80\x02)."),
        ("m/code/__torch__.py", b"class M(Module):\n  w : Tensor\n"),
        ("m/code/__torch__.py.debug_pkl", b"\x80\x02ctorch.jit._pickle\nbuild_intlist\n(]K\x01atR."),
    ];
    let honest = script(&module("__torch__\nM"), &code);
    let listing = list_within(&honest, Path::new("m.pt"), 1 << 20).unwrap();
    assert_eq!(
        (listing.description.as_str(), listing.tensors, listing.values),
        ("torch zip > TorchScript module", 1, 1)
    );
    assert!(listing.imports.contains("__torch__.M") && listing.imports.contains("torch.jit._pickle.build_intlist"));
    let foreign = parse(&honest, Path::new("m.pt")).unwrap();
    assert_eq!(foreign.params().get("w").unwrap().data(), [1.5]);
    // Without constants or code, Python reads the pickle; and what is no type of the archive is refused in any case.
    // What tracing leaves beside it.
    let traced = [code.as_slice(), &[("m/traced_inputs.pkl", b"\x80\x02ctorch.jit._pickle\nrestore_type_tag\n)R.")]];
    assert!(refused(&script(&module("__torch__\nM"), &traced.concat())).is_none());
    let named = Some("__torch__.M".to_string());
    assert_eq!(refused(&script(&module("__torch__\nM"), &[])), named);
    assert_eq!(refused(&script(&module("__torch__\nM"), &code[..1])), named);
    assert_eq!(refused(&script(&module("__torch__\nM"), &code[1..])), named);
    assert_eq!(refused(&script(&module("posix\nsystem"), &code)), Some("posix.system".into()));
    assert_eq!(refused(&script(&module("__torch__evil\nM"), &code)), Some("__torch__evil.M".into()));
    let hidden = [code[0], code[1], ("m/extra/x.pkl", &module("__torch__\nM"))];
    assert_eq!(refused(&script(&module("__torch__\nM"), &hidden)), named);
}

#[test]
fn archives_of_several_models_list_them() {
    use crate::artifact::foreign::tar::tests::member;
    let members: [(&str, &[u8]); 3] =
        [("a/seed42.ptz", &ptz()), ("a/seed7.ptz", &ptz()), ("a/README.md", b"two seeds")];
    let tar: Vec<u8> = members.iter().flat_map(|(name, content)| member(name, content)).collect();
    for archive in [zip(&members), tar] {
        match parse(&archive, Path::new("seeds")) {
            Err(ForeignError::Several { models, .. }) => {
                let found: Vec<_> = models.iter().map(|model| (model.name.as_str(), model.tensors > 0)).collect();
                assert_eq!(found, [("a/seed42.ptz", true), ("a/seed7.ptz", true)]);
            }
            other => panic!("{other:?}"),
        }
    }
    let evil = zip(&[members[0], ("b", EVIL)]);
    assert_eq!(refused(&evil), Some("posix.system".into()));
    let text = zip(&[("a.log", b"step:1"), ("b.png", b"\x89PNG\r\n\x1a\n\0")]);
    assert!(matches!(parse(&text, Path::new("x")), Err(ForeignError::PlainArchive { .. })));
    let unknown = zip(&[("a.log", b"step:1"), ("weights", b"\x93odd\0\xff")]);
    assert!(matches!(parse(&unknown, Path::new("x")), Err(ForeignError::Damaged { .. })));
}

#[test]
fn ambiguous_files_that_import_code_are_both() {
    let both = |bytes: &[u8]| match parse(bytes, Path::new("file")) {
        Err(ForeignError::Ambiguous { import: Some(import), .. }) => import.to_string().contains("posix.system"),
        _ => false,
    };
    assert!(both(&zip(&[("archive/data.pkl", EVIL), ("archive/DATA.pkl", b"}.")])));
    let mut damaged = zip(&[("archive/data.pkl", EVIL), ("archive/data/0", b"some bytes of a tensor")]);
    let at = damaged.windows(4).position(|bytes| bytes == b"some").unwrap();
    damaged[at] = b'S';
    assert!(both(&damaged));
    let clean = zip(&[("archive/data.pkl", b"}."), ("archive/DATA.pkl", b"}.")]);
    assert!(matches!(parse(&clean, Path::new("file")), Err(ForeignError::Ambiguous { import: None, .. })));
}
