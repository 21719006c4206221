//! Tensors to the file of the container that the settings name.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::container::{bounded, check_bounds, digest_of, zstd_version};
use super::foreign::{MAX_EXPANDED_BYTES, MAX_OPENED_BYTES, Origin, torch_archive, torch_compressed};
use super::{ClassRule, EncodeError, Encoded, PackedTensor, encode};
use crate::digest::ContentDigest;
use crate::interrupt::Interrupt;
use crate::manifest::{QuantizationConfig, ZstdRecord};
use crate::progress::Progress;
use crate::quant::{ArtifactContainer, ExportCodec, QuantizerRule, Rounding};

/// How tensors came to what they are; some scripts write it down.
#[derive(Clone, Copy)]
pub(crate) struct Chosen<'a> {
    /// What led to the tensors' classes, in their order.
    pub rules: &'a [ClassRule],
    /// Names of those that were rounded to the nearest for want of a Hessian.
    pub without_hessian: &'a [String],
}

impl Chosen<'_> {
    fn origin(&self, tensor: &PackedTensor, rule: ClassRule, config: &QuantizationConfig) -> Origin {
        let quantizer = QuantizerRule::first(&config.rules, tensor.name());
        let quantizer = quantizer.filter(|_| !self.without_hessian.iter().any(|name| name == tensor.name()));
        Origin { rule, rounding: quantizer.map_or(Rounding::Nearest, |quantizer| quantizer.rounding) }
    }
}

/// A file of `torch.save` is compressed as one, which takes up to 640 MB at zstd's level 22 (its tables for 64 MB): so many
/// at a time.
static COMPRESSIONS: [Mutex<()>; 4] = [const { Mutex::new(()) }; 4];

/// [`encode`], or what `torch.save` writes, as `config` has it.
///
/// Progress counts bytes before compression.
pub(crate) fn encode_as(
    tensors: &[PackedTensor],
    chosen: &Chosen<'_>,
    config: &QuantizationConfig,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<Encoded, EncodeError> {
    let ArtifactContainer::Torch(export) = config.container else {
        return encode(tensors, config.codec, config.zstd_level, progress, interrupt);
    };
    check_bounds(tensors)?;
    interrupt.check()?;
    let origin = |(tensor, &rule): (&PackedTensor, &ClassRule)| chosen.origin(tensor, rule, config);
    let origins: Vec<Origin> = tensors.iter().zip(chosen.rules).map(origin).collect();
    let archive = torch_archive(tensors, &origins, export.meta);
    let payload = ContentDigest::of(&archive);
    progress.set_len(payload.bytes.0);
    let slot = rayon::current_thread_index().unwrap_or(0) % COMPRESSIONS.len();
    let bytes = {
        // It guards memory, no data that a panic could leave half done.
        let _slot = COMPRESSIONS[slot].lock().unwrap_or_else(PoisonError::into_inner);
        torch_compressed(archive, export.codec, progress, interrupt)?
    };
    let zstd = match export.codec {
        ExportCodec::Zstd { level } => Some(ZstdRecord { version: zstd_version(), level: level as i32 }),
        _ => None,
    };
    Ok(Encoded {
        file: ContentDigest::of(&bytes),
        bytes,
        payload,
        zstd,
        tensors: tensors.par_iter().map(|tensor| digest_of(tensor).0).collect(),
        parts: Vec::new(),
    })
}

/// The bounds within which `verify` opens such a file: whatever is handed on can be read.
pub(super) fn check_size(encoded: &Encoded, config: &QuantizationConfig) -> Result<(), EncodeError> {
    if config.container == ArtifactContainer::Golf {
        return Ok(());
    }
    bounded("the size of a file of torch.save before compression", encoded.payload.bytes.0, MAX_EXPANDED_BYTES)?;
    bounded("the size of a file of torch.save", encoded.file.bytes.0, MAX_OPENED_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::PackedValues;
    use crate::quant::{MetaStyle, TensorClass, TorchExport};

    fn written(tensors: &[PackedTensor]) -> Result<(), EncodeError> {
        let export = TorchExport { codec: ExportCodec::Plain, meta: MetaStyle::Types };
        let config =
            QuantizationConfig { container: ArtifactContainer::Torch(export), ..QuantizationConfig::default() };
        let rules = vec![ClassRule::Named(TensorClass::F32); tensors.len()];
        let chosen = Chosen { rules: &rules, without_hessian: &[] };
        check_size(&encode_as(tensors, &chosen, &config, &Progress::hidden(), &Interrupt::none())?, &config)
    }

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let tensor = |name: &str, elements: usize| {
            PackedTensor::new(name, vec![elements], PackedValues::F32(vec![1.0; elements])).unwrap()
        };
        assert!(written(&[tensor("a", 3), tensor("b", 3)]).is_ok());
        let error = written(&[tensor("a", 3), tensor("a", 4)]).unwrap_err();
        assert!(matches!(error, EncodeError::Duplicate(name) if name == "a"));
        for bytes in [MAX_OPENED_BYTES, MAX_EXPANDED_BYTES] {
            // The archive has a little more than its tensors.
            let error = written(&[tensor("a", bytes as usize / 4)]).unwrap_err();
            assert!(matches!(error, EncodeError::TooLarge { max, .. } if max == bytes), "{error}");
        }
    }
}
