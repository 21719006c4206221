//! Score-first test-time training, in the form that the challenge's rules allow: no token is learned from before it is
//! scored, and none is scored again afterwards.
//!
//! The text is divided into chunks ([`Chunks`]). Each is scored by the weights as they are; then they learn from it by SGD
//! ([`ScoreFirst`]). Every range that is scored or learned from is entered in a [`Ledger`] beforehand, which refuses what
//! comes too early, and in a trace ([`TraceLine`]) that [`check_trace`] holds to the same rule.
//!
//! Source: `train_gpt.py` of PRs 549, 1413, 1477 and 1493 of openai/parameter-golf; the rule is the challenge README's FAQ
//! on test-time training and condition 3 of its issue 1017.

mod check;
mod chunks;
#[cfg(feature = "engine")]
mod job;
#[cfg(feature = "engine")]
mod learner;
mod ledger;
#[cfg(feature = "engine")]
mod run;
mod trace;

pub use check::{CheckedTrace, TraceError, check_trace};
pub use chunks::{Chunk, Chunks};
#[cfg(feature = "engine")]
pub(super) use job::LearningPass;
pub use ledger::{Ledger, OrderError, TokenRange};
#[cfg(feature = "engine")]
pub use run::{ScoreFirst, ScoreWindows, Tell, TttError, WriteLine};
pub use trace::{TRACE_SCHEMA, TraceDocument, TraceLine, TraceStart, TracedLearning, TracedScore, TracedTotal};
