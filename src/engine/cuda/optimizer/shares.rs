//! Which of Muon's matrices a rank orthogonalizes.

use super::arena::Matrices;

/// Deals out the matrices of each batch, a share for each rank.
///
/// A share is a run of neighbors, so that it is still one batch of launches. Where the ranks do not divide a batch some
/// take one more, and those are others from batch to batch.
pub(super) fn shares(batches: &[Matrices], world: usize) -> Vec<Vec<Matrices>> {
    let mut first_with_more = 0;
    let deal = |batch: &Matrices| {
        let (each, more) = (batch.count / world, batch.count % world);
        let mut start = batch.start;
        let share = |rank: usize| {
            let takes_more = (rank + world - first_with_more) % world < more;
            let share = Matrices { start, count: each + usize::from(takes_more), ..*batch };
            start += share.count * share.stride;
            share
        };
        let dealt = (0..world).map(share).collect();
        first_with_more = (first_with_more + more) % world;
        dealt
    };
    batches.iter().map(deal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_matrix_is_one_ranks_and_no_rank_has_many_more() {
        // The recipe's: 22 of two shapes, 11 of two, one projection.
        let batch = |start, count| Matrices { start, count, stride: 64, rows: 8, columns: 8 };
        let batches = [batch(0, 22), batch(22 * 64, 1), batch(23 * 64, 22), batch(45 * 64, 11), batch(56 * 64, 11)];
        for world in [1, 2, 4, 8] {
            let shares = shares(&batches, world);
            let mut totals = vec![0; world];
            for (batch, shares) in batches.iter().zip(&shares) {
                let mut next = batch.start;
                for (total, share) in totals.iter_mut().zip(shares) {
                    assert_eq!((share.start, share.stride), (next, batch.stride));
                    assert!(share.count.abs_diff(batch.count / world) <= 1);
                    next += share.count * share.stride;
                    *total += share.count;
                }
                assert_eq!(next, batch.start + batch.count * batch.stride);
            }
            let least = totals.iter().min().unwrap();
            assert!(totals.iter().all(|total| total - least <= 1), "{totals:?}");
        }
    }
}
