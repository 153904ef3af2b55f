//! The frame of a record of the metadata log: frame version, api key and version as varints, then the message.
//!
//! The rule is Kafka's `AbstractApiMessageSerde`; the frame version has been 1 since the log exists.

use crate::error::{DecodeError, EncodeError};
use crate::metadata_record::MetadataRecord;
use crate::reader::Reader;
use crate::size;
use crate::writer::Writer;

/// The only frame version there is.
pub const FRAME_VERSION: u32 = 1;

/// The record with its frame, ready to be the value of a log record.
pub fn encode(record: &MetadataRecord<'_>, version: i16) -> Result<Vec<u8>, EncodeError> {
    let message = record.size(version)?;
    let api_key = u32::from(record.api_key().unsigned_abs());
    let version_number = u32::from(version.unsigned_abs());
    let frame = 1 + size::varint(api_key as usize) + size::varint(version_number as usize);
    let mut w = Writer::with_capacity(frame + message);
    w.varint(FRAME_VERSION);
    w.varint(api_key);
    w.varint(version_number);
    record.write(&mut w, version);
    Ok(w.buf)
}

/// The api key and the version of a record, and the reader that stands at its message.
pub fn decode(bytes: &[u8]) -> Result<(i16, i16, Reader<'_>), DecodeError> {
    let mut r = Reader::new(bytes);
    let frame = r.varint()?;
    if frame != FRAME_VERSION {
        return Err(DecodeError::UnknownFrameVersion(frame));
    }
    let api_key = number(r.varint()?)?;
    let version = number(r.varint()?)?;
    Ok((api_key, version, r))
}

fn number(value: u32) -> Result<i16, DecodeError> {
    i16::try_from(value).map_err(|_| DecodeError::FrameNumber(value))
}

impl<'a> MetadataRecord<'a> {
    /// Reads a record with its frame; nothing may follow it.
    pub fn decode(bytes: &'a [u8]) -> Result<MetadataRecord<'a>, DecodeError> {
        let (api_key, version, mut r) = decode(bytes)?;
        let record = MetadataRecord::read(api_key, &mut r, version)?;
        r.finish()?;
        Ok(record)
    }

    /// The record with its frame.
    ///
    /// # Panics
    /// When the version cannot carry the record: what the log holds is decided by the controller and never by a peer.
    /// Where a peer's text could be too long use [`encode`].
    pub fn encode(&self, version: i16) -> Vec<u8> {
        match encode(self, version) {
            Ok(bytes) => bytes,
            Err(why) => panic!("{} v{version}: {why}", self.name()),
        }
    }
}
