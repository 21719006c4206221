//! What honest people hand in, in every spelling, type and format.

use super::*;

#[test]
fn files_before_the_zip_are_read() {
    let object = state_dict("FloatStorage", "_rebuild_tensor_v2", "I00\nccollections\nOrderedDict\n)R");
    let storage = [&2u64.to_le_bytes()[..], &1.5f32.to_le_bytes(), &(-2f32).to_le_bytes()].concat();
    let file = legacy(&[object, b"](Vk\ne.".to_vec(), storage]);
    let foreign = parse(&file, Path::new("m.pt")).unwrap();
    assert_eq!((foreign.container, foreign.convention), (Container::TorchLegacy, Convention::Plain));
    assert_eq!(foreign.params().get("w").unwrap().data(), [1.5, -2.0]);
    let listing = list_within(&[&file[..], b"more"].concat(), Path::new("m.pt"), 1 << 20).unwrap();
    assert_eq!((listing.tensors, listing.values), (1, 2));
    assert_eq!(listing.unclaimed, ["4 bytes behind the end of the torch file before 1.6"]);
    for at in 0..file.len() {
        assert!(parse(&file[..at], Path::new("m.pt")).is_err(), "cut to {at}");
    }
}

/// `numpy.dtype(kind)` with a byte order.
fn dtype(kind: &str, order: &str) -> String {
    format!("cnumpy\ndtype\n(V{kind}\nI00\nI01\ntR(I3\nV{order}\nNNNI-1\nI-1\nI0\ntb")
}

#[test]
fn pickled_arrays_are_read_in_every_spelling() {
    let old = format!(
        "}}Vw\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR(I1\n(I2\nt{}I00\n\
         c_codecs\nencode\n(V\0\0\u{80}?\0\0\0@\nVlatin1\ntRtbs.",
        dtype("f4", "<")
    );
    let mut new = b"\x80\x05}Vw\ncnumpy._core.numeric\n_frombuffer\n(C\x08\0\0\x80?\0\0\0@".to_vec();
    new.extend(format!("{}(I2\ntVC\ntRs.", dtype("f4", "<")).bytes());
    for bytes in [old.into_bytes(), new] {
        let foreign = parse(&bytes, Path::new("m.pkl")).unwrap();
        assert_eq!(foreign.container, Container::Pickle);
        assert_eq!(foreign.params().get("w").unwrap().data(), [1.0, 2.0]);
    }
}

#[test]
fn honest_files_are_listed_whatever_their_types() {
    let list = |bytes: &[u8]| list_within(bytes, Path::new("m.pt"), 1 << 20).unwrap_or_else(|e| panic!("{e}"));
    let torch = |program: &[u8], storage: &[u8]| {
        zip(&[("archive/data.pkl", program), ("archive/byteorder", b"little"), ("archive/data/k", storage)])
    };
    let hooks = "I00\nccollections\nOrderedDict\n)R";
    for (storage, bytes) in [
        ("ComplexFloatStorage", 16),
        ("ComplexDoubleStorage", 32),
        ("LongStorage", 16),
        ("BoolStorage", 2),
        ("ShortStorage", 4),
    ] {
        let program = state_dict(storage, "_rebuild_tensor_v2", hooks);
        let listing = list(&torch(&program, &vec![1; bytes]));
        assert_eq!((listing.tensors, listing.values), (1, 2), "{storage}");
    }
    // Types that have no storage class, and quantized ones.
    for name in ["uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "complex32"] {
        let tail = format!("{hooks}ctorch\n{name}\n");
        let program = state_dict("UntypedStorage", "_rebuild_tensor_v3", &tail);
        assert_eq!(list(&torch(&program, &[0; 16])).values, 2, "{name}");
    }
    let affine = "(ctorch\nper_tensor_affine\nF0.5\nI0\ntI00\nccollections\nOrderedDict\n)R";
    let program = state_dict("QInt8Storage", "_rebuild_qtensor", affine);
    assert_eq!(list(&torch(&program, &[1, 2])).tensors, 1);
    // Its integers are not its values: it is listed, and not decoded.
    assert!(parse(&torch(&program, &[1, 2]), Path::new("m.pt")).is_err());
    // Beside the tensor: nothing, numbers, NumPy's numbers, a module's own facts.
    let mut mixed = state_dict("FloatStorage", "_rebuild_tensor_v2", hooks);
    mixed.pop();
    mixed.extend(b"Vbias\nNsVstep\nI7\nsVbpb\ncnumpy.core.multiarray\nscalar\n(".iter());
    mixed.extend(dtype("f8", "<").bytes());
    mixed.extend(b"c_codecs\nencode\n(V\0\0\0\0\0\0\0\0\nVlatin1\ntRtRsVdevice\nctorch\ndevice\n(Vcpu\ntRs");
    mixed.extend(b"Vextra\nccollections\nOrderedDict\n)R}V_metadata\nccollections\nOrderedDict\n)Rsbs.");
    let listing = list(&torch(&mixed, &[0; 8]));
    assert_eq!((listing.tensors, listing.values, listing.pickles), (1, 2, 0));
    // One array of text or objects among arrays of numbers.
    let array = crate::artifact::foreign::npy::tests::file;
    let npz = zip(&[
        ("a.npy", &array("'>f4'", "True", "(2, 1)", &[0; 8])),
        ("b.npy", &array("'<U3'", "False", "(2,)", &[0; 24])),
        ("c.npy", &array("'|O'", "False", "()", b"\x80\x02N.")),
    ]);
    assert_eq!(list(&npz).tensors, 2);
}

#[test]
fn every_safetensors_type_is_listed() {
    for (name, bits) in [
        ("BOOL", 8),
        ("F4", 4),
        ("F6_E2M3", 6),
        ("F6_E3M2", 6),
        ("U8", 8),
        ("I8", 8),
        ("F8_E5M2", 8),
        ("F8_E4M3", 8),
        ("F8_E8M0", 8),
        ("I16", 16),
        ("U16", 16),
        ("F16", 16),
        ("BF16", 16),
        ("I32", 32),
        ("U32", 32),
        ("F32", 32),
        ("C64", 64),
        ("F64", 64),
        ("I64", 64),
        ("U64", 64),
    ] {
        let end = 8 * bits / 8;
        let header = format!("{{\"w\":{{\"dtype\":\"{name}\",\"shape\":[8],\"data_offsets\":[0,{end}]}}}}");
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; end]].concat();
        let listing = list_within(&bytes, Path::new("m"), 1 << 20).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((listing.tensors, listing.values), (1, 8), "{name}");
    }
}

#[test]
fn known_formats_that_are_not_read_are_named() {
    let error = parse(b"LRZI\0\x06junkjunk", Path::new("m.lrz")).unwrap_err();
    assert_eq!(error.to_string(), "m.lrz: lrzip (lrz), which is not read here");
}
