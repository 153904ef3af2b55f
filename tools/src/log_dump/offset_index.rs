//! Offset indexes, compared with their segments.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::findings::Findings;
use super::segment_file::SegmentFile;
use super::{DumpArgs, DumpError, absolute, base_offset, segment_name, sibling, unreadable};

/// Bytes of an entry: a relative offset and a position.
const ENTRY_BYTES: usize = 8;
/// Entries at the end that Kafka searches first.
const WARM_ENTRIES: u64 = 8192 / ENTRY_BYTES as u64;
/// Entries that are read at a time.
const WINDOW_ENTRIES: u64 = 4096;

/// An index file, read in pieces.
#[derive(Debug)]
pub struct IndexFile {
    file: File,
    path: PathBuf,
    bytes: u64,
    entry_bytes: usize,
    window: Vec<u8>,
    window_at: u64,
}

impl IndexFile {
    /// Opens an index whose entries have so many bytes.
    pub fn open(path: &Path, entry_bytes: usize) -> Result<IndexFile, DumpError> {
        let file = File::open(path).map_err(|error| unreadable(path, error))?;
        let bytes = file.metadata().map_err(|error| unreadable(path, error))?.len();
        Ok(IndexFile { file, path: path.to_owned(), bytes, entry_bytes, window: Vec::new(), window_at: 0 })
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whole entries of the file.
    pub fn entries(&self) -> u64 {
        self.bytes / self.entry_bytes as u64
    }

    /// The bytes of one entry.
    pub fn entry<const N: usize>(&mut self, slot: u64) -> Result<[u8; N], DumpError> {
        assert_eq!(N, self.entry_bytes, "an index has entries of one size");
        assert!(slot < self.entries(), "only entries that are there are asked for");
        let held = self.window.len() as u64 / N as u64;
        if slot < self.window_at || slot >= self.window_at + held {
            let count = WINDOW_ENTRIES.min(self.entries() - slot);
            self.window.resize(usize::try_from(count).expect("a few thousand") * N, 0);
            let read = self.file.read_exact_at(&mut self.window, slot * N as u64);
            read.map_err(|error| unreadable(&self.path, error))?;
            self.window_at = slot;
        }
        let from = usize::try_from(slot - self.window_at).expect("a few thousand") * N;
        Ok(*self.window[from..].first_chunk().expect("the window has whole entries"))
    }
}

/// An offset index and the offset of its segment.
#[derive(Debug)]
pub struct OffsetIndexFile {
    file: IndexFile,
    base_offset: i64,
}

impl OffsetIndexFile {
    /// Opens the index of the segment with this base offset.
    pub fn open(path: &Path, base_offset: i64) -> Result<OffsetIndexFile, DumpError> {
        Ok(OffsetIndexFile { file: IndexFile::open(path, ENTRY_BYTES)?, base_offset })
    }

    /// The offset and the position of an entry.
    fn entry(&mut self, slot: u64) -> Result<(i64, i32), DumpError> {
        let [a, b, c, d, e, f, g, h] = self.file.entry::<ENTRY_BYTES>(slot)?;
        let relative = i32::from_be_bytes([a, b, c, d]);
        Ok((self.base_offset + i64::from(relative), i32::from_be_bytes([e, f, g, h])))
    }

    /// Where a reader of an offset begins: found as Kafka finds it, among the last entries first, so that an index with
    /// zeros at its end leads both astray alike.
    pub fn lookup(&mut self, offset: i64) -> Result<i32, DumpError> {
        let entries = self.file.entries();
        if entries == 0 {
            return Ok(0);
        }
        let first_warm = (entries - 1).saturating_sub(WARM_ENTRIES);
        let (mut low, mut high) = match self.entry(first_warm)?.0 < offset {
            true => (first_warm, entries - 1),
            false if self.entry(0)?.0 > offset => return Ok(0),
            false => (0, first_warm),
        };
        while low < high {
            let middle = (low + high).div_ceil(2);
            match self.entry(middle)?.0.cmp(&offset) {
                std::cmp::Ordering::Greater => high = middle - 1,
                std::cmp::Ordering::Less => low = middle,
                std::cmp::Ordering::Equal => (low, high) = (middle, middle),
            }
        }
        Ok(self.entry(low)?.1)
    }

    /// The check of a broker's start.
    fn sanity_check(&mut self) -> Result<(), DumpError> {
        let (path, bytes) = (absolute(&self.file.path), self.file.bytes());
        if let Some(last) = self.file.entries().checked_sub(1) {
            let (offset, base) = (self.entry(last)?.0, self.base_offset);
            if offset < base {
                return Err(DumpError::Refused(format!(
                    "Corrupt index found, index file {path} has non-zero size but the last offset is {offset} which is \
                     less than the base offset {base}"
                )));
            }
        }
        if !bytes.is_multiple_of(ENTRY_BYTES as u64) {
            return Err(DumpError::Refused(format!(
                "Index file {path} is corrupt, found {bytes} bytes which is neither positive nor a multiple of \
                 {ENTRY_BYTES}"
            )));
        }
        Ok(())
    }
}

/// Prints an index, or compares it alone.
pub fn dump(
    path: &Path,
    args: &DumpArgs,
    out: &mut dyn Write,
    findings: &mut Findings,
) -> Result<(), DumpError> {
    let segment = SegmentFile::open(&sibling(path, &segment_name(path), "log"))?;
    let mut index = OffsetIndexFile::open(path, base_offset(path)?)?;
    if index.file.entries() == 0 {
        writeln!(out, "{} is empty.", path.display())?;
        return Ok(());
    }
    if args.index_sanity_check {
        index.sanity_check()?;
        writeln!(out, "{} passed sanity check.", path.display())?;
        return Ok(());
    }
    for slot in 0..index.file.entries() {
        let (offset, position) = index.entry(slot)?;
        // Behind the entries of an index that was never trimmed stand zeros.
        if offset == index.base_offset && slot > 0 {
            break;
        }
        let from = u64::try_from(position)
            .map_err(|_| DumpError::Refused(format!("Invalid position: {position} in {}", path.display())))?;
        let batch = segment.batches(from, args.max_message_size)?.next()?.ok_or_else(|| {
            DumpError::Refused(format!(
                "{}: no batch of at most {} bytes stands at position {position} of its segment",
                path.display(),
                args.max_message_size
            ))
        })?;
        let last = batch.header.last_offset().0;
        if last != offset {
            findings.index_mismatches.add(&absolute(path), (offset, last));
        }
        if !args.verify_index_only {
            writeln!(out, "offset: {offset} position: {position}")?;
        }
    }
    Ok(())
}
