//! The records of a batch, walked in place over an uncompressed payload.
//!
//! Keys, values and headers are borrowed from the payload and nothing is allocated. Every length is checked
//! against the bytes that are there, a record must fill its own length exactly, and the records must fill the
//! payload exactly: what Kafka's `DefaultRecord` refuses is refused here.

use thiserror::Error;

use super::header::{BatchHeader, TimestampType};
use super::varint::Reader;
use crate::ids::{Offset, TimestampMs};

/// Why a payload does not hold the records that its batch promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// A record or the payload ends before what it must hold.
    #[error("the records end too early")]
    End,
    /// A number takes more bytes or bits than its type has.
    #[error("a variable-length number is too long")]
    Varint,
    /// A record's length is negative.
    #[error("a record cannot have a length of {0}")]
    Length(i32),
    /// The number of headers is negative or beyond the bytes of the record.
    #[error("a record cannot have {0} headers")]
    HeaderCount(i32),
    /// A header's key is null.
    #[error("a record header has no key")]
    HeaderKey,
    /// A record is longer than what it holds.
    #[error("{0} bytes of a record are of no field")]
    RecordTail(usize),
    /// The payload goes on behind its last record.
    #[error("{0} bytes follow the last record")]
    PayloadTail(usize),
}

/// One record, borrowed from its payload.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Bits that Kafka has not given a meaning yet.
    pub attributes: i8,
    /// Milliseconds from the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Records from the batch's base offset.
    pub offset_delta: i32,
    /// The key; `None` where it is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, unread so far.
    pub headers: Headers<'a>,
    /// Everything from the key's length to the end of the record, to copy a record without taking it apart.
    pub(super) body: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record's offset in a batch of this header.
    #[must_use]
    pub fn offset(&self, header: &BatchHeader) -> Offset {
        Offset(header.base_offset.0.saturating_add(i64::from(self.offset_delta)))
    }

    /// The record's timestamp in a batch of this header: the batch's own where the broker's clock counts.
    #[must_use]
    pub fn timestamp(&self, header: &BatchHeader) -> TimestampMs {
        match header.attributes.timestamp_type() {
            TimestampType::CreateTime => {
                TimestampMs(header.base_timestamp.0.wrapping_add(self.timestamp_delta))
            }
            TimestampType::LogAppendTime => header.max_timestamp,
        }
    }

    /// Reads the record behind its length.
    fn parse(bytes: &'a [u8]) -> Result<Record<'a>, RecordError> {
        let mut reader = Reader::new(bytes);
        let attributes = reader.byte()? as i8;
        let timestamp_delta = reader.varlong()?;
        let offset_delta = reader.varint()?;
        let body = reader.rest();
        let key = reader.nullable_bytes()?;
        let value = reader.nullable_bytes()?;
        let headers = Headers::parse(&mut reader)?;
        Ok(Record { attributes, timestamp_delta, offset_delta, key, value, headers, body })
    }
}

/// The headers of a record, read as they are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    count: usize,
    bytes: &'a [u8],
}

/// One header of a record (KIP-82).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader<'a> {
    /// The key, UTF-8 by agreement of the clients; no broker checks it, and keys may repeat.
    pub key: &'a [u8],
    /// The value; `None` where it is null.
    pub value: Option<&'a [u8]>,
}

impl<'a> Headers<'a> {
    /// How many headers the record claims; never more than its bytes.
    #[must_use]
    pub const fn len(self) -> usize {
        self.count
    }

    /// Whether the record has no headers.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.count == 0
    }

    /// The headers in order; an item is an error where the bytes do not hold what they claim, and the last then.
    #[must_use]
    pub fn iter(self) -> HeaderIter<'a> {
        HeaderIter { left: self.count, reader: Reader::new(self.bytes) }
    }

    /// Whether all headers are there and nothing behind them.
    ///
    /// # Errors
    /// What is wrong with the first header that is not whole, or the tail of the record.
    #[inline]
    pub fn check(self) -> Result<(), RecordError> {
        let mut headers = self.iter();
        for header in headers.by_ref() {
            header?;
        }
        match headers.reader.rest().len() {
            0 => Ok(()),
            tail => Err(RecordError::RecordTail(tail)),
        }
    }

    fn parse(reader: &mut Reader<'a>) -> Result<Headers<'a>, RecordError> {
        let claimed = reader.varint()?;
        let bytes = reader.rest();
        match usize::try_from(claimed) {
            Ok(count) if count <= bytes.len() => Ok(Headers { count, bytes }),
            _ => Err(RecordError::HeaderCount(claimed)),
        }
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = Result<RecordHeader<'a>, RecordError>;
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        self.iter()
    }
}

/// Walks the headers of one record.
#[derive(Clone, Debug)]
pub struct HeaderIter<'a> {
    left: usize,
    reader: Reader<'a>,
}

impl<'a> HeaderIter<'a> {
    fn read(&mut self) -> Result<RecordHeader<'a>, RecordError> {
        let key = self.reader.nullable_bytes()?.ok_or(RecordError::HeaderKey)?;
        Ok(RecordHeader { key, value: self.reader.nullable_bytes()? })
    }
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = Result<RecordHeader<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let header = self.read();
        if header.is_err() {
            self.left = 0;
        }
        Some(header)
    }
}

/// Walks the records of one uncompressed payload.
///
/// Yields as many records as the batch counts and checks that they fill the payload; the first error is the last
/// item. Headers are left to [`Headers::check`].
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    left: i32,
    reader: Reader<'a>,
    done: bool,
}

impl<'a> RecordIter<'a> {
    /// A walk over `payload`, which is what follows the header of a batch of `record_count` records, uncompressed.
    #[must_use]
    pub fn new(payload: &'a [u8], record_count: i32) -> RecordIter<'a> {
        RecordIter { left: record_count, reader: Reader::new(payload), done: false }
    }

    fn read(&mut self) -> Result<Record<'a>, RecordError> {
        let length = self.reader.varint()?;
        let length = usize::try_from(length).map_err(|_| RecordError::Length(length))?;
        Record::parse(self.reader.bytes(length)?)
    }

    /// The end of the payload, which must be the end of its bytes.
    fn end(&mut self) -> Option<RecordError> {
        self.done = true;
        match self.reader.rest().len() {
            0 => None,
            tail => Some(RecordError::PayloadTail(tail)),
        }
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.left <= 0 {
            return self.end().map(Err);
        }
        self.left -= 1;
        let record = self.read();
        self.done = record.is_err();
        Some(record)
    }
}
