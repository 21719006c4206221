//! Which engine scores, or both with one recounting the other.

use super::Agreement;
use crate::engine::{self, Engine, EngineError, EngineKind, KernelsEngine, Precision, Recount, Scorer};
use crate::model::{ModelConfig, Params};

/// What runs the windows, as `score --engine` takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
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

    /// Prepares weights for scoring.
    pub(super) fn prepare(
        self,
        precision: Precision,
        model: &ModelConfig,
        weights: &Params,
    ) -> Result<Prepared, EngineError> {
        match self {
            EngineChoice::Kernels => Ok(Prepared::One(KernelsEngine::scoring_in(precision).scorer(model, weights)?)),
            _ if precision != Precision::F32 => Err(EngineError::Backend {
                engine: EngineKind::Dfdx,
                message: "computes in single precision only; --precision bf16 needs --engine kernels".into(),
            }),
            EngineChoice::Both => Ok(Prepared::Both(Recount::new(model, weights)?)),
            one => Ok(Prepared::One(engine::create(one.reported()).scorer(model, weights)?)),
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
                Some(Agreement { largest_difference, tolerance: Recount::TOLERANCE })
            }
        }
    }
}
