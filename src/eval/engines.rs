//! Which engine scores, or both with one checking the other.

use super::Agreement;
use crate::engine::{CrossCheck, EngineDevice, EngineError, EngineKind, Precision, Scorer};
use crate::model::{ModelConfig, Params};

/// What runs the windows, as `score --engine` takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// The fast one
    #[default]
    Kernels,
    /// The readable one, written with dfdx
    Dfdx,
    /// Kernels, every likelihood cross-checked by dfdx; fails where they differ
    Both,
}

impl EngineChoice {
    /// The engine whose numbers are reported.
    pub fn reported(self) -> EngineKind {
        match self {
            EngineChoice::Kernels | EngineChoice::Both => EngineKind::Kernels,
            EngineChoice::Dfdx => EngineKind::Dfdx,
        }
    }

    /// Prepares weights for scoring; the check runs where dfdx has the device, or else on the processor.
    pub(super) fn prepare(
        self,
        device: &EngineDevice,
        precision: Precision,
        model: &ModelConfig,
        weights: &Params,
    ) -> Result<Prepared, EngineError> {
        // Made first, because it refuses a precision the second engine does not have.
        let reference = match self {
            EngineChoice::Both => Some(device.for_cross_check().engine(EngineKind::Dfdx, precision)?),
            EngineChoice::Kernels | EngineChoice::Dfdx => None,
        };
        let scorer = device.engine(self.reported(), precision)?.scorer(model, weights)?;
        match reference {
            Some(reference) => Ok(Prepared::Both(CrossCheck::new(scorer, &*reference, model, weights)?)),
            None => Ok(Prepared::One(scorer)),
        }
    }
}

/// Weights ready to be scored.
pub(super) enum Prepared {
    One(Box<dyn Scorer>),
    Both(CrossCheck),
}

impl Prepared {
    /// Answers with the reported engine's numbers.
    pub(super) fn scorer(&self) -> &dyn Scorer {
        match self {
            Prepared::One(scorer) => scorer.as_ref(),
            Prepared::Both(check) => check,
        }
    }

    /// How far the engines were apart, if there are two.
    pub(super) fn agreement(&self) -> Option<Agreement> {
        match self {
            Prepared::One(_) => None,
            Prepared::Both(check) => {
                let largest_difference = check.largest_difference().relative();
                let engine = check.by().to_string();
                Some(Agreement { engine, largest_difference, tolerance: CrossCheck::TOLERANCE })
            }
        }
    }
}
