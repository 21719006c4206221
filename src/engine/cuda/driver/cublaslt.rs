//! Matrix products by cuBLASLt: of single-precision values without TF32, or of bfloat16 ones on tensor cores, with sums in
//! single precision in both cases.
//!
//! cuBLASLt thinks in columns: a row-major matrix is its transpose there. So `out = a b` is asked for as
//! `out^T = b^T a^T`, with `b` as the first factor.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys;
use cudarc::driver::CudaContext;
use cudarc::driver::sys::CUstream;

use super::memory::GpuMemory;
use crate::engine::cuda::device::DType;
use crate::engine::cuda::error::DeviceError;
use crate::engine::cuda::gemm::{Batch, GemmDesc, product_name};
use crate::engine::cuda::library::{LibraryAlgorithm, LibraryProduct, LibraryProducts};
use crate::engine::cuda::view::View;

/// Memory the library may use within a product: what NVIDIA advises for Hopper.
pub(super) const WORKSPACE_BYTES: usize = 32 << 20;

/// `CUBLAS_OP_N` and `CUBLAS_OP_T` of `cublas_api.h`, which cudarc gives no names here.
const AS_IT_IS: i32 = 0;
const TRANSPOSED: i32 = 1;

/// Dimensions, layouts and types of a product: what its algorithm depends on.
type Shape = ([usize; 3], [bool; 2], [DType; 2], Batch);

/// The library's handle, its workspace, and the algorithms chosen so far.
pub(super) struct CublasLt {
    handle: sys::cublasLtHandle_t,
    workspace: GpuMemory,
    /// None where the library has no algorithm.
    plans: Mutex<BTreeMap<Shape, Option<Plan>>>,
    context: Arc<CudaContext>,
}

// SAFETY: a cuBLASLt handle may be used from several threads; the plans are behind a lock, which also keeps two
// products from being queued at once, so that the workspace has one user at a time in the stream's order.
unsafe impl Send for CublasLt {}
// SAFETY: as above.
unsafe impl Sync for CublasLt {}

/// Descriptions and algorithm of one shape.
pub(super) struct Plan {
    description: sys::cublasLtMatmulDesc_t,
    first: sys::cublasLtMatrixLayout_t,
    second: sys::cublasLtMatrixLayout_t,
    out: sys::cublasLtMatrixLayout_t,
    algorithm: sys::cublasLtMatmulAlgo_t,
    /// What the library says of it.
    pub said: LibraryAlgorithm,
}

fn said(what: &'static str) -> impl Fn(CublasError) -> DeviceError {
    move |error| DeviceError::new(what, error)
}

impl CublasLt {
    /// The device's context must be bound to this thread.
    pub fn new(context: Arc<CudaContext>, workspace: GpuMemory) -> Result<Self, DeviceError> {
        let handle = result::create_handle().map_err(said("cuBLASLt does not start"))?;
        Ok(CublasLt { handle, workspace, plans: Mutex::default(), context })
    }

    /// Queues a product on a stream, always the same; false where the library has no algorithm for such dims.
    ///
    /// # Safety
    /// As for `Device::gemm`, with the device's context bound to this thread.
    pub unsafe fn run(&self, gemm: &GemmDesc<'_>, stream: CUstream) -> Result<bool, DeviceError> {
        let GemmDesc { m, n, k, a_transposed, b_transposed, batch, .. } = *gemm;
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let shape = ([m, n, k], [a_transposed, b_transposed], gemm.dtypes(), batch);
        let plan = match plans.entry(shape) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(unknown) => {
                let plan = match Plan::new(self.handle, gemm, 0) {
                    Ok(plan) => Some(plan),
                    Err(CublasError(sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED)) => None,
                    Err(error) => {
                        let what = format!("cuBLASLt cannot plan a product of {m} x {k} x {n}");
                        return Err(DeviceError::new(what, error));
                    }
                };
                unknown.insert(plan)
            }
        };
        let Some(plan) = plan else { return Ok(false) };
        // SAFETY: passed on to the caller; the plan is this shape's.
        unsafe { self.queue(gemm, plan, stream) }.map(|()| true)
    }

    /// Version of the library, and what it chose for the products made so far.
    pub fn products(&self) -> LibraryProducts {
        let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let product = |(&(sides, transposed, dtypes, batch), plan): (&Shape, &Option<Plan>)| LibraryProduct {
            product: product_name(sides, transposed, dtypes, batch.count),
            algorithm: plan.as_ref().map(|plan| plan.said),
        };
        // SAFETY: it takes nothing and returns a number.
        let cublaslt = unsafe { sys::cublasLtGetVersion() };
        LibraryProducts { cublaslt, products: plans.iter().map(product).collect() }
    }

    /// A plan for each of the library's first eight choices.
    #[cfg(test)]
    pub fn candidates(&self, gemm: &GemmDesc<'_>) -> Result<Vec<Plan>, DeviceError> {
        let plan = |nth| match Plan::new(self.handle, gemm, nth) {
            Ok(plan) => Some(Ok(plan)),
            Err(CublasError(sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED)) => None,
            Err(error) => Some(Err(DeviceError::new("cuBLASLt cannot plan a product", error))),
        };
        (0..8).filter_map(plan).collect()
    }

    /// Queues a product by a plan.
    ///
    /// # Safety
    /// As for [`Self::run`], and the plan must be one for such products.
    pub unsafe fn queue(&self, gemm: &GemmDesc<'_>, plan: &Plan, stream: CUstream) -> Result<(), DeviceError> {
        let GemmDesc { m, n, k, .. } = *gemm;
        let (alpha, beta): (*const f32, *const f32) = (&gemm.alpha, &gemm.beta);
        // Where nothing is added the library still wants a matrix.
        let c = if gemm.beta == 0.0 { gemm.out } else { gemm.c };
        let pointer = |view: View<'_>| view.address() as *mut c_void;
        // SAFETY: handle, descriptions and algorithm belong together and live as long as `self`; the matrices have
        // the described dimensions (the caller's promise); alpha and beta are read before the call returns (host pointers).
        let queued = unsafe {
            result::matmul(
                self.handle,
                plan.description,
                alpha.cast(),
                beta.cast(),
                pointer(gemm.b),
                plan.first,
                pointer(gemm.a),
                plan.second,
                pointer(c),
                plan.out,
                pointer(gemm.out),
                plan.out,
                &plan.algorithm,
                self.workspace.address() as *mut c_void,
                WORKSPACE_BYTES,
                stream.cast(),
            )
        };
        let what = || format!("a product of {m} x {k} x {n} failed");
        queued.map_err(|error| DeviceError::new(what(), error))
    }
}

