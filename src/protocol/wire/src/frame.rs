//! Frames: the length, the header and the body of a request or a response.

use crate::ApiKey;
use crate::error::{DecodeError, EncodeError};
use crate::limits::FRAME_BYTES_MAX;
use crate::message::Message;
use crate::reader::Reader;
use crate::request_header::RequestHeader;
use crate::response_header::ResponseHeader;
use crate::writer::{SplicePoint, Writer};

/// Bytes of the length before a frame; it does not count itself.
pub const LENGTH_BYTES: usize = 4;

/// A frame that is ready to go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The length, the header and the body, without what is spliced in. The length counts what is spliced in.
    pub head: Vec<u8>,
    /// Where record batches go into `head`, in ascending order.
    pub splices: Vec<SplicePoint>,
}

impl Frame {
    /// All bytes on the wire: the length, the head and what is spliced in.
    pub fn wire_len(&self) -> usize {
        self.head.len() + self.splices.iter().map(|s| s.bytes as usize).sum::<usize>()
    }
}

/// Makes the frame of a response.
pub fn encode_response<'a, M: Message<'a>>(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    body: &M,
) -> Result<Frame, EncodeError> {
    debug_assert_eq!(M::API_KEY, Some(api.code()), "{} is no response of {api}", M::NAME);
    let header = ResponseHeader { correlation_id };
    encode(&header, api.response_header_version(version), body, version)
}

/// Makes the frame of a request.
pub fn encode_request<'a, M: Message<'a>>(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    body: &M,
) -> Result<Frame, EncodeError> {
    debug_assert_eq!(M::API_KEY, Some(api.code()), "{} is no request of {api}", M::NAME);
    let header = RequestHeader {
        request_api_key: api.code(),
        request_api_version: version,
        correlation_id,
        client_id: client_id.map(Into::into),
    };
    encode(&header, api.request_header_version(version), body, version)
}

fn encode<'h, 'b, H: Message<'h>, B: Message<'b>>(
    header: &H,
    header_version: i16,
    body: &B,
    version: i16,
) -> Result<Frame, EncodeError> {
    let head = LENGTH_BYTES + header.size(header_version)? + body.size(version)?;
    if head > FRAME_BYTES_MAX {
        return Err(EncodeError::FrameTooLong { bytes: head });
    }
    let mut w = Writer::with_capacity(head);
    w.i32(0);
    header.write(&mut w, header_version);
    body.write(&mut w, version);
    assert_eq!(w.buf.len(), head, "{} v{version}: what was measured is what is written", B::NAME);
    let bytes = head - LENGTH_BYTES + w.spliced_bytes();
    let length = i32::try_from(bytes).map_err(|_| EncodeError::FrameTooLong { bytes })?;
    w.buf[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(Frame { head: w.buf, splices: w.splices })
}

/// Reads the header of a request; `frame` comes without its length. Returns the header and where the body begins.
///
/// An api that is not known is an error, and Kafka then closes the connection. A version that is not known is none:
/// an ApiVersions request of any version must be answered.
pub fn decode_request_header(frame: &[u8]) -> Result<(RequestHeader<'_>, usize), DecodeError> {
    let mut peek = Reader::new(frame);
    let code = peek.i16()?;
    let version = peek.i16()?;
    let api = ApiKey::from_code(code).ok_or(DecodeError::UnknownApiKey(code))?;
    let mut r = Reader::new(frame);
    let header = RequestHeader::decode(&mut r, api.request_header_version(version))?;
    Ok((header, r.position()))
}

/// Reads the header of a response to a request of `api` and `version`; `frame` comes without its length. Returns the
/// correlation id and where the body begins.
pub fn decode_response_header(frame: &[u8], api: ApiKey, version: i16) -> Result<(i32, usize), DecodeError> {
    let mut r = Reader::new(frame);
    let header = ResponseHeader::decode(&mut r, api.response_header_version(version))?;
    Ok((header.correlation_id, r.position()))
}
