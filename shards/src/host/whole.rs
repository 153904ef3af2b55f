//! Small files as a whole, over the files of whichever host.

use std::io;
use std::path::Path;

use super::File;
use super::types::OpenHow;

/// Bytes that are asked for first of a whole file: most are small.
const WHOLE_BYTES_FIRST: usize = 4 << 10;
/// Bytes that are asked for at a time after that.
const WHOLE_BYTES: usize = 1 << 20;

/// The whole of a file.
///
/// # Errors
/// `FileTooLarge` when it holds more than `limit` bytes.
pub async fn read_whole(path: impl AsRef<Path>, limit: usize) -> io::Result<Vec<u8>> {
    let file = File::open(path, OpenHow { read: true, ..OpenHow::default() }).await?;
    let mut whole = Vec::new();
    let mut step = WHOLE_BYTES_FIRST;
    loop {
        let piece = file.read_at(whole.len() as u64, step).await?;
        if whole.len() + piece.len() > limit {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        whole.extend_from_slice(&piece);
        // A read of a file is short at its end alone.
        if piece.len() < step {
            return Ok(whole);
        }
        step = WHOLE_BYTES;
    }
}
