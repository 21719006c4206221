//! What a matrix product is made of, whoever makes it.

use super::device::DType;
use super::error::DeviceError;
use super::view::View;

/// Operands that are parts of an allocation begin at multiples of so many values: 256 bytes of bfloat16, the alignment that
/// cuBLASLt assumes.
pub(super) const ALIGNMENT: usize = 128;

/// `out [m, n] = alpha a b + beta c` of row-major matrices, sums in single precision.
#[derive(Clone, Copy, Debug)]
pub(super) struct GemmDesc<'a> {
    pub m: usize,
    pub n: usize,
    /// Columns of `a`, rows of `b`.
    pub k: usize,
    /// Whether `a` is stored as [k, m].
    pub a_transposed: bool,
    /// Whether `b` is stored as [n, k].
    pub b_transposed: bool,
    pub alpha: f32,
    /// With 0 nothing is added and `c` is not read.
    pub beta: f32,
    pub a: View<'a>,
    pub b: View<'a>,
    /// Stored as `out`, which it may be itself; `out` where nothing is added.
    pub c: View<'a>,
    pub out: View<'a>,
    pub batch: Batch,
}

/// Products of equal dimensions made together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Batch {
    pub count: usize,
    /// Values from the beginning of each `a`, `b` and `out` to the next.
    pub strides: [usize; 3],
}

impl Batch {
    /// One product by itself.
    pub const ONE: Batch = Batch { count: 1, strides: [0; 3] };

    /// Checks an operand whose matrices have `matrix` values and begin `strides[which]` values apart.
    ///
    /// It may be longer only where it is not a product by itself: matrices of a batch may be padded.
    #[allow(clippy::too_many_arguments)]
    pub fn check_operand(
        &self,
        operation: &'static str,
        name: &str,
        view: View<'_>,
        device: usize,
        dtype: DType,
        which: usize,
        matrix: usize,
    ) -> Result<(), DeviceError> {
        let last = self.strides.get(which).map_or(0, |stride| self.count.saturating_sub(1) * stride);
        let expected = if self.count == 0 { 0 } else { last + matrix };
        let is_padded = *self != Batch::ONE && view.len() > expected;
        view.check(operation, || name.into(), device, dtype, if is_padded { view.len() } else { expected })
    }
}

/// What a product is, for people: layouts, how many, sides, types.
pub(super) fn product_name(
    [m, n, k]: [usize; 3],
    transposed: [bool; 2],
    [factors, result]: [DType; 2],
    count: usize,
) -> String {
    let layouts: String = transposed.iter().map(|&transposed| if transposed { 't' } else { 'n' }).collect();
    let count = if count == 1 { String::new() } else { format!("{count} of ") };
    format!("{layouts}, {count}{m} x {k} x {n}, {} to {}", factors.name(), result.name())
}

impl GemmDesc<'_> {
    /// The types of the factors and of the result.
    pub fn dtypes(&self) -> [DType; 2] {
        [self.a.dtype(), self.out.dtype()]
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.m * self.n * self.batch.count == 0
    }

    /// Checks that each operand is as long as the product needs and this device's, that their types go together
    /// (single-precision factors have a result of their own type), and that the result does not overlap the factors.
    pub fn check(&self, device: usize) -> Result<(), DeviceError> {
        let &GemmDesc { m, n, k, a, b, c, out, batch, .. } = self;
        let [factors, result] = self.dtypes();
        let result = if factors == DType::F32 { DType::F32 } else { result };
        let operands = [
            ("a", a, factors, 0, m * k),
            ("b", b, factors, 1, k * n),
            ("c", c, result, 2, m * n),
            ("out", out, result, 2, m * n),
        ];
        for (name, view, dtype, which, matrix) in operands {
            batch.check_operand("gemm", name, view, device, dtype, which, matrix)?;
        }
        check_apart("gemm", out, &[("a", a), ("b", b)])
    }
}

/// Checks that a result overlaps none of the operands it is made of.
pub(super) fn check_apart(
    operation: &'static str,
    out: View<'_>,
    operands: &[(&str, View<'_>)],
) -> Result<(), DeviceError> {
    match operands.iter().find(|(_, view)| view.overlaps(out)) {
        Some((name, _)) => Err(DeviceError::Overlap { operation, operand: (*name).into() }),
        None => Ok(()),
    }
}
