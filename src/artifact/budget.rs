//! Code plus model against the challenge's cap.

use schemars::JsonSchema;
use serde::Serialize;

use crate::manifest::Manifest;
use crate::units::Bytes;

/// The sum the challenge caps at 16,000,000 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Budget {
    /// The artifact as stored.
    pub model: Bytes,
    /// Code files listed in the manifest, and the program that runs in place of a script.
    pub code: Bytes,
    /// Both.
    pub total: Bytes,
    /// The cap.
    pub cap: Bytes,
    /// Cap minus total; negative when over.
    pub margin: i128,
}

impl Budget {
    /// The sum for a model of `model` bytes and the code of `manifest`.
    pub fn of(model: Bytes, manifest: &Manifest) -> Self {
        let code = Self::code_of(manifest);
        let total = Bytes(model.0.saturating_add(code.0));
        Budget { model, code, total, cap: Bytes::BUDGET, margin: total.margin_to(Bytes::BUDGET) }
    }

    /// Bytes of the code of `manifest`.
    pub fn code_of(manifest: &Manifest) -> Bytes {
        let files = manifest.code.iter().map(|file| file.bytes);
        let program = manifest.program.iter().map(|program| program.source().bytes);
        Bytes(files.chain(program).fold(0u64, |sum, bytes| sum.saturating_add(bytes.0)))
    }

    /// Whether the total is within the cap, which is inclusive.
    pub fn is_kept(&self) -> bool {
        self.margin >= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_is_inclusive() {
        let text = "schema: golf-harness/manifest/v1\nname: x\ncode: [{ path: train_gpt.py, bytes: 56721 }]";
        let manifest = crate::manifest::parse(text, std::path::Path::new("x.yaml")).unwrap();
        for (model, margin, kept) in [(15_425_120, 518_159, true), (15_943_279, 0, true), (15_943_280, -1, false)] {
            let budget = Budget::of(Bytes(model), &manifest);
            assert_eq!((budget.margin, budget.is_kept()), (margin, kept));
        }
    }
}
