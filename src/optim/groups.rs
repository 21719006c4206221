//! Which parameter is trained by which optimizer, at which rate, in which order.

use crate::manifest::OptimizerConfig;
use crate::model::ParamRole;

/// Order of the optimizers within a step: embeddings, head, matrices, controls.
pub const STEP_ORDER: [ParamRole; 4] = [ParamRole::Embedding, ParamRole::Head, ParamRole::Matrix, ParamRole::Control];

/// An optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// AdamW; without decay, Adam.
    AdamW,
    /// Momentum, orthogonalized.
    Muon,
}

/// How the parameters of one role are trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// The optimizer.
    pub method: Method,
    /// Learning rate before the schedule's multiplier.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Group {
    /// The group of a role under a recipe.
    ///
    /// Decay pulls gains, scales and gates toward 0, not 1, as in the PR. An untied head has none.
    pub fn of(role: ParamRole, optimizer: &OptimizerConfig, tie_embeddings: bool) -> Self {
        let adam_decay = optimizer.adam.weight_decay;
        let embed_decay = optimizer.adam.embed_weight_decay.unwrap_or(adam_decay);
        let (method, learning_rate, weight_decay) = match role {
            ParamRole::Embedding if tie_embeddings => (Method::AdamW, optimizer.tied_embed_lr, embed_decay),
            ParamRole::Embedding => (Method::AdamW, optimizer.embed_lr, embed_decay),
            ParamRole::Head => (Method::AdamW, optimizer.head_lr, 0.0),
            ParamRole::Matrix => (Method::Muon, optimizer.matrix_lr, optimizer.muon.weight_decay),
            ParamRole::Control => (Method::AdamW, optimizer.scalar_lr, adam_decay),
        };
        Group { method, learning_rate, weight_decay }
    }
}
