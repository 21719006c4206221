//! Gradients summed over ranks in buckets, while the next bucket is being made.

use std::sync::mpsc;

use crate::collective::{Collective, CollectiveError};

/// Values of a bucket before it is sent: 25 MiB, as PyTorch's DistributedDataParallel has them. Large enough that
/// the wait for an answer hardly counts, small enough that sending starts early.
const BUCKET_VALUES: usize = 25 * (1 << 20) / size_of::<f32>();

/// Sums tensors over all ranks and returns them in the order they came.
///
/// `tensors` makes them one after another, in the order they become ready; all ranks make the same. A thread sums
/// full buckets over the ranks while the caller's makes the next.
pub(super) fn sum_over_ranks(
    ranks: &dyn Collective,
    tensors: impl Iterator<Item = Vec<f32>>,
) -> Result<Vec<Vec<f32>>, CollectiveError> {
    if ranks.rank().world_size() == 1 {
        return Ok(tensors.collect());
    }
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel::<Bucket>();
        let worker = scope.spawn(move || {
            let sum = |mut bucket: Bucket| ranks.all_reduce_sum(&mut bucket.values).map(|()| bucket);
            receiver.into_iter().map(sum).collect::<Result<Vec<Bucket>, CollectiveError>>()
        });
        let mut bucket = Bucket::default();
        for tensor in tensors {
            bucket.lengths.push(tensor.len());
            bucket.values.extend(tensor);
            // A worker that met an error no longer listens; the error is what it returns.
            if bucket.values.len() >= BUCKET_VALUES && sender.send(std::mem::take(&mut bucket)).is_err() {
                break;
            }
        }
        if !bucket.lengths.is_empty() {
            let _ = sender.send(bucket);
        }
        drop(sender);
        let reason =
            || Err(CollectiveError::Lost { rank: ranks.rank().index(), reason: "a thread of it ended".into() });
        let summed = worker.join().unwrap_or_else(|_| reason())?;
        Ok(summed.into_iter().flat_map(Bucket::split).collect())
    })
}

/// Tensors one after another.
#[derive(Default)]
struct Bucket {
    lengths: Vec<usize>,
    values: Vec<f32>,
}

impl Bucket {
    fn split(self) -> Vec<Vec<f32>> {
        let mut rest = &self.values[..];
        let mut take = |&len: &usize| {
            let (own, others) = rest.split_at(len);
            rest = others;
            own.to_vec()
        };
        self.lengths.iter().map(&mut take).collect()
    }
}
