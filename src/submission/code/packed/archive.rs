//! Archives of Python files inside a literal: zip and tar, opened within bounds and in memory.

use std::io::{Cursor, Read};

use super::{Layer, MAX_UNPACKED_BYTES};

/// Most members looked at.
const MAX_MEMBERS: usize = 256;

/// The Python files of an archive as one text, each behind a line that names it; one file stands alone.
pub fn scripts(bytes: &[u8]) -> Option<(Layer, String)> {
    let (layer, files) = match bytes {
        [b'P', b'K', 3, 4, ..] => (Layer::Zip, zip(bytes)?),
        _ if bytes.get(257..262) == Some(b"ustar") => (Layer::Tar, tar(bytes)?),
        _ => return None,
    };
    match files.as_slice() {
        [] => None,
        [(_, text)] => Some((layer, text.clone())),
        many => Some((layer, many.iter().map(|(name, text)| format!("# ==== {name} ====\n{text}\n")).collect())),
    }
}

/// Names and texts of Python files.
type Files = Vec<(String, String)>;

fn zip(bytes: &[u8]) -> Option<Files> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).ok()?;
    let mut files = Files::new();
    let mut left = MAX_UNPACKED_BYTES;
    for place in 0..archive.len().min(MAX_MEMBERS) {
        let Ok(member) = archive.by_index(place) else { continue };
        let Ok(name) = member.name().map(std::borrow::Cow::into_owned) else { continue };
        add(&mut files, &mut left, name, member);
    }
    Some(files)
}

fn tar(bytes: &[u8]) -> Option<Files> {
    let mut archive = tar::Archive::new(bytes);
    let mut files = Files::new();
    let mut left = MAX_UNPACKED_BYTES;
    for member in archive.entries().ok()?.take(MAX_MEMBERS) {
        let Ok(member) = member else { break };
        let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        add(&mut files, &mut left, name, member);
    }
    Some(files)
}

/// Keeps a Python file, while there is room.
fn add(files: &mut Files, left: &mut u64, name: String, member: impl Read) {
    if !name.ends_with(".py") || name.contains(char::is_whitespace) {
        return;
    }
    let mut text = String::new();
    if member.take(*left).read_to_string(&mut text).is_ok() {
        *left -= text.len() as u64;
        files.push((name, text));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const MODEL: &str = "class M:\n    pass\n";
    const TRAIN: &str = "from model import M\n";

    fn zipped(members: &[(&str, &str)]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in members {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn tarred(members: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, text) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn both_kinds_give_the_files_in_order() {
        let members = [("model.py", MODEL), ("weights.bin", "00"), ("train.py", TRAIN)];
        for (bytes, layer) in [(zipped(&members), Layer::Zip), (tarred(&members), Layer::Tar)] {
            let (found, source) = scripts(&bytes).unwrap();
            assert_eq!(found, layer);
            let files = crate::submission::code::bundle::split(&source);
            assert_eq!(files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["model.py", "train.py"]);
            assert_eq!(files[1].text.trim_end(), TRAIN.trim_end());
        }
        assert_eq!(scripts(&zipped(&[("main.py", TRAIN)])).unwrap().1, TRAIN);
        assert_eq!(scripts(&zipped(&[("weights.bin", "00")])), None);
        assert_eq!(scripts(b"PK\x03\x04 and nothing else"), None);
    }

    #[test]
    fn a_script_that_imports_from_its_archive_is_opened() {
        use base64::Engine as _;
        let text =
            base64::engine::general_purpose::STANDARD.encode(zipped(&[("model.py", MODEL), ("train.py", TRAIN)]));
        let script = format!(
            "import base64, io, sys, zipfile\nzipfile.ZipFile(io.BytesIO(base64.b64decode('{text}'))).extractall('x')\n\
             sys.path.insert(0, 'x')\nimport train\n"
        );
        let python = crate::submission::code::Python::parse(&script).unwrap();
        let packed = super::super::open(&python, || ()).unwrap().unwrap();
        assert_eq!(packed.layers, [Layer::Base64, Layer::Zip]);
    }
}
