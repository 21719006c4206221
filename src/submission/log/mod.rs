//! Training and evaluation logs, read as a stream: facts with line numbers, never the whole text.

mod lines;
mod metric;
mod pairs;
mod scan;

pub use lines::MAX_LINE_BYTES;
pub use metric::{Metric, MetricKind};
pub use scan::{LogFile, LogScanner, LoggedSize, LoggedTime, Noted, SizeKind};
