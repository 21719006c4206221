//! Training and evaluation logs, read as a stream: facts with line numbers, never the whole text.

mod lines;
mod metric;
mod pairs;
mod scan;
mod size;

pub use lines::MAX_LINE_BYTES;
pub use metric::{Metric, MetricKind};
pub use scan::{LogFile, LogScanner, LoggedTime, Noted};
pub use size::{LoggedSize, SizeKind};
