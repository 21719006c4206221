//! PR #286's own file: `torch.save` of `{"w": ..., "m": ...}` in one zstd frame, so that its script loads it.
//!
//! Only the pickle instructions and zip members that `torch.load` needs are written, with fixed times and order,
//! so equal tensors give equal bytes.

use std::io::{Cursor, Write};

use ::zip::write::{SimpleFileOptions, ZipWriter};

use super::raw::Dtype;
use crate::artifact::assign::ClassRule;
use crate::artifact::{EncodeError, PackedTensor, PackedValues};

/// Members start at multiples of this, as `torch.save` places them.
const ALIGNMENT: u16 = 64;

/// The bytes of a `.ptz` file with these tensors, compressed at a zstd level.
///
/// `rules` are the decisions that PR #286 records as the meta string of tensors it does not quantize.
pub fn torch_ptz(tensors: &[PackedTensor], rules: &[ClassRule], level: i32) -> Result<Vec<u8>, EncodeError> {
    let archive = torch_zip(tensors, rules).map_err(EncodeError::Compress)?;
    Ok(zstd::bulk::compress(&archive, level)?)
}

fn torch_zip(tensors: &[PackedTensor], rules: &[ClassRule]) -> std::io::Result<Vec<u8>> {
    let mut pickle = Writer::default();
    pickle.bytes.extend_from_slice(&[0x80, 2, b'}', b'(']);
    pickle.text("w");
    pickle.bytes.extend_from_slice(b"}(");
    for tensor in tensors {
        let (name, shape) = (tensor.name(), tensor.shape());
        match tensor.values() {
            PackedValues::Integers { symbols, scales, .. } => {
                let q = symbols.iter().map(|&symbol| symbol as u8).collect();
                pickle.tensor(&format!("{name}.q"), Dtype::I8, shape, q);
                let per_row = [scales.len()];
                let scale_shape = if shape.len() == 2 { &per_row[..] } else { &[] };
                let scales = scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
                pickle.tensor(&format!("{name}.scale"), Dtype::F16, scale_shape, scales);
            }
            PackedValues::F16(values) => {
                let halves = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                pickle.tensor(name, Dtype::F16, shape, halves);
            }
            PackedValues::F32(values) => {
                let singles = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                pickle.tensor(name, Dtype::F32, shape, singles);
            }
        }
    }
    pickle.bytes.push(b'u');
    pickle.text("m");
    pickle.bytes.extend_from_slice(b"}(");
    for (i, tensor) in tensors.iter().enumerate() {
        pickle.text(tensor.name());
        if matches!(tensor.values(), PackedValues::Integers { .. }) {
            pickle.bytes.extend_from_slice(b"}");
            pickle.text("type");
            pickle.text(&tensor.class().to_string());
            pickle.bytes.push(b's');
        } else {
            pickle.text(rules.get(i).map_or("passthrough", |rule| rule.export_label()));
        }
    }
    pickle.bytes.extend_from_slice(b"uu.");

    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(::zip::CompressionMethod::Stored)
        .last_modified_time(::zip::DateTime::default())
        .with_alignment(ALIGNMENT);
    let mut add = |name: &str, content: &[u8]| {
        zip.start_file(format!("archive/{name}"), options)?;
        zip.write_all(content)
    };
    add("data.pkl", &pickle.bytes)?;
    add("byteorder", b"little")?;
    for (key, storage) in pickle.storages.iter().enumerate() {
        add(&format!("data/{key}"), storage)?;
    }
    add("version", b"3\n")?;
    Ok(zip.finish()?.into_inner())
}

/// Pickle instructions of protocol 2, and the storages they refer to.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    storages: Vec<Vec<u8>>,
}

impl Writer {
    /// BINUNICODE.
    fn text(&mut self, text: &str) {
        self.bytes.push(b'X');
        self.bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// The shortest integer instruction.
    fn integer(&mut self, value: usize) {
        match (u8::try_from(value), u16::try_from(value)) {
            (Ok(byte), _) => self.bytes.extend_from_slice(&[b'K', byte]),
            (_, Ok(short)) => {
                self.bytes.push(b'M');
                self.bytes.extend_from_slice(&short.to_le_bytes());
            }
            _ => {
                // Sides are far below 2^31: the container's bounds see to it.
                self.bytes.push(b'J');
                self.bytes.extend_from_slice(&(value as i32).to_le_bytes());
            }
        }
    }

    fn tuple(&mut self, values: impl Iterator<Item = usize>) {
        self.bytes.push(b'(');
        values.for_each(|value| self.integer(value));
        self.bytes.push(b't');
    }

    /// `name: torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`.
    fn tensor(&mut self, name: &str, dtype: Dtype, shape: &[usize], content: Vec<u8>) {
        let storage = match dtype {
            Dtype::I8 => "CharStorage",
            Dtype::F16 => "HalfStorage",
            _ => "FloatStorage",
        };
        self.text(name);
        self.bytes.extend_from_slice(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        self.text("storage");
        self.bytes.extend_from_slice(format!("ctorch\n{storage}\n").as_bytes());
        self.text(&self.storages.len().to_string());
        self.text("cpu");
        self.integer(content.len() / dtype.size());
        self.bytes.extend_from_slice(b"tQ");
        self.integer(0);
        self.tuple(shape.iter().copied());
        let strides = (0..shape.len()).map(|side| shape.iter().skip(side + 1).product());
        self.tuple(strides);
        self.bytes.push(0x89);
        self.bytes.extend_from_slice(b"ccollections\nOrderedDict\n)RtR");
        self.storages.push(content);
    }
}
