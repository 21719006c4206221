//! Which engine scores, or both with one recounting the other.

use super::Agreement;
use crate::engine::{Device, EngineError, EngineKind, Precision, Recount, Scorer};
use crate::model::{ModelConfig, Params};

/// What runs the windows, as `score --engine` takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// The fast one
    #[default]
    Kernels,
    /// The readable one, written with dfdx
    Dfdx,
    /// Kernels, every likelihood recounted by dfdx; fails where they differ
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

    /// Prepares weights for scoring; a recount is made where dfdx has the device, or else on the processor.
    pub(super) fn prepare(
        self,
        device: &Device,
        precision: Precision,
        model: &ModelConfig,
        weights: &Params,
    ) -> Result<Prepared, EngineError> {
        // Made first, because it refuses a precision the second engine does not have.
        let reference = match self {
            EngineChoice::Both => Some(device.for_recount().engine(EngineKind::Dfdx, precision)?),
            EngineChoice::Kernels | EngineChoice::Dfdx => None,
        };
        let scorer = device.engine(self.reported(), precision)?.scorer(model, weights)?;
        match reference {
            Some(reference) => Ok(Prepared::Both(Recount::new(scorer, &*reference, model, weights)?)),
            None => Ok(Prepared::One(scorer)),
        }
    }
}

/// Weights ready to be scored.
pub(super) enum Prepared {
    One(Box<dyn Scorer>),
    Both(Recount),
}

impl Prepared {
    /// Answers with the reported engine's numbers.
    pub(super) fn scorer(&self) -> &dyn Scorer {
        match self {
            Prepared::One(scorer) => scorer.as_ref(),
            Prepared::Both(recount) => recount,
        }
    }

    /// How far the engines were apart, if there are two.
    pub(super) fn agreement(&self) -> Option<Agreement> {
        match self {
            Prepared::One(_) => None,
            Prepared::Both(recount) => {
                let largest_difference = recount.largest_difference().relative();
                let engine = recount.by().to_string();
                Some(Agreement { engine, largest_difference, tolerance: Recount::TOLERANCE })
            }
        }
    }
}
