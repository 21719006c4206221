//! Work of one shape that is done again and again: recorded once, then handed over as one piece.
//!
//! A forward and backward pass is some hundreds of launches. The first time they are made one by one; the second time they
//! are recorded (a CUDA graph) and from then on launched together. The memory of such work is its own: what was recorded
//! names addresses, so nobody else may have them.

use super::device::Device;
use super::memory::{Pool, Shared};

/// Set to 0, work is never recorded: for tools that watch single launches.
const VARIABLE: &str = "GOLF_HARNESS_GRAPHS";

/// Work with a fixed result place `O`.
pub(super) struct GraphRunner<D: Device, O> {
    pool: Pool<D>,
    stage: Stage<D, O>,
}

enum Stage<D: Device, O> {
    New,
    /// Done once, so that its memory is there.
    Known(O),
    Recorded(D::Graph, O),
    /// It cannot be recorded, or shall not be.
    Plain(O),
}

impl<D: Device, O> Default for GraphRunner<D, O> {
    fn default() -> Self {
        GraphRunner { pool: Pool::default(), stage: Stage::New }
    }
}

impl<D: Device, O> GraphRunner<D, O> {
    /// Does the work; its result is good until it is done again. It must ask the device for the same things every time,
    /// and read and write nothing of the host; what it uses besides its own memory must live as long as this.
    ///
    /// By the one whose [turn](Shared::lock_stream) it is.
    pub fn run(&mut self, shared: &Shared<D>, work: impl Fn() -> O) -> Option<&O> {
        self.stage = match std::mem::replace(&mut self.stage, Stage::New) {
            Stage::New => Stage::Known(shared.within(&mut self.pool, &work)),
            Stage::Known(before) if std::env::var_os(VARIABLE).is_some_and(|value| value == "0") => {
                drop(before);
                Stage::Plain(shared.within(&mut self.pool, &work))
            }
            Stage::Known(before) => {
                shared.check().ok()?;
                shared.within(&mut self.pool, || drop(before));
                self.record(shared, &work)
            }
            Stage::Plain(before) => Stage::Plain(shared.within(&mut self.pool, || {
                drop(before);
                work()
            })),
            recorded => recorded,
        };
        if let Stage::Recorded(graph, _) = &self.stage {
            // SAFETY: its buffers are in the pool or in the result, both of which are kept beside it.
            shared.run(|device| unsafe { device.replay(graph) });
        }
        match &self.stage {
            Stage::New => None,
            Stage::Known(result) | Stage::Recorded(_, result) | Stage::Plain(result) => Some(result),
        }
    }

    /// Does something else in the same memory, step by step; nothing it leaves behind may be of that memory.
    ///
    /// By the one whose [turn](Shared::lock_stream) it is.
    pub fn beside<T>(&mut self, shared: &Shared<D>, work: impl FnOnce() -> T) -> T {
        shared.within(&mut self.pool, work)
    }

    fn record(&mut self, shared: &Shared<D>, work: &impl Fn() -> O) -> Stage<D, O> {
        let recorded = match shared.device.begin_capture() {
            Err(_) => None,
            Ok(()) => {
                let result = shared.within(&mut self.pool, work);
                let (graph, failure) = (shared.device.end_capture(), shared.take_error());
                graph.ok().filter(|_| failure.is_none()).map(|graph| Stage::Recorded(graph, result))
            }
        };
        // Whatever a driver will not record is done step by step, as the first time.
        recorded.unwrap_or_else(|| Stage::Plain(shared.within(&mut self.pool, work)))
    }
}
