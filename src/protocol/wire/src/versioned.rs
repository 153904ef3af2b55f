//! The records of the coordinators: two bytes of version, then the message.

use crate::error::{DecodeError, EncodeError};
use crate::message::Message;
use crate::reader::Reader;
use crate::writer::Writer;

/// Bytes of the version before the message.
const VERSION_BYTES: usize = 2;

/// The version and the message, as Kafka keeps the values of coordinator records.
///
/// # Panics
/// When the version cannot carry the message: what a record holds is decided here and never by a peer. Where a peer's
/// text could be too long use [`try_encode_versioned`].
pub fn encode_versioned<'a, M: Message<'a>>(message: &M, version: i16) -> Vec<u8> {
    match try_encode_versioned(message, version) {
        Ok(bytes) => bytes,
        Err(why) => panic!("{} v{version}: {why}", M::NAME),
    }
}

/// As [`encode_versioned`], for a message that holds what was not checked.
pub fn try_encode_versioned<'a, M: Message<'a>>(message: &M, version: i16) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::with_capacity(VERSION_BYTES + message.size(version)?);
    w.i16(version);
    message.encode(&mut w, version);
    assert!(w.splices.is_empty(), "a record holds no record batches");
    Ok(w.buf)
}

/// The version before a message, and the reader that stands at the message.
pub fn decode_version(bytes: &[u8]) -> Result<(i16, Reader<'_>), DecodeError> {
    let mut r = Reader::new(bytes);
    Ok((r.i16()?, r))
}