impl Drop for CublasLt {
    fn drop(&mut self) {
        self.plans.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        if self.context.bind_to_thread().is_ok() {
            // SAFETY: created in `new`, destroyed nowhere else.
            let _ = unsafe { result::destroy_handle(self.handle) };
        }
    }
}

impl Plan {
    /// By the library's `nth` choice, counted from 0.
    fn new(handle: sys::cublasLtHandle_t, gemm: &GemmDesc<'_>, nth: usize) -> Result<Self, CublasError> {
        use sys::cublasComputeType_t::CUBLAS_COMPUTE_32F;
        use sys::cudaDataType_t::{CUDA_R_16BF, CUDA_R_32F};
        let GemmDesc { m, n, k, a_transposed, b_transposed, .. } = *gemm;
        // A row-major matrix of some columns is a column-major one of as many rows.
        let layout = |dtype: DType, stored_rows: usize, stored_columns: usize| {
            let kind = match dtype {
                DType::F32 => CUDA_R_32F,
                DType::Bf16 => CUDA_R_16BF,
            };
            result::create_matrix_layout(kind, stored_columns as u64, stored_rows as u64, stored_columns as i64)
        };
        let [factors, out] = gemm.dtypes();
        let mut plan = Plan {
            description: result::create_matmul_desc(CUBLAS_COMPUTE_32F, CUDA_R_32F)?,
            first: std::ptr::null_mut(),
            second: std::ptr::null_mut(),
            out: std::ptr::null_mut(),
            algorithm: sys::cublasLtMatmulAlgo_t { data: [0; 8] },
            said: LibraryAlgorithm::default(),
        };
        plan.first = if b_transposed { layout(factors, n, k)? } else { layout(factors, k, n)? };
        plan.second = if a_transposed { layout(factors, k, m)? } else { layout(factors, m, k)? };
        plan.out = layout(out, m, n)?;
        let may_split = a_transposed && out == DType::F32;
        let [a, b, out] = gemm.batch.strides;
        for (layout, stride) in [(plan.first, b), (plan.second, a), (plan.out, out)] {
            set_batch(layout, gemm.batch.count, stride)?;
        }
        for (attribute, transposed) in [
            (sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA, b_transposed),
            (sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSB, a_transposed),
        ] {
            let operation = if transposed { TRANSPOSED } else { AS_IT_IS };
            let value = std::ptr::from_ref(&operation).cast();
            // SAFETY: the description was made above; the attribute is an operation, copied before the call returns.
            unsafe {
                result::set_matmul_desc_attribute(plan.description, attribute, value, size_of_val(&operation))?;
            }
        }
        let chosen = plan.choose(handle, may_split, nth)?;
        (plan.algorithm, plan.said) = (chosen.algo, describe(&chosen));
        Ok(plan)
    }

