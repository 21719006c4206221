//! Work that is recorded once and launched as a whole.

use std::cell::Cell;
use std::sync::Arc;

use super::{kernels, on_both};
use crate::engine::cuda::device::Device;
use crate::engine::cuda::graph_runner::GraphRunner;
use crate::engine::network::Kernels;

on_both!(the_work_is_recorded_once_and_done_every_time);

/// x += x by way of a copy in memory of its own.
fn the_work_is_recorded_once_and_done_every_time<D: Device>(device: &Arc<D>) {
    let k = &kernels(device);
    let x = Cell::new(Some(k.upload(&[1.0, -3.0, 0.5])));
    let (mut runner, called) = (GraphRunner::default(), Cell::new(0));
    let work = || {
        called.set(called.get() + 1);
        let mut values = x.take().unwrap();
        let copy = k.copy(&values);
        k.add(&copy, &mut values);
        x.set(Some(values));
        copy
    };
    let _stream = k.shared.lock_stream();
    for round in 0..6 {
        // SAFETY: `x` is put back every time, in the same memory, and outlives the runner.
        let before = unsafe { runner.run(&k.shared, &work) }.unwrap();
        let expected: Vec<f32> = [1.0, -3.0, 0.5].map(|value| value * f32::powi(2.0, round)).to_vec();
        assert_eq!(k.read(before), expected, "round {round}");
        // Others take and give back memory in between.
        drop([k.zeros(3), k.zeros(300)]);
    }
    assert_eq!(called.get(), 2);
    assert_eq!(k.download(x.take().unwrap()), [64.0, -192.0, 32.0]);
    k.check().unwrap();
}
