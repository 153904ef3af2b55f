//! Writing a message that was measured before.

use crate::records::Records;
use crate::size;
use crate::uuid::Uuid;

/// A place in the written bytes into which other bytes are put on the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplicePoint {
    /// Before which byte of the written ones.
    pub at: usize,
    /// How many bytes come in.
    pub bytes: u32,
}

/// The bytes of messages, and the places in them where record batches are spliced in.
#[derive(Debug, Default)]
pub struct Writer {
    /// What has been written.
    pub buf: Vec<u8>,
    /// In ascending order.
    pub splices: Vec<SplicePoint>,
}

/// Where the value of a tagged field begins.
#[derive(Debug)]
pub(crate) struct TagAt(usize);

macro_rules! integer {
    ($name:ident, $array:ident, $rust:ty) => {
        /// Writes the value, big-endian.
        #[inline]
        pub fn $name(&mut self, value: $rust) {
            self.buf.extend_from_slice(&value.to_be_bytes());
        }

        /// Writes the array.
        pub fn $array(&mut self, values: &[$rust], flex: bool) {
            self.length(values.len(), flex);
            for value in values {
                self.buf.extend_from_slice(&value.to_be_bytes());
            }
        }
    };
}

impl Writer {
    /// With room for `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer { buf: Vec::with_capacity(bytes), splices: Vec::new() }
    }

    /// How many bytes are to be put in.
    pub fn spliced_bytes(&self) -> usize {
        self.splices.iter().map(|s| s.bytes as usize).sum()
    }

    integer!(i8, i8_array, i8);
    integer!(i16, i16_array, i16);
    integer!(u16, u16_array, u16);
    integer!(i32, i32_array, i32);
    integer!(u32, u32_array, u32);
    integer!(i64, i64_array, i64);
    integer!(f64, f64_array, f64);

    /// Writes a truth value as one byte.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.buf.push(u8::from(value));
    }

    /// Writes an id.
    #[inline]
    pub fn uuid(&mut self, value: Uuid) {
        self.buf.extend_from_slice(&value.0);
    }

    /// Writes an array of ids.
    pub fn uuid_array(&mut self, values: &[Uuid], flex: bool) {
        self.length(values.len(), flex);
        for value in values {
            self.buf.extend_from_slice(&value.0);
        }
    }

    /// Writes an unsigned varint.
    #[inline]
    pub fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buf.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buf.push(value as u8);
    }

    /// The length of bytes or the count of an array.
    pub(crate) fn length(&mut self, length: usize, flex: bool) {
        let length = u32::try_from(length).expect("the measuring pass refuses longer values");
        if flex {
            self.varint(length + 1);
        } else {
            self.u32(length);
        }
    }

    /// Null in place of bytes or of an array.
    pub(crate) fn null(&mut self, flex: bool) {
        if flex {
            self.varint(0);
        } else {
            self.i32(-1);
        }
    }

    /// Writes a string.
    pub fn string(&mut self, value: &str, flex: bool) {
        if flex {
            self.length(value.len(), true);
        } else {
            self.u16(u16::try_from(value.len()).expect("the measuring pass refuses longer strings"));
        }
        self.buf.extend_from_slice(value.as_bytes());
    }

    /// Writes a string or null.
    pub fn nullable_string(&mut self, value: Option<&str>, flex: bool) {
        match value {
            Some(value) => self.string(value, flex),
            None if flex => self.varint(0),
            None => self.i16(-1),
        }
    }

    /// Writes an array of strings.
    pub fn string_array<T: AsRef<str>>(&mut self, values: &[T], flex: bool) {
        self.length(values.len(), flex);
        for value in values {
            self.string(value.as_ref(), flex);
        }
    }

    /// Writes bytes.
    pub fn bytes(&mut self, value: &[u8], flex: bool) {
        self.length(value.len(), flex);
        self.buf.extend_from_slice(value);
    }

    /// Writes bytes or null.
    pub fn nullable_bytes(&mut self, value: Option<&[u8]>, flex: bool) {
        match value {
            Some(value) => self.bytes(value, flex),
            None => self.null(flex),
        }
    }

    /// Writes record batches or null; of batches that come from elsewhere only the length is written.
    pub fn nullable_records(&mut self, value: Option<&Records<'_>>, flex: bool) {
        match value {
            Some(Records::Inline(value)) => self.bytes(value, flex),
            Some(Records::Splice { bytes }) => {
                self.length(*bytes as usize, flex);
                self.splices.push(SplicePoint { at: self.buf.len(), bytes: *bytes });
            }
            None => self.null(flex),
        }
    }

    /// Begins the value of a tagged field.
    pub(crate) fn begin_tag(&mut self, tag: u32) -> TagAt {
        self.varint(tag);
        self.buf.push(0);
        TagAt(self.buf.len())
    }

    /// Ends the value of a tagged field: its length goes before it.
    pub(crate) fn end_tag(&mut self, TagAt(at): TagAt) {
        let end = self.buf.len();
        let length = u32::try_from(end - at).expect("the measuring pass refuses longer values");
        if length < 0x80 {
            self.buf[at - 1] = length as u8;
            return;
        }
        // One byte was left for the length and it takes more: the value moves up.
        let extra = size::varint(length as usize) - 1;
        self.buf.resize(end + extra, 0);
        self.buf.copy_within(at..end, at + extra);
        let mut rest = length;
        for byte in &mut self.buf[at - 1..at + extra] {
            *byte = rest as u8 | 0x80;
            rest >>= 7;
        }
        self.buf[at + extra - 1] &= 0x7f;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::Reader;

    #[test]
    fn the_length_of_a_tagged_field_takes_as_many_bytes_as_it_needs() {
        for length in [0, 1, 127, 128, 129, 16_383, 16_384, 2_097_151, 2_097_152] {
            let value: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let size = 1 + size::tag(300, length);
            let mut w = Writer::with_capacity(size);
            w.i8(9);
            let at = w.begin_tag(300);
            w.buf.extend_from_slice(&value);
            w.end_tag(at);
            assert_eq!((w.buf.len(), w.buf.capacity()), (size, size), "nothing more was reserved");
            let mut r = Reader::new(&w.buf);
            assert_eq!((r.i8(), r.varint(), r.varint()), (Ok(9), Ok(300), Ok(length as u32)));
            assert_eq!(r.rest(), value);
        }
    }
}
