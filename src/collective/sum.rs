//! The order in which the pieces of a step are added, the same for every world.
//!
//! Rank `r` of `W` runs pieces `r`, `r + W`, `r + 2W`, ... of the stream (specification of PR #286, section 8). Let
//! `T(r, W)` be the sum of those. All worlds agree to the bit when every one of them is made as
//! `T(r, W) = T(r, 2W) + T(r + W, 2W)`, down to single pieces: a rank's own pieces add up to `T(r, W)` by that rule,
//! and the ranks' sums to `T(0, 1)`. For eight pieces: `((0+4)+(2+6)) + ((1+5)+(3+7))`.

/// The order in which `pieces` (a power of two) are best made: bit-reversed, `0 4 2 6 1 5 3 7`.
///
/// [`TreeSum`] expects them so; then no more than `log2(pieces)` partial sums exist beside the piece at hand.
pub fn reading_order(pieces: usize) -> Vec<usize> {
    let mut order = vec![0];
    while order.len() < pieces {
        let even = order.iter().map(|piece| 2 * piece);
        order = even.clone().chain(even.map(|piece| piece + 1)).collect();
    }
    order
}

/// Adds pieces that come in [`reading_order`], in the order of the module.
#[derive(Clone, Debug)]
pub struct TreeSum<T> {
    /// Partial sums and the number of pieces in each: decreasing powers of two.
    partial: Vec<(usize, T)>,
}

impl<T> Default for TreeSum<T> {
    fn default() -> Self {
        TreeSum { partial: Vec::new() }
    }
}

impl<T> TreeSum<T> {
    /// Takes the next piece; `add(a, b)` is `a += b`.
    pub fn push(&mut self, piece: T, mut add: impl FnMut(&mut T, T)) {
        let (mut pieces, mut sum) = (1, piece);
        while let Some((_, mut before)) = self.partial.pop_if(|(count, _)| *count == pieces) {
            add(&mut before, sum);
            (pieces, sum) = (2 * pieces, before);
        }
        self.partial.push((pieces, sum));
    }

    /// The partial sums that the last piece completes, innermost first: with `last` the sum is
    /// `outermost + (... + (innermost + last))`. Lets the final additions be made part by part.
    pub fn before_last(self) -> Vec<T> {
        self.partial.into_iter().rev().map(|(_, sum)| sum).collect()
    }

    /// The sum, once all pieces are there; `None` without any.
    pub fn finish(mut self) -> Option<T> {
        self.partial.pop().map(|(_, sum)| sum)
    }
}

/// Adds the ranks' values, equally many of each, element by element, in the order of the module. The number of ranks is a
/// power of two.
pub(super) fn over_ranks(mut parts: Vec<Vec<f32>>) -> Vec<f32> {
    while parts.len() > 1 {
        let upper = parts.split_off(parts.len() / 2);
        for (sum, other) in parts.iter_mut().zip(upper) {
            sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
        }
    }
    parts.pop().unwrap_or_default()
}
