//! The variable-length numbers of records: zig-zag, seven bits per byte, lowest first (Kafka's `ByteUtils`).

use super::record::RecordError;

/// The most bytes that a 32-bit number takes.
const VARINT_BYTES_MAX: u32 = 5;
/// The most bytes that a 64-bit number takes.
const VARLONG_BYTES_MAX: u32 = 10;

/// A reader of a byte slice that never passes its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// The bytes that have not been read.
    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn byte(&mut self) -> Result<u8, RecordError> {
        let (&byte, rest) = self.rest.split_first().ok_or(RecordError::End)?;
        self.rest = rest;
        Ok(byte)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(RecordError::End)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A length and that many bytes; a negative length is a null, as Kafka reads it.
    pub(super) fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, RecordError> {
        match usize::try_from(self.varint()?) {
            Ok(length) => self.bytes(length).map(Some),
            Err(_) => Ok(None),
        }
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<i32, RecordError> {
        let raw = self.unsigned(VARINT_BYTES_MAX)?;
        let raw = u32::try_from(raw).map_err(|_| RecordError::Varint)?;
        Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }

    #[inline]
    pub(super) fn varlong(&mut self) -> Result<i64, RecordError> {
        let raw = self.unsigned(VARLONG_BYTES_MAX)?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    #[inline]
    fn unsigned(&mut self, bytes_max: u32) -> Result<u64, RecordError> {
        let mut value = 0_u64;
        for index in 0..bytes_max {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let shift = 7 * index;
            if shift == 63 && bits > 1 {
                return Err(RecordError::Varint);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError::Varint)
    }
}

/// Appends a 32-bit number.
pub(super) fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_varlong(out, i64::from(value));
}

/// Appends a 64-bit number; one that fits 32 bits takes the same bytes either way.
pub(super) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest > 0x7f {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Bytes that the number takes.
pub(super) fn varlong_bytes(value: i64) -> usize {
    let bits = 64 - zigzag(value).leading_zeros() as usize;
    bits.max(1).div_ceil(7)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_and_take_the_bytes_they_should() {
        let cases = [
            (0, 1),
            (-1, 1),
            (63, 1),
            (-64, 1),
            (64, 2),
            (-65, 2),
            (8_191, 2),
            (8_192, 3),
            (i64::from(i32::MAX), 5),
            (i64::from(i32::MIN), 5),
            (i64::MAX, 10),
            (i64::MIN, 10),
        ];
        for (value, bytes) in cases {
            let mut out = Vec::new();
            put_varlong(&mut out, value);
            assert_eq!((out.len(), varlong_bytes(value)), (bytes, bytes), "{value}");
            assert_eq!(Reader::new(&out).varlong(), Ok(value));
            let narrow = i32::try_from(value).map_err(|_| RecordError::Varint);
            assert_eq!(Reader::new(&out).varint(), narrow);
        }
    }

    #[test]
    fn unending_and_overlong_numbers_are_refused() {
        assert_eq!(Reader::new(&[0x80; 20]).varint(), Err(RecordError::Varint));
        assert_eq!(Reader::new(&[0x80; 20]).varlong(), Err(RecordError::Varint));
        assert_eq!(Reader::new(&[0x80; 4]).varint(), Err(RecordError::End));
        let past_64_bits = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(Reader::new(&past_64_bits).varlong(), Err(RecordError::Varint));
    }

    #[test]
    fn a_length_beyond_the_end_is_no_slice() {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, i32::MAX);
        bytes.push(1);
        assert_eq!(Reader::new(&bytes).nullable_bytes(), Err(RecordError::End));
        assert_eq!(Reader::new(&[1]).nullable_bytes(), Ok(None));
        assert_eq!(Reader::new(&[2, 9]).nullable_bytes(), Ok(Some(&[9][..])));
    }
}
