//! Small files as a whole, over the files of whichever host.

use std::io;
use std::path::{Path, PathBuf};

use super::buffer::{AlignedBuf, WriteSlice};
use super::types::{Durability, OpenHow};
use super::{File, rename, sync_dir};

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

/// Replaces the file `path` by one with these bytes, so that after a crash at any moment the name leads to the old
/// bytes or to the new ones, and after the return to the new ones. Uses `<path>.tmp` on the way.
pub async fn write_whole_durably(path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
    let path = path.as_ref();
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let mut temporary = PathBuf::from(path).into_os_string();
    temporary.push(".tmp");
    let how = OpenHow { write: true, create: true, ..OpenHow::default() };
    let file = File::open(&temporary, how).await?;
    file.set_len(0).await?;
    let slices: Vec<WriteSlice> = vec![AlignedBuf::copy_of(bytes).into()];
    file.write_at(slices, 0, Durability::None).await?;
    file.sync_all().await?;
    rename(&temporary, path).await?;
    sync_dir(parent).await
}