    /// The library's `nth` choice; the engine takes the first.
    ///
    /// Sums over inputs or outputs of a layer must not be split among blocks: then a row of activations is summed the
    /// same way wherever it lies. Sums over tokens, in a weight's gradient, are long and may be split where the result is in
    /// single precision; the library adds the parts in a fixed order. In bfloat16 the parts would be rounded before they
    /// are added.
    fn choose(
        &self,
        handle: sys::cublasLtHandle_t,
        may_split: bool,
        nth: usize,
    ) -> Result<sys::cublasLtMatmulHeuristicResult_t, CublasError> {
        use sys::cublasLtMatmulPreferenceAttributes_t as Preference;
        let preference = Preferences(result::create_matmul_pref()?);
        let unsplit = sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_NONE as u32;
        let anything = sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_MASK as u32;
        let schemes = if may_split { anything } else { unsplit };
        // SAFETY: the preference was made above; both values have the attributes' types (size_t and uint32_t) and are
        // copied before the calls return; layouts and description are this plan's own.
        unsafe {
            let bytes: *const usize = &WORKSPACE_BYTES;
            let attribute = Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
            result::set_matmul_pref_attribute(preference.0, attribute, bytes.cast(), size_of::<usize>())?;
            let mask: *const u32 = &schemes;
            let attribute = Preference::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK;
            result::set_matmul_pref_attribute(preference.0, attribute, mask.cast(), size_of::<u32>())?;
            let (first, second, out) = (self.first, self.second, self.out);
            let empty = sys::cublasLtMatmulHeuristicResult_t {
                algo: sys::cublasLtMatmulAlgo_t { data: [0; 8] },
                workspaceSize: 0,
                state: sys::cublasStatus_t::CUBLAS_STATUS_SUCCESS,
                wavesCount: 0.0,
                reserved: [0; 4],
            };
            let mut found = vec![empty; nth + 1];
            let (mut count, wanted) = (0, found.len() as i32);
            let description = self.description;
            // The array has room for as many as are asked for.
            sys::cublasLtMatmulAlgoGetHeuristic(
                handle,
                description,
                first,
                second,
                out,
                out,
                preference.0,
                wanted,
                found.as_mut_ptr(),
                &mut count,
            )
            .result()?;
            let nth = found.get(nth).filter(|_| usize::try_from(count).is_ok_and(|count| count > nth));
            let found = *nth.ok_or(CublasError(sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED))?;
            found.state.result().map(|()| found)
        }
    }
}

/// What the library says of an algorithm.
fn describe(chosen: &sys::cublasLtMatmulHeuristicResult_t) -> LibraryAlgorithm {
    use sys::cublasLtMatmulAlgoConfigAttributes_t as Attribute;
    // All of them are numbers of two or four bytes, none negative.
    let get = |attribute: Attribute, bytes: usize| {
        let (mut value, mut written) = (0u32, 0);
        let room = (&raw mut value).cast::<c_void>();
        // SAFETY: the algorithm is the library's own, and there is room for four bytes, of which it may write `bytes`.
        let status =
            unsafe { sys::cublasLtMatmulAlgoConfigGetAttribute(&chosen.algo, attribute, room, bytes, &mut written) };
        (status.result().is_ok() && written == bytes).then_some(value)
    };
    LibraryAlgorithm {
        id: get(Attribute::CUBLASLT_ALGO_CONFIG_ID, 4),
        tile: get(Attribute::CUBLASLT_ALGO_CONFIG_TILE_ID, 4),
        stages: get(Attribute::CUBLASLT_ALGO_CONFIG_STAGES_ID, 4),
        split_k: get(Attribute::CUBLASLT_ALGO_CONFIG_SPLITK_NUM, 4),
        reduction: get(Attribute::CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, 4),
        cluster: get(Attribute::CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID, 2),
        workspace: chosen.workspaceSize,
    }
}

/// Says that a layout stands for `count` matrices which begin `stride` values apart.
fn set_batch(layout: sys::cublasLtMatrixLayout_t, count: usize, stride: usize) -> Result<(), CublasError> {
    use sys::cublasLtMatrixLayoutAttribute_t as Attribute;
    let (Ok(count), Ok(stride)) = (i32::try_from(count), i64::try_from(stride)) else {
        return Err(CublasError(sys::cublasStatus_t::CUBLAS_STATUS_INVALID_VALUE));
    };
    if count == 1 {
        return Ok(());
    }
    // SAFETY: the layout is one of a plan in the making; the values have the attributes' types (int32_t and int64_t)
    // and are copied before the calls return.
    unsafe {
        let value = std::ptr::from_ref(&count).cast();
        let attribute = Attribute::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT;
        result::set_matrix_layout_attribute(layout, attribute, value, size_of_val(&count))?;
        let value = std::ptr::from_ref(&stride).cast();
        let attribute = Attribute::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET;
        result::set_matrix_layout_attribute(layout, attribute, value, size_of_val(&stride))
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        for layout in [self.first, self.second, self.out] {
            if !layout.is_null() {
                // SAFETY: made in `new`, destroyed nowhere else.
                let _ = unsafe { result::destroy_matrix_layout(layout) };
            }
        }
        // SAFETY: as above.
        let _ = unsafe { result::destroy_matmul_desc(self.description) };
    }
}

struct Preferences(sys::cublasLtMatmulPreference_t);

impl Drop for Preferences {
    fn drop(&mut self) {
        // SAFETY: made by the one who wrapped it, destroyed nowhere else.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}
