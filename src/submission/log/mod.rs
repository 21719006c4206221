//! Training and evaluation logs, read as a stream: facts with line numbers, never the whole text.

mod file;
mod lines;
mod metric;
mod pairs;
mod scan;
mod size;

pub use file::{LogFile, LoggedTime, Noted};
pub use lines::MAX_LINE_BYTES;
pub use metric::{Metric, MetricKind};
pub use scan::LogScanner;
pub use size::{LoggedSize, SizeKind};
