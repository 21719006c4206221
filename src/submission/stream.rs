//! Files read in pieces, so that no size of theirs is held in memory.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use super::LogFile;
use super::folder::MAX_LOG_BYTES;
use super::log::LogScanner;

/// Bytes read at a time.
pub(super) const CHUNK: usize = 128 * 1024;

/// Reads at most `limit` bytes through `buffer`, or until `take` has enough; gives how many.
pub(super) fn stream(
    path: &Path,
    limit: u64,
    buffer: &mut [u8],
    take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> io::Result<u64> {
    let mut reader = crate::regular_file::open(path)?.take(limit);
    let mut total = 0;
    loop {
        match reader.read(buffer) {
            Ok(0) => return Ok(total),
            Ok(n) => {
                total += n as u64;
                if take(&buffer[..n]).is_break() {
                    return Ok(total);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A log by itself, under the name given; what is beyond [`MAX_LOG_BYTES`] is not read.
///
/// # Errors
///
/// If it cannot be read.
pub fn read_log(path: &Path, name: String) -> io::Result<LogFile> {
    let mut scanner = LogScanner::new(name);
    stream(path, MAX_LOG_BYTES, &mut vec![0; CHUNK], &mut |bytes| {
        scanner.feed(bytes);
        ControlFlow::Continue(())
    })?;
    Ok(scanner.finish(false))
}
