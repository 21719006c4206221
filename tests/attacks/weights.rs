//! Files that `torch.load` reads: a state dict of one table, and pickles that import more than tensors need.

use std::io::{Cursor, Write};

use golf_harness::random::RandomStream;
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

/// Rows and columns of the one tensor.
const SHAPE: (usize, usize) = (1024, 64);
/// Parameters of the model.
pub const PARAMETERS: usize = SHAPE.0 * SHAPE.1;

/// `torch.save({"embed.weight": tensor})` behind zlib, as the script's last lines write it.
pub fn compressed(random: &mut RandomStream) -> Vec<u8> {
    zlib(&archive(&state_dict(), random))
}

/// The zip of `torch.save` with this pickle and one storage of 32-bit floats.
pub fn archive(pickle: &[u8], random: &mut RandomStream) -> Vec<u8> {
    members(&[("archive/data.pkl", pickle), ("archive/data/0", &storage(random)), ("archive/version", b"3\n")])
}

/// Floats of eight bits' information each.
pub fn storage(random: &mut RandomStream) -> Vec<u8> {
    (0..PARAMETERS).flat_map(|_| (((random.bits() as u8) as f32 - 127.5) / 512.0).to_le_bytes()).collect()
}

/// A zip of stored members.
pub fn members(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, content) in members {
        zip.start_file(*name, options).expect("a new name");
        zip.write_all(content).expect("memory");
    }
    zip.finish().expect("memory").into_inner()
}

/// `{"embed.weight": tensor}` in pickle protocol 2.
pub fn state_dict() -> Vec<u8> {
    let mut pickle = b"\x80\x02}".to_vec();
    text(&mut pickle, "embed.weight");
    pickle.extend_from_slice(b"ctorch._utils\n_rebuild_tensor_v2\n((");
    text(&mut pickle, "storage");
    pickle.extend_from_slice(b"ctorch\nFloatStorage\n");
    text(&mut pickle, "0");
    text(&mut pickle, "cpu");
    pickle.push(b'J');
    pickle.extend_from_slice(&(PARAMETERS as i32).to_le_bytes());
    pickle.extend_from_slice(b"tQK\x00");
    for pair in [SHAPE, (SHAPE.1, 1)] {
        for side in [pair.0, pair.1] {
            pickle.push(b'J');
            pickle.extend_from_slice(&(side as i32).to_le_bytes());
        }
        pickle.push(0x86);
    }
    pickle.extend_from_slice(b"\x89ccollections\nOrderedDict\n)RtRs.");
    pickle
}

fn text(pickle: &mut Vec<u8>, text: &str) {
    pickle.push(b'X');
    pickle.extend_from_slice(&(text.len() as u32).to_le_bytes());
    pickle.extend_from_slice(text.as_bytes());
}

/// A pickle that calls `module.name("true")` when it is loaded.
pub fn payload(module: &str, name: &str) -> Vec<u8> {
    [b"\x80\x02c", module.as_bytes(), b"\n", name.as_bytes(), b"\nX\x04\x00\x00\x00true\x85R."].concat()
}

pub fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

pub fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).expect("memory")
}
