//! A network on a device, ready to score.

use super::fold::{fold, fold_tables};
use super::forward::{Forward, Memory, Observer};
use super::operands::Linear;
use super::parameters::Network;
use super::rows::Rows;
use super::traits::Kernels;
use crate::engine::{EngineError, Precision, check};
use crate::model::{Graph, ModelConfig, Params, RopeTables};

/// Weights on a device.
pub(in crate::engine) struct Loaded<K: Kernels> {
    pub kernels: K,
    pub config: ModelConfig,
    graph: Graph,
    network: Network<K::Buffer>,
}

impl<K: Kernels> Loaded<K> {
    /// Uploads weights as that precision stores them.
    pub fn new(kernels: K, precision: Precision, config: &ModelConfig, weights: &Params) -> Result<Self, EngineError> {
        let weights = stored(precision, weights);
        let weights = match precision {
            Precision::F32 => fold(&weights),
            Precision::Bf16 => fold_tables(&weights),
        };
        let network = Network::upload(&kernels, config, &weights)?;
        Ok(Loaded { kernels, config: config.clone(), graph: Graph::new(config), network })
    }

    /// Cosines and sines of so many positions, for a row of that length unless the configuration says how long rows are.
    pub fn tables(&self, positions: usize) -> K::Tables {
        self.kernels.rope_tables(&RopeTables::new(&self.config, positions))
    }

    /// Queues the likelihoods of so many targets: those of the positions from `first` on in each of the rows.
    pub fn queue(
        &self,
        rows: &Rows<K>,
        first: usize,
        (targets, count): (&K::Ids, usize),
        tables: &K::Tables,
    ) -> K::Buffer {
        let x = self.forward(tables).score(rows, first);
        let (dims, cap) = (self.head_dims(count), self.config.logit_softcap as f32);
        self.kernels.nll(dims, &x, self.network.head(), cap, targets)
    }

    /// Logits of every position of one row.
    pub fn logits(&self, inputs: &[u16]) -> Result<Vec<f32>, EngineError> {
        check::inputs(&self.config, inputs)?;
        let tables = self.tables(inputs.len());
        let x = self.forward(&tables).score(&Rows::new(&self.kernels, &self.config, inputs, inputs.len()), 0);
        let cap = self.config.logit_softcap as f32;
        let logits = self.kernels.logits(self.head_dims(inputs.len()), &x, self.network.head(), cap);
        Ok(self.kernels.download(logits))
    }

    /// Logits of the last position of some rows, of which `memory` holds all positions before it; `contexts` are as
    /// [`Forward::step`] wants them, `tables` are those of the position alone.
    pub fn step(
        &self,
        contexts: &[u16],
        rows: usize,
        tables: &K::Tables,
        memory: &dyn Memory<K::Buffer>,
    ) -> Result<Vec<f32>, EngineError> {
        check::inputs(&self.config, contexts)?;
        let length = (contexts.len() / rows.max(1)).max(1);
        let tokens: Vec<u16> = contexts.iter().skip(length - 1).step_by(length).copied().collect();
        let (k, config) = (&self.kernels, &self.config);
        let (context, last) = (Rows::new(k, config, contexts, length), Rows::new(k, config, &tokens, 1));
        let x = Forward { memory: Some(memory), ..self.forward(tables) }.step(&context, &last);
        Ok(k.download(k.logits(self.head_dims(rows), &x, self.network.head(), config.logit_softcap as f32)))
    }

    /// The blocks' visits in a pass.
    pub fn visits(&self) -> usize {
        self.graph.visits.len()
    }

    /// Runs a row and shows what enters its linear layers.
    pub fn observe(&self, inputs: &[u16], observer: &dyn Observer<K::Buffer>) -> Result<(), EngineError> {
        check::inputs(&self.config, inputs)?;
        let tables = self.tables(inputs.len());
        let rows = Rows::new(&self.kernels, &self.config, inputs, inputs.len());
        Forward { observer: Some(observer), ..self.forward(&tables) }.score(&rows, 0);
        Ok(())
    }

    fn forward<'a>(&'a self, tables: &'a K::Tables) -> Forward<'a, K> {
        let Loaded { kernels: k, config, graph, network } = self;
        Forward { k, config, graph, network, scaled: None, tables, observer: None, memory: None }
    }

    fn head_dims(&self, tokens: usize) -> Linear {
        Linear { tokens, inputs: self.config.model_dim, outputs: self.config.vocab_size }
    }
}

/// Weights as that precision stores them. Folding a scale into a matrix afterwards makes products that single
/// precision holds exactly, and so do those products times an activation.
fn stored(precision: Precision, weights: &Params) -> Params {
    let mut weights = weights.clone();
    if precision == Precision::Bf16 {
        let round = |value: &mut f32| *value = half::bf16::from_f32(*value).to_f32();
        weights.iter_mut().for_each(|(_, tensor)| tensor.data_mut().iter_mut().for_each(round));
    }
    weights
}
