//! What the library of matrix products has chosen, for reports: results depend on it.

use serde::Serialize;

/// The library, and the algorithm of every product made so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LibraryProducts {
    /// Version of cuBLASLt as it gives it, e.g. 130001.
    pub cublaslt: usize,
    /// In the order of their dimensions.
    pub products: Vec<LibraryProduct>,
}

/// A product and its algorithm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LibraryProduct {
    /// Layouts, sides and types.
    pub product: String,
    /// None where the library has no algorithm: then the engine's own kernels make the product.
    pub algorithm: Option<LibraryAlgorithm>,
}

/// Numbers of cuBLASLt's `CUBLASLT_ALGO_CONFIG_*`; none where the library does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LibraryAlgorithm {
    /// Which kernel.
    pub id: Option<u32>,
    /// Rows and columns of a block, as `cublasLtMatmulTile_t`.
    pub tile: Option<u32>,
    /// Depth of its pipeline, as `cublasLtMatmulStages_t`.
    pub stages: Option<u32>,
    /// Parts that a sum is split into.
    pub split_k: Option<u32>,
    /// How they are added, as `cublasLtReductionScheme_t`; 0 for none.
    pub reduction: Option<u32>,
    /// Blocks of a cluster, as `cublasLtClusterShape_t`.
    pub cluster: Option<u32>,
    /// Bytes of workspace it uses.
    pub workspace: usize,
}

impl LibraryAlgorithm {
    /// Whether a sum is made in parts.
    pub fn splits(&self) -> bool {
        self.split_k.is_some_and(|parts| parts > 1) || self.reduction.is_some_and(|scheme| scheme != 0)
    }
}
