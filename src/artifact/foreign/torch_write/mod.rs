//! What participants ship: `torch.save` of `{"w": ..., "m": ...}`, compressed, so that their scripts load it.
//!
//! The bytes before compression are those that PyTorch 2.15 writes of the same tensors, down to the last: the pickle as
//! Python's pickler gives it, the zip file as PyTorch's writer does.

mod archive;
mod pickler;
mod serialization_id;

use half::f16;

use self::archive::archive;
use self::pickler::Pickler;
use super::compress::compress_watched;
use super::raw::Dtype;
use super::wrapper::shuffle;
use crate::artifact::assign::ClassRule;
use crate::artifact::{EncodeError, PackedTensor, PackedValues};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::quant::{ExportCodec, MetaStyle, Rounding, TensorClass, TorchExport};

/// How a tensor came to its form: what `m` may say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The decision that led to its class.
    pub rule: ClassRule,
    /// How its integers were rounded.
    pub rounding: Rounding,
}

impl From<ClassRule> for Origin {
    /// Rounded to the nearest, as PR #286 does.
    fn from(rule: ClassRule) -> Self {
        Origin { rule, rounding: Rounding::Nearest }
    }
}

/// The bytes of such a file; before compression they are those of [`torch_archive`].
pub fn torch_export(tensors: &[PackedTensor], origins: &[Origin], export: TorchExport) -> Result<Vec<u8>, EncodeError> {
    let archive = torch_archive(tensors, origins, export.meta);
    torch_compressed(archive, export.codec, &Progress::hidden(), &Interrupt::none())
}

/// The bytes of a `.ptz` file of PR #286 with these tensors, compressed at a zstd level.
///
/// `rules` are the decisions that PR #286 records as the meta string of tensors it does not quantize.
pub fn torch_ptz(tensors: &[PackedTensor], rules: &[ClassRule], level: i32) -> Result<Vec<u8>, EncodeError> {
    let origins: Vec<Origin> = rules.iter().map(|&rule| rule.into()).collect();
    let codec = ExportCodec::Zstd { level: level.unsigned_abs() };
    torch_export(tensors, &origins, TorchExport { codec, meta: MetaStyle::Types })
}

/// Compression around what `torch.save` writes; brotli compresses shuffled bytes, as PR #1218 does.
pub(in crate::artifact) fn torch_compressed(
    archive: Vec<u8>,
    codec: ExportCodec,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<Vec<u8>, EncodeError> {
    let content = match codec {
        ExportCodec::Plain => return Ok(archive),
        ExportCodec::Brotli => shuffle(&archive),
        _ => archive,
    };
    let compressed = compress_watched(&content, codec, progress, interrupt);
    interrupt.check()?;
    Ok(compressed?)
}

/// What `torch.save` writes: NAME.q and NAME.scale of integers, NAME of floats, in the order of the tensors.
pub fn torch_archive(tensors: &[PackedTensor], origins: &[Origin], meta: MetaStyle) -> Vec<u8> {
    // The keys of `w`: an integer tensor has two.
    let keys: Vec<(&PackedTensor, bool)> = tensors
        .iter()
        .flat_map(|tensor| match tensor.values() {
            PackedValues::Integers { .. } => vec![(tensor, false), (tensor, true)],
            _ => vec![(tensor, false)],
        })
        .collect();
    let mut pickler = Pickler::new();
    pickler.dict(2, |pickler, section| {
        if section == 0 {
            pickler.constant("w");
            pickler.dict(keys.len(), |pickler, index| {
                if let Some((tensor, is_scale)) = keys.get(index) {
                    weights(pickler, tensor, *is_scale);
                }
            });
        } else {
            pickler.constant("m");
            pickler.dict(tensors.len(), |pickler, index| {
                if let Some(tensor) = tensors.get(index) {
                    pickler.name(tensor.name());
                    describe(pickler, tensor.class(), origins.get(index).copied(), meta);
                }
            });
        }
    });
    let (pickle, storages) = pickler.finish();
    archive(&pickle, &storages)
}

fn weights<'a>(pickler: &mut Pickler<'a>, tensor: &'a PackedTensor, is_scale: bool) {
    let (name, shape) = (tensor.name(), tensor.shape());
    match tensor.values() {
        PackedValues::Integers { scales, .. } if is_scale => {
            pickler.text(&format!("{name}.scale"));
            let per_row = [scales.len()];
            pickler.tensor(Dtype::F16, if shape.len() == 2 { &per_row } else { &[] }, halves(scales));
        }
        PackedValues::Integers { symbols, .. } => {
            pickler.text(&format!("{name}.q"));
            pickler.tensor(Dtype::I8, shape, symbols.iter().map(|&symbol| symbol as u8).collect());
        }
        PackedValues::F16(values) => {
            pickler.name(name);
            pickler.tensor(Dtype::F16, shape, halves(values));
        }
        PackedValues::F32(values) => {
            pickler.name(name);
            pickler.tensor(Dtype::F32, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect());
        }
    }
}

fn halves(values: &[f16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The value of `m` for a tensor.
fn describe(pickler: &mut Pickler<'_>, class: TensorClass, origin: Option<Origin>, meta: MetaStyle) {
    let is_integer = class.symbols().is_some();
    match (meta, is_integer) {
        (MetaStyle::Types | MetaStyle::Methods, false) => {
            pickler.constant(origin.map_or("passthrough", |origin| origin.rule.export_label()));
        }
        (MetaStyle::Labels, false) => pickler.constant(match class {
            TensorClass::F32 => "passthrough (float32)",
            _ => "passthrough (float16)",
        }),
        // The scripts know no other word for integers.
        (MetaStyle::Labels, true) => pickler.text(&format!("gptq ({class})")),
        // PR #1218 says nothing of how int8 was rounded, which is its table.
        (MetaStyle::Types | MetaStyle::Methods, true) if meta == MetaStyle::Types || class == TensorClass::Int8 => {
            pickler.dict(1, |pickler, _| {
                pickler.constant("type");
                pickler.constant(class.label());
            });
        }
        (MetaStyle::Types | MetaStyle::Methods, true) => pickler.dict(2, |pickler, item| {
            if item == 0 {
                pickler.constant("type");
                pickler.constant(class.label());
            } else {
                pickler.constant("method");
                let is_gptq = origin.is_some_and(|origin| origin.rounding.uses_hessian());
                pickler.constant(if is_gptq { "gptq" } else { "clip_search" });
            }
        }),
    }
}
