//! A segment's file as a walk over its batches, with Kafka's idea of where a file ends (`FileLogInputStream`).
//!
//! Bytes are read through a window of one MiB, which grows only for a batch that is larger and whole: memory is bounded
//! by the largest batch.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ottla::limits::BATCH_HEADER_BYTES;
use ottla::protocol::records::{BatchHeader, LENGTH_PREFIX_BYTES, MAGIC};

use super::{DumpError, unreadable};

/// Bytes that are read at a time.
const WINDOW_BYTES: usize = 1 << 20;
/// Where a batch says which format it has.
const MAGIC_AT: usize = 16;
/// Bytes up to and with the magic byte: fewer at the end of a file are no batch.
const UP_TO_MAGIC: u64 = MAGIC_AT as u64 + 1;
/// The least length that a batch of any magic can have.
const LENGTH_MIN: i32 = 14;

/// A segment's file, open for reading.
#[derive(Debug)]
pub struct SegmentFile {
    file: File,
    path: PathBuf,
    bytes: u64,
}

/// One batch and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct FoundBatch {
    /// Bytes before it, from where the walk began.
    pub position: u64,
    /// Its header, read as one of magic 2.
    pub header: BatchHeader,
    /// What stands where the magic does: 2, unless it was damaged.
    pub magic: i8,
}

impl SegmentFile {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<SegmentFile, DumpError> {
        let file = File::open(path).map_err(|error| unreadable(path, error))?;
        let bytes = file.metadata().map_err(|error| unreadable(path, error))?.len();
        if i32::try_from(bytes).is_err() {
            return Err(DumpError::Refused(format!(
                "The size of segment {} ({bytes}) is larger than the maximum allowed segment size of {}",
                path.display(),
                i32::MAX
            )));
        }
        Ok(SegmentFile { file, path: path.to_owned(), bytes })
    }

    /// A walk over at most `bytes_max` bytes from `from` on.
    pub fn batches(&self, from: u64, bytes_max: i32) -> Result<Batches<'_>, DumpError> {
        let allowed = u64::try_from(bytes_max).map_err(|_| {
            DumpError::Refused(format!("Invalid size: {bytes_max} in read from {}", self.name()))
        })?;
        if from > self.bytes {
            return Err(DumpError::Refused(format!(
                "Slice from position {from} exceeds end position of {}, which has {} bytes",
                self.name(),
                self.bytes
            )));
        }
        let end = allowed.min(self.bytes - from);
        Ok(Batches { segment: self, from, at: 0, end, window: Vec::new(), window_at: 0 })
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// A walk over batches.
#[derive(Debug)]
pub struct Batches<'s> {
    segment: &'s SegmentFile,
    /// Where the walk began in the file.
    from: u64,
    /// Where the next batch begins, from there.
    at: u64,
    /// Where the walk ends, from there.
    end: u64,
    window: Vec<u8>,
    /// Where the window begins, from there.
    window_at: u64,
}

impl Batches<'_> {
    /// Bytes that the walk may see.
    pub fn bytes(&self) -> u64 {
        self.end
    }

    /// The next batch. What is behind the last whole one and too short for another is left alone.
    pub fn next(&mut self) -> Result<Option<FoundBatch>, DumpError> {
        let position = self.at;
        if position + UP_TO_MAGIC >= self.end {
            return Ok(None);
        }
        let prefix = self.window(position, LENGTH_PREFIX_BYTES)?;
        let length = i32::from_be_bytes([prefix[8], prefix[9], prefix[10], prefix[11]]);
        if length < LENGTH_MIN {
            return Err(self.corrupt(format!(
                "Found record size {length} smaller than minimum record overhead ({LENGTH_MIN})"
            )));
        }
        let batch_bytes = LENGTH_PREFIX_BYTES as u64 + u64::from(length.unsigned_abs());
        if position + batch_bytes > self.end {
            return Ok(None);
        }
        let head_bytes = usize::try_from(batch_bytes).unwrap_or(usize::MAX).min(BATCH_HEADER_BYTES);
        let mut head = [0; BATCH_HEADER_BYTES];
        head[..head_bytes].copy_from_slice(self.window(position, head_bytes)?);
        // Kafka takes whatever is above 1 for the format that it knows.
        let magic = i8::from_be_bytes([head[MAGIC_AT]]);
        head[MAGIC_AT] = magic.min(MAGIC).to_be_bytes()[0];
        let header = BatchHeader::parse(&head[..head_bytes]);
        let header = header.map_err(|error| self.corrupt(format!("{error} at position {position}")))?;
        self.at = position + batch_bytes;
        Ok(Some(FoundBatch { position, header, magic }))
    }

    /// Every byte of a batch that the walk has come by.
    pub fn whole(&mut self, batch: &FoundBatch) -> Result<&[u8], DumpError> {
        self.window(batch.position, batch.header.batch_bytes)
    }

    fn window(&mut self, at: u64, bytes: usize) -> Result<&[u8], DumpError> {
        let is_inside =
            at >= self.window_at && at + bytes as u64 <= self.window_at + self.window.len() as u64;
        if !is_inside {
            let left = usize::try_from(self.end - at).unwrap_or(usize::MAX);
            self.window.resize(bytes.max(WINDOW_BYTES).min(left), 0);
            self.window.shrink_to(WINDOW_BYTES);
            self.window_at = at;
            let read = self.segment.file.read_exact_at(&mut self.window, self.from + at);
            read.map_err(|error| unreadable(&self.segment.path, error))?;
        }
        let from = usize::try_from(at - self.window_at).expect("the window is in memory");
        Ok(&self.window[from..from + bytes])
    }

    fn corrupt(&self, what: String) -> DumpError {
        DumpError::Refused(format!("{what} in file {}", self.segment.name()))
    }
}
