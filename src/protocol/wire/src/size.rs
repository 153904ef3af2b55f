//! How many bytes values take: the helpers of the measuring pass.

use std::borrow::Cow;

use crate::error::EncodeError;
use crate::limits::{FRAME_BYTES_MAX, STRING_BYTES_MAX};
use crate::message::Part;
use crate::records::Records;

/// Bytes of an unsigned varint.
#[inline]
pub fn varint(value: usize) -> usize {
    let bits = usize::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Bytes of the length before bytes or an array.
#[inline]
pub fn length(length: usize, flex: bool) -> usize {
    if flex { varint(length + 1) } else { 4 }
}

/// Bytes of null in place of a string.
pub fn null_string(flex: bool) -> usize {
    if flex { 1 } else { 2 }
}

/// Bytes of null in place of bytes or an array.
pub fn null(flex: bool) -> usize {
    if flex { 1 } else { 4 }
}

/// Bytes of a string with its length.
pub fn string(field: &'static str, value: &str, flex: bool) -> Result<usize, EncodeError> {
    let bytes = value.len();
    if bytes > STRING_BYTES_MAX {
        return Err(EncodeError::TooLong { field, bytes });
    }
    Ok(bytes + if flex { varint(bytes + 1) } else { 2 })
}

/// Bytes of an array of strings.
pub fn strings(field: &'static str, values: &[Cow<'_, str>], flex: bool) -> Result<usize, EncodeError> {
    let mut total = length(values.len(), flex);
    for value in values {
        total += string(field, value, flex)?;
    }
    Ok(total)
}

/// Bytes of bytes with their length.
pub fn bytes(field: &'static str, value: &[u8], flex: bool) -> Result<usize, EncodeError> {
    let bytes = value.len();
    if bytes >= FRAME_BYTES_MAX {
        return Err(EncodeError::TooLong { field, bytes });
    }
    Ok(bytes + length(bytes, flex))
}

/// Bytes that are written for record batches: those that are spliced in are not.
pub fn records(field: &'static str, value: &Records<'_>, flex: bool) -> Result<usize, EncodeError> {
    match value {
        Records::Inline(value) => bytes(field, value, flex),
        Records::Splice { bytes } if *bytes as usize >= FRAME_BYTES_MAX => {
            Err(EncodeError::TooLong { field, bytes: *bytes as usize })
        }
        Records::Splice { bytes } => Ok(length(*bytes as usize, flex)),
    }
}

/// Bytes of an array whose elements take `element` bytes each.
pub fn fixed_array(count: usize, element: usize, flex: bool) -> usize {
    length(count, flex) + count * element
}

/// Bytes of an array of structs.
pub fn structs<'a, T: Part<'a>>(values: &[T], version: i16, flex: bool) -> Result<usize, EncodeError> {
    let mut total = length(values.len(), flex);
    for value in values {
        total += value.measure(version)?;
    }
    Ok(total)
}

/// Bytes of a tagged field whose value takes `value` bytes.
pub fn tag(tag: usize, value: usize) -> usize {
    varint(tag) + varint(value) + value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::Writer;

    #[test]
    fn varints_are_as_long_as_they_are_written() {
        for shift in 0..32 {
            for value in [1u32 << shift, (1u32 << shift) - 1, (1u32 << shift) + 1] {
                let mut w = Writer::default();
                w.varint(value);
                assert_eq!(w.buf.len(), varint(value as usize), "{value}");
            }
        }
    }
}
