//! Work of one shape that is done again and again: recorded once as a CUDA graph, then launched as a whole.
//!
//! A forward and backward pass is some hundreds of launches. The first time they are made one by one; the second time they
//! are recorded, and from then on launched together. Such work has a memory pool of its own: the graph names addresses,
//! which must not be used for anything else.

use std::sync::atomic::{AtomicU64, Ordering};

use super::device::Device;
use super::memory::{Pool, Shared};

/// How groups of work were launched in this process so far, on all devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GraphLaunches {
    /// Launched as a recorded graph.
    pub recorded: u64,
    /// Launched kernel by kernel: the first time, or where nothing is recorded.
    pub single: u64,
    /// Recordings that the driver refused: that work stays correct and is launched kernel by kernel, slower.
    pub refused: u64,
}

static RECORDED: AtomicU64 = AtomicU64::new(0);
static SINGLE: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);

impl GraphLaunches {
    /// The counts of this process.
    pub fn so_far() -> Self {
        let [recorded, single, refused] = [&RECORDED, &SINGLE, &REFUSED].map(|count| count.load(Ordering::Relaxed));
        GraphLaunches { recorded, single, refused }
    }

    /// A line for people where the driver refused to record.
    pub fn warning(&self) -> Option<String> {
        (self.refused > 0).then(|| {
            format!(
                "the NVIDIA driver recorded no graph {} time(s): {} groups of kernels were launched one by one, which gives the \
                 same numbers, slower",
                self.refused, self.single
            )
        })
    }
}

/// Set to 0, work is never recorded: for tools that watch single launches.
const VARIABLE: &str = "GOLF_HARNESS_GRAPHS";

/// Work whose result `O` is always in the same memory.
pub(super) struct GraphRunner<D: Device, O> {
    pool: Pool<D>,
    stage: Stage<D, O>,
}

enum Stage<D: Device, O> {
    New,
    /// Done once: its memory is allocated.
    Known(O),
    Recorded(D::Graph, O),
    /// Never recorded: the driver refuses to, or the environment says so.
    Plain(O),
}

impl<D: Device, O> Default for GraphRunner<D, O> {
    fn default() -> Self {
        GraphRunner { pool: Pool::default(), stage: Stage::New }
    }
}

impl<D: Device, O> GraphRunner<D, O> {
    /// Does the work; its result is valid until it is done again. The caller holds the [stream lock](Shared::lock_stream).
    ///
    /// # Safety
    /// The work must launch the same kernels, on the same memory, every time, and read and write nothing of the host. What it
    /// uses besides the memory it allocates must stay allocated until the last run.
    pub unsafe fn run(&mut self, shared: &Shared<D>, work: impl Fn() -> O) -> Option<&O> {
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
            // SAFETY: what the work allocates is in the pool or in the result, both of which are kept here; that the rest
            // stays allocated is the caller's promise.
            shared.run(|device| unsafe { device.replay(graph) });
            RECORDED.fetch_add(1, Ordering::Relaxed);
        } else {
            SINGLE.fetch_add(1, Ordering::Relaxed);
        }
        match &self.stage {
            Stage::New => None,
            Stage::Known(result) | Stage::Recorded(_, result) | Stage::Plain(result) => Some(result),
        }
    }

    /// Does other work in the same memory, unrecorded. The caller holds the [stream lock](Shared::lock_stream).
    ///
    /// # Safety
    /// No buffer that the work allocates may outlive this call: the graph writes to that memory.
    pub unsafe fn run_unrecorded<T>(&mut self, shared: &Shared<D>, work: impl FnOnce() -> T) -> T {
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
        // What the driver does not record is launched one by one, as the first time.
        recorded.unwrap_or_else(|| {
            REFUSED.fetch_add(1, Ordering::Relaxed);
            Stage::Plain(shared.within(&mut self.pool, work))
        })
    }
}
