//! Reading from a frame that a peer wrote.
//!
//! Three things bound what a decode can cost. Every count is compared with the bytes that are left before anything is
//! reserved for it; every array is charged to a budget of memory that comes from the size of the input, for an array of
//! structs costs more in memory than on the wire, and nested counts multiply; and a message has so many elements.

use std::borrow::Cow;

use crate::error::DecodeError;
use crate::limits::{
    ARRAY_ELEMENTS_MAX, DECODE_MEMORY_BASE, DECODE_MEMORY_PER_BYTE, MESSAGE_ELEMENTS_MAX, STRING_BYTES_MAX,
    TAGGED_FIELDS_MAX, VARINT_BYTES_MAX,
};
use crate::records::Records;
use crate::uuid::Uuid;

/// A cursor over the bytes of one message.
#[derive(Debug)]
pub struct Reader<'a> {
    buf: &'a [u8],
    at: usize,
    memory: usize,
    elements: usize,
}

/// How far the reading of the tagged fields of one struct has come.
#[derive(Debug)]
pub(crate) struct Tags {
    left: u32,
    /// The lowest tag that may come next.
    next: u64,
    /// Where the value of the present tag ends.
    end: usize,
}

fn saturated(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

macro_rules! integer {
    ($name:ident, $array:ident, $nullable_array:ident, $rust:ty) => {
        /// The next value, big-endian.
        #[inline]
        pub fn $name(&mut self) -> Result<$rust, DecodeError> {
            const BYTES: usize = size_of::<$rust>();
            match self.buf[self.at..].first_chunk::<BYTES>() {
                Some(bytes) => {
                    self.at += BYTES;
                    Ok(<$rust>::from_be_bytes(*bytes))
                }
                None => Err(self.truncated(BYTES)),
            }
        }

        /// The next array; null is an error.
        pub fn $array(&mut self, flex: bool) -> Result<Vec<$rust>, DecodeError> {
            self.$nullable_array(flex)?.ok_or(DecodeError::UnexpectedNull)
        }

        /// The next array, or null.
        pub fn $nullable_array(&mut self, flex: bool) -> Result<Option<Vec<$rust>>, DecodeError> {
            const BYTES: usize = size_of::<$rust>();
            let Some(count) = self.count(flex, BYTES, BYTES)? else { return Ok(None) };
            let bytes = self.take(count * BYTES)?;
            Ok(Some(bytes.as_chunks::<BYTES>().0.iter().map(|b| <$rust>::from_be_bytes(*b)).collect()))
        }
    };
}

impl<'a> Reader<'a> {
    /// Over one message from anybody: the memory of its arrays is bounded by the size of the message.
    pub fn new(buf: &'a [u8]) -> Reader<'a> {
        Reader::with_memory(buf, buf.len() * DECODE_MEMORY_PER_BYTE + DECODE_MEMORY_BASE)
    }

    /// Over one message whose arrays may take `memory` bytes.
    pub fn with_memory(buf: &'a [u8], memory: usize) -> Reader<'a> {
        Reader { buf, at: 0, memory, elements: MESSAGE_ELEMENTS_MAX }
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.buf.len() - self.at
    }

    /// The bytes that are left, without reading them.
    pub fn rest(&self) -> &'a [u8] {
        &self.buf[self.at..]
    }

    /// Ends the reading: bytes that are left are an error.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(DecodeError::TrailingBytes(saturated(left))),
        }
    }

    #[cold]
    fn truncated(&self, needed: usize) -> DecodeError {
        DecodeError::Truncated { needed: saturated(needed), remaining: saturated(self.remaining()) }
    }

    /// The next `bytes` bytes as they are.
    pub fn take(&mut self, bytes: usize) -> Result<&'a [u8], DecodeError> {
        match self.buf[self.at..].get(..bytes) {
            Some(taken) => {
                self.at += bytes;
                Ok(taken)
            }
            None => Err(self.truncated(bytes)),
        }
    }

    integer!(i8, i8_array, nullable_i8_array, i8);
    integer!(i16, i16_array, nullable_i16_array, i16);
    integer!(u16, u16_array, nullable_u16_array, u16);
    integer!(i32, i32_array, nullable_i32_array, i32);
    integer!(u32, u32_array, nullable_u32_array, u32);
    integer!(i64, i64_array, nullable_i64_array, i64);
    integer!(f64, f64_array, nullable_f64_array, f64);

    /// The next byte as a truth value: everything but zero is true, as Kafka reads it.
    #[inline]
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    /// The next id.
    #[inline]
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        match self.buf[self.at..].first_chunk::<16>() {
            Some(bytes) => {
                self.at += 16;
                Ok(Uuid(*bytes))
            }
            None => Err(self.truncated(16)),
        }
    }

    /// The next array of ids; null is an error.
    pub fn uuid_array(&mut self, flex: bool) -> Result<Vec<Uuid>, DecodeError> {
        self.nullable_uuid_array(flex)?.ok_or(DecodeError::UnexpectedNull)
    }

    /// The next array of ids, or null.
    pub fn nullable_uuid_array(&mut self, flex: bool) -> Result<Option<Vec<Uuid>>, DecodeError> {
        let Some(count) = self.count(flex, 16, 16)? else { return Ok(None) };
        let bytes = self.take(count * 16)?;
        Ok(Some(bytes.as_chunks::<16>().0.iter().map(|b| Uuid(*b)).collect()))
    }

    /// The next unsigned varint of at most 32 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<u32, DecodeError> {
        match self.buf.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u32::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u64;
        for i in 0..VARINT_BYTES_MAX {
            let byte = self.i8()? as u8;
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return u32::try_from(value).map_err(|_| DecodeError::VarintTooLong);
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    /// A length of bytes, an element count, or null.
    fn length(&mut self, flex: bool) -> Result<Option<usize>, DecodeError> {
        if flex {
            return Ok(self.varint()?.checked_sub(1).map(|n| n as usize));
        }
        match self.i32()? {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| DecodeError::NegativeLength(length)),
        }
    }

    /// The next string; null is an error.
    pub fn string(&mut self, flex: bool) -> Result<Cow<'a, str>, DecodeError> {
        self.nullable_string(flex)?.ok_or(DecodeError::UnexpectedNull)
    }

    /// The next string, or null. What is not UTF-8 in it is replaced, as by Java, whose clients are not the only ones
    /// that call bytes a string.
    pub fn nullable_string(&mut self, flex: bool) -> Result<Option<Cow<'a, str>>, DecodeError> {
        let length = if flex {
            self.length(true)?
        } else {
            match self.i16()? {
                -1 => None,
                length => {
                    let bad = DecodeError::NegativeLength(i32::from(length));
                    Some(usize::try_from(length).map_err(|_| bad)?)
                }
            }
        };
        let Some(length) = length else { return Ok(None) };
        if length > STRING_BYTES_MAX {
            return Err(DecodeError::StringTooLong(saturated(length)));
        }
        let bytes = self.take(length)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(Cow::Borrowed(text))),
            Err(_) => self.replaced(bytes).map(|text| Some(Cow::Owned(text))),
        }
    }

    /// A replacement has up to three bytes for one: the text must still be one that can be written, and is memory.
    #[cold]
    fn replaced(&mut self, bytes: &[u8]) -> Result<String, DecodeError> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let length = saturated(text.len());
        if text.len() > STRING_BYTES_MAX {
            return Err(DecodeError::StringTooLong(length));
        }
        self.memory = self.memory.checked_sub(text.len()).ok_or(DecodeError::TooMuchMemory(length))?;
        Ok(text)
    }

    /// The next bytes; null is an error.
    pub fn bytes(&mut self, flex: bool) -> Result<Cow<'a, [u8]>, DecodeError> {
        self.nullable_bytes(flex)?.ok_or(DecodeError::UnexpectedNull)
    }

    /// The next bytes, or null.
    pub fn nullable_bytes(&mut self, flex: bool) -> Result<Option<Cow<'a, [u8]>>, DecodeError> {
        match self.length(flex)? {
            None => Ok(None),
            Some(length) => Ok(Some(Cow::Borrowed(self.take(length)?))),
        }
    }

    /// The next record batches, or null.
    pub fn nullable_records(&mut self, flex: bool) -> Result<Option<Records<'a>>, DecodeError> {
        Ok(self.nullable_bytes(flex)?.map(Records::Inline))
    }

    /// The count of the next array, or null. What the elements take in memory is charged before it returns: `wire` is
    /// the fewest bytes that an element has on the wire, `memory` what it has in memory.
    pub(crate) fn count(
        &mut self,
        flex: bool,
        wire: usize,
        memory: usize,
    ) -> Result<Option<usize>, DecodeError> {
        assert!(wire > 0, "an element that takes no bytes could be there any number of times");
        let Some(count) = self.length(flex)? else { return Ok(None) };
        if count > ARRAY_ELEMENTS_MAX {
            return Err(DecodeError::TooManyElements(saturated(count)));
        }
        if count > self.remaining() / wire {
            return Err(self.truncated(count * wire));
        }
        self.elements =
            self.elements.checked_sub(count).ok_or(DecodeError::TooManyElements(saturated(count)))?;
        self.memory =
            self.memory.checked_sub(count * memory).ok_or(DecodeError::TooMuchMemory(saturated(count)))?;
        Ok(Some(count))
    }

    /// The next array of strings; null is an error.
    pub fn string_array(&mut self, flex: bool) -> Result<Vec<Cow<'a, str>>, DecodeError> {
        self.nullable_string_array(flex)?.ok_or(DecodeError::UnexpectedNull)
    }

    /// The next array of strings, or null.
    pub fn nullable_string_array(&mut self, flex: bool) -> Result<Option<Vec<Cow<'a, str>>>, DecodeError> {
        let wire = if flex { 1 } else { 2 };
        let Some(count) = self.count(flex, wire, size_of::<Cow<'a, str>>())? else { return Ok(None) };
        let mut strings = Vec::with_capacity(count);
        for _ in 0..count {
            strings.push(self.string(flex)?);
        }
        Ok(Some(strings))
    }

    /// Begins the tagged fields of a struct.
    pub(crate) fn tags(&mut self) -> Result<Tags, DecodeError> {
        let left = self.varint()?;
        if left > TAGGED_FIELDS_MAX {
            return Err(DecodeError::TooManyTags(left));
        }
        Ok(Tags { left, next: 0, end: self.at })
    }

    /// The next tag, or the end of them. The reader then stands at the value of the tag.
    pub(crate) fn next_tag(&mut self, tags: &mut Tags) -> Result<Option<u32>, DecodeError> {
        if tags.left == 0 {
            return Ok(None);
        }
        tags.left -= 1;
        let tag = self.varint()?;
        if u64::from(tag) < tags.next {
            return Err(DecodeError::TagOrder(tag));
        }
        tags.next = u64::from(tag) + 1;
        let size = self.varint()? as usize;
        if size > self.remaining() {
            return Err(self.truncated(size));
        }
        tags.end = self.at + size;
        Ok(Some(tag))
    }

    /// Passes over the value of a tag that is not known.
    pub(crate) fn skip_tag(&mut self, tags: &Tags) {
        self.at = tags.end;
    }

    /// Checks that the value of a tag was as long as it said.
    pub(crate) fn end_tag(&mut self, tags: &Tags) -> Result<(), DecodeError> {
        if self.at == tags.end { Ok(()) } else { Err(DecodeError::TagSize) }
    }

    /// Passes over the tagged fields of a struct that knows none.
    pub(crate) fn skip_tags(&mut self) -> Result<(), DecodeError> {
        if self.buf.get(self.at) == Some(&0) {
            self.at += 1;
            return Ok(());
        }
        let mut tags = self.tags()?;
        while self.next_tag(&mut tags)?.is_some() {
            self.skip_tag(&tags);
        }
        Ok(())
    }
}
