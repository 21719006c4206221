//! Ranks that NCCL brings together: one on each GPU of a machine, or threads on a fake one.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use super::ranks::{configs, quick, train};
use super::steps::start;
use crate::collective::{Collective, CollectiveError, NcclRank, Rank, Rendezvous, Solo, Span};
use crate::engine::cuda::backend::{Operand, values};
use crate::engine::cuda::device::DType;
use crate::engine::cuda::driver::Gpu;
use crate::engine::cuda::open;
use crate::engine::cuda::tests::network::engine;
use crate::engine::cuda::tests::{gpu, kernels};
use crate::engine::network::Kernels;
use crate::interrupt::Interrupt;
use crate::manifest::OrthogonalizerPrecision;

/// How many ranks share the GPU, where it is a fake one. A real one is one rank's.
fn fake_ranks() -> Option<usize> {
    std::env::var("GOLF_FAKE_RANKS").ok()?.parse().ok()
}

fn ordinal(rank: usize) -> usize {
    if fake_ranks().is_some() { 0 } else { rank }
}

/// What each rank makes of it, in rank order. Fails where there is no GPU or no NCCL.
fn on_gpus<R: Send>(work: impl Fn(NcclRank, &Arc<Gpu>) -> R + Sync) -> Vec<R> {
    gpu();
    let count = cudarc::driver::CudaContext::device_count().unwrap() as usize;
    let world = fake_ranks().unwrap_or([8, 4, 2].into_iter().find(|&world| world <= count).unwrap_or(1));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let run = |place: Rank| {
        let rendezvous = Rendezvous { rank: place, host: "127.0.0.1".into(), port, timeout: Duration::from_secs(120) };
        let met = rendezvous.connect(&Interrupt::none()).unwrap();
        assert!(NcclRank::is_found_by_all(&met).unwrap(), "libnccl.so is not on the library path");
        let ordinal = ordinal(place.index());
        let gpu = Arc::new(open::open(ordinal).unwrap());
        work(NcclRank::join(met, ordinal).unwrap(), &gpu)
    };
    std::thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> =
            Rank::all(world).unwrap().into_iter().map(|place| scope.spawn(move || run(place))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

mod on_a_gpu {
    use super::*;

    #[test]
    #[ignore = "needs CUDA devices and NCCL"]
    fn nccl_works_on_what_lies_there() {
        on_gpus(|rank, gpu| {
            let (place, k) = (Collective::rank(&rank), &kernels(gpu));
            let (own, world) = (place.index() as f32, place.world_size() as f32);
            let all = world * (world - 1.0) / 2.0;
            let values: Vec<f32> = (0..1000).map(|i| i as f32 + own).collect();
            let buffer = k.upload(&values);
            let mut queue = rank.on_device(ordinal(place.index()), 0).unwrap();
            let span = |start, len| Span { address: buffer.view().slice(start..start + len).unwrap().address(), len };
            // Two ranges of three; the copies come after the sums, and both after the upload.
            // SAFETY: the spans lie apart in the buffer, which outlives the queue's work.
            unsafe {
                queue.all_reduce_sum(&[span(0, 10), span(500, 3)]).unwrap();
                queue.broadcast(&[(place.world_size() - 1, span(20, 5)), (0, span(8, 2))]).unwrap();
            }
            queue.stream_wait().unwrap();
            k.add(&k.upload(&vec![1.0; 1000]), &mut k.copy(&buffer));
            queue.synchronize().unwrap();
            let expected = |i: usize| match i {
                0..10 | 500..503 => world * i as f32 + all,
                20..25 => i as f32 + world - 1.0,
                _ => i as f32 + own,
            };
            assert_eq!(k.read(&buffer), (0..1000).map(expected).collect::<Vec<_>>());
            assert!(rank.on_device(99, 0).is_none());

            // And on what lies on the host.
            let mut values = vec![own; 3];
            rank.all_reduce_sum(&mut values).unwrap();
            assert_eq!(values, [all; 3]);
            let mut values = vec![own; 5];
            rank.broadcast(place.world_size() - 1, &mut values).unwrap();
            assert_eq!(values, [world - 1.0; 5]);
            k.check().unwrap();
        });
    }

    #[test]
    #[ignore = "needs CUDA devices and NCCL"]
    fn nccl_ranks_take_the_steps_of_one() {
        for (config, precision) in configs().iter().zip([OrthogonalizerPrecision::Bf16, OrthogonalizerPrecision::F32]) {
            let begin = &start(config, &quick(precision));
            let found = on_gpus(|rank, gpu| train(&engine(gpu), config, begin, 2..5, &rank));
            assert!(found.iter().all(|rank| *rank == found[0]), "the ranks differ");
            // NCCL and the library's products have orders of their own; the fake ones have the host's.
            let alone = train(&engine(&gpu()), config, begin, 2..5, &Solo);
            assert!(fake_ranks().is_none() || alone == found[0], "ranks are not one");
        }
    }

    #[test]
    #[ignore = "needs CUDA devices and NCCL"]
    fn nccl_is_given_up_where_a_rank_is_lost() {
        on_gpus(|rank, gpu| {
            let place = Collective::rank(&rank);
            if place.world_size() == 1 {
                return;
            }
            if !place.is_rank_zero() {
                // Answers the roll call and goes.
                rank.all_gather(b"100 values in 1 places").unwrap();
                return;
            }
            let k = &kernels(gpu);
            let buffer = k.upload(&[1.0; 100]);
            let mut queue = rank.on_device(ordinal(0), 0).unwrap();
            // SAFETY: the span is the buffer, which outlives the queue.
            unsafe { queue.all_reduce_sum(&[Span { address: buffer.view().address(), len: 100 }]).unwrap() };
            queue.stream_wait().unwrap();
            // SAFETY: `scale` reads and writes 100 values.
            unsafe { k.each("scale", 100, &[values(&buffer, DType::F32, 100), Operand::F32(1.0)]) };
            let error = queue.synchronize().unwrap_err();
            assert!(matches!(error, CollectiveError::Lost { rank: 1.., .. }), "{error}");
            assert!(error.to_string().contains("its connection closed"), "{error}");
            // What is given up holds nothing up: this would wait for ever.
            drop(queue);
            k.read(&buffer);
        });
    }
}
