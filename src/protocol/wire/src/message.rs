//! What every message can do, and what the structs inside them share.

use std::ops::RangeInclusive;

use crate::error::{DecodeError, EncodeError};
use crate::reader::Reader;
use crate::writer::Writer;

/// A struct of a message: how it is read, measured and written in a version of the message that was checked before.
#[doc(hidden)]
pub trait Part<'a>: Sized {
    /// The fewest bytes that a value takes on the wire.
    fn min_wire(version: i16) -> usize;
    fn read(r: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError>;
    fn measure(&self, version: i16) -> Result<usize, EncodeError>;
    fn write(&self, w: &mut Writer, version: i16);
}

/// A message of Kafka's protocol, or of the records that Kafka keeps.
pub trait Message<'a>: Part<'a> {
    /// Kafka's name of the schema.
    const NAME: &'static str;
    /// The versions of the schema, an unstable one among them; empty for a message that no longer exists.
    const VERSIONS: RangeInclusive<i16>;
    /// The first version with compact lengths and tagged fields; `i16::MAX` when there is none.
    const FLEXIBLE_FROM: i16;
    /// The number that the schema gives: of the api, of the metadata record, or of the kind of coordinator record.
    const API_KEY: Option<i16>;

    /// Reads one message; what follows it in the reader is left there.
    fn decode(r: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(DecodeError::UnsupportedVersion { message: Self::NAME, version });
        }
        Self::read(r, version)
    }

    /// The bytes that [`Message::encode`] writes, without those that are spliced in. This is the pass that refuses:
    /// a version that does not exist, null where there is none, a value in a field that the version does not have.
    fn size(&self, version: i16) -> Result<usize, EncodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(EncodeError::UnsupportedVersion { message: Self::NAME, version });
        }
        self.measure(version)
    }

    /// Writes the message. [`Message::size`] must have accepted it in this version.
    fn encode(&self, w: &mut Writer, version: i16) {
        let before = w.buf.len();
        self.write(w, version);
        debug_assert_eq!(Ok(w.buf.len() - before), self.size(version), "{} v{version}", Self::NAME);
    }
}

/// Reads an array of structs; null is an error.
pub fn structs<'a, T: Part<'a>>(r: &mut Reader<'a>, version: i16, flex: bool) -> Result<Vec<T>, DecodeError> {
    nullable_structs(r, version, flex)?.ok_or(DecodeError::UnexpectedNull)
}

/// Reads an array of structs, or null.
pub fn nullable_structs<'a, T: Part<'a>>(
    r: &mut Reader<'a>,
    version: i16,
    flex: bool,
) -> Result<Option<Vec<T>>, DecodeError> {
    let Some(count) = r.count(flex, T::min_wire(version), size_of::<T>())? else { return Ok(None) };
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        values.push(T::read(r, version)?);
    }
    Ok(Some(values))
}

/// Writes an array of structs.
pub fn write_structs<'a, T: Part<'a>>(w: &mut Writer, values: &[T], version: i16, flex: bool) {
    w.length(values.len(), flex);
    for value in values {
        value.write(w, version);
    }
}

/// Refuses null in a version where the field cannot be null.
pub fn not_null<T>(required: bool, value: Option<T>) -> Result<Option<T>, DecodeError> {
    if required && value.is_none() { Err(DecodeError::UnexpectedNull) } else { Ok(value) }
}
