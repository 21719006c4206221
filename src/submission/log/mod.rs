//! Training and evaluation logs, read as a stream: facts with line numbers, never the whole text.

mod curve;
mod duration;
mod file;
mod lines;
mod listing;
mod metric;
mod pairs;
mod python_line;
mod run_clock;
mod scan;
mod settings;
mod size;

pub use curve::{CurvePoint, Curves, MAX_POINTS, Mark, MarkKind, Series};
pub use file::{LogFile, LoggedTime, Noted, RunLines, StepTime};
pub(super) use lines::LineCutter;
pub use lines::MAX_LINE_BYTES;
pub use listing::Listing;
pub use metric::{Metric, MetricKind};
pub use scan::{LogScanner, MAX_RUNS};
pub use size::{LoggedSize, SizeKind};
