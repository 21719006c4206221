//! What a forward pass keeps for the backward pass.

/// What a visit of a block keeps.
pub(in crate::engine) struct VisitRecord<B> {
    /// Input, after the skip; none where it is the output of an encoder block and kept as such, or the first activations.
    pub x: Option<B>,
    /// The stream before a gated skip.
    pub before_skip: Option<B>,
    /// Queries and keys as their linears made them, values as attention reads them.
    pub q: B,
    pub k: B,
    pub v: B,
    /// Attention's average of the values.
    pub mixed: B,
    pub lse: B,
    /// What the MLP's norm reads, where that is not the mixture; there once the stream has gone on.
    pub attended: Option<B>,
    /// Before the square.
    pub hidden: B,
    /// Where [`Kernels::keeps`](super::Kernels::keeps): after the square; queries and keys as attention reads them; the norm
    /// that attention's linears read, where it is not the MLP's; the norm that the MLP reads.
    pub squared: Option<B>,
    pub rotated: Option<[B; 2]>,
    pub normed: Option<B>,
    pub mlp_normed: Option<B>,
}

/// Rows of the value table and what the blocks add of them.
pub(in crate::engine) struct Values<B> {
    /// Table rows, where a projection follows.
    pub read: Option<B>,
    /// As wide as keys and values.
    pub projected: B,
}

/// What the forward pass keeps.
pub(in crate::engine) struct Record<B> {
    /// Bigram table rows read.
    pub bigram: Option<B>,
    /// Before the first norm.
    pub embedded: B,
    pub x0: B,
    pub values: Option<Values<B>>,
    pub visits: Vec<VisitRecord<B>>,
    /// Outputs of the visits that a skip takes up, by visit.
    pub outputs: Vec<Option<B>>,
    /// The two lanes, where there are, before they are merged.
    pub lanes: Option<[B; 2]>,
    /// After the last block, and its norm.
    pub last: B,
    pub normed: B,
}

impl<B> Record<B> {
    /// The input of a visit, given what it kept itself.
    pub fn input<'a>(&'a self, visit: usize, own: Option<&'a B>) -> &'a B {
        own.or_else(|| self.outputs.get(visit.checked_sub(1)?)?.as_ref()).unwrap_or(&self.x0)
    }
}
