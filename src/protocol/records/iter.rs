//! Walks several batches that stand end to end, as in a segment, a fetch response or a follower's append.

use super::header::{BatchError, BatchHeader};

/// A whole batch within a longer slice.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Its header.
    pub header: BatchHeader,
    /// Where it begins, in bytes from the start of the slice.
    pub position: usize,
    /// All of its bytes, header included.
    pub bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The records as they stand behind the header, compressed or not.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[crate::limits::BATCH_HEADER_BYTES..]
    }
}

/// Walks the whole batches of a slice.
///
/// Bytes that are no batch end the walk with one error; an incomplete batch at the end is such an error too
/// ([`BatchError::Partial`]), which a reader of a fetch response or of a torn segment takes for the end. CRCs are
/// not looked at.
#[derive(Clone, Debug)]
pub struct BatchIter<'a> {
    bytes: &'a [u8],
    position: usize,
    done: bool,
}

impl<'a> BatchIter<'a> {
    /// A walk over the batches of `bytes`, the first of which begins with the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> BatchIter<'a> {
        BatchIter { bytes, position: 0, done: false }
    }

    /// Bytes of the whole batches that the walk has yielded so far: where the next one begins.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// The bytes behind the batches so far: after the walk, the partial batch or whatever ended it.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.position..]
    }

    fn read(&self) -> Result<Batch<'a>, BatchError> {
        let rest = self.rest();
        let header = BatchHeader::parse(rest)?;
        let bytes = rest
            .get(..header.batch_bytes)
            .ok_or(BatchError::Partial { have: rest.len(), need: header.batch_bytes })?;
        Ok(Batch { header, position: self.position, bytes })
    }
}

impl<'a> Iterator for BatchIter<'a> {
    type Item = Result<Batch<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done || self.rest().is_empty() {
            return None;
        }
        let batch = self.read();
        match &batch {
            Ok(batch) => self.position += batch.bytes.len(),
            Err(_) => self.done = true,
        }
        Some(batch)
    }
}
