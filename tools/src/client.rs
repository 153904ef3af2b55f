//! A small blocking Kafka client: one connection, one request at a time or a few in flight.
//!
//! The command line, the load generator and the tests speak to brokers through it, with the same generated messages
//! that the broker uses. It keeps no metadata and retries nothing: what to do with an error is its caller's decision.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use ottla_wire::frame::{Frame, decode_response_header, encode_request};
use ottla_wire::{ApiKey, Message, Reader};

/// Replies longer than this are refused: a broker's own limits are far below it.
const REPLY_BYTES_MAX: usize = 512 * 1024 * 1024;

/// What can go wrong between a request and its reply.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection failed or was closed.
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    /// The request has no form in the version asked for.
    #[error("request: {0}")]
    Encode(#[from] ottla_wire::EncodeError),
    /// The reply is not what its version promises.
    #[error("reply: {0}")]
    Decode(#[from] ottla_wire::DecodeError),
    /// The reply belongs to another request.
    #[error("reply {got} came where {expected} was due")]
    Correlation {
        /// The correlation id that was due.
        expected: i32,
        /// The one that came.
        got: i32,
    },
    /// The reply claims more bytes than any broker sends.
    #[error("a reply of {0} bytes")]
    ReplyTooLarge(usize),
}

/// One connection to a broker.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    client_id: String,
    next_correlation_id: i32,
    next_reply: i32,
    reply: Vec<u8>,
}

impl Client {
    /// Connects to the first address of `target` that answers.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn connect(target: impl ToSocketAddrs, client_id: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(target)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let client_id = client_id.to_owned();
        Ok(Self { stream, client_id, next_correlation_id: 0, next_reply: 0, reply: Vec::new() })
    }

    /// How long a reply may take; `None` for ever.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)
    }

    /// The socket itself, for callers that need to break it.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends a request and waits for its reply, which borrows from this client.
    ///
    /// # Errors
    /// Any [`ClientError`]; the connection is of no further use after one.
    pub fn call<'q, 'r, Q: Message<'q>, R: Message<'r>>(
        &'r mut self,
        api: ApiKey,
        version: i16,
        request: &Q,
    ) -> Result<R, ClientError> {
        self.send(api, version, request)?;
        self.receive(api, version)
    }

    /// Sends a request without waiting.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn send<'q, Q: Message<'q>>(
        &mut self,
        api: ApiKey,
        version: i16,
        request: &Q,
    ) -> Result<(), ClientError> {
        let Frame { head, splices } =
            encode_request(api, version, self.next_correlation_id, Some(&self.client_id), request)?;
        assert!(splices.is_empty(), "this client sends its records inline");
        self.next_correlation_id = self.next_correlation_id.wrapping_add(1);
        self.stream.write_all(&head)?;
        Ok(())
    }

    /// Waits for the reply to the oldest request that was sent and not yet answered.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn receive<'r, R: Message<'r>>(&'r mut self, api: ApiKey, version: i16) -> Result<R, ClientError> {
        self.receive_frame()?;
        let (got, at) = decode_response_header(&self.reply, api, version)?;
        if got != self.next_reply {
            return Err(ClientError::Correlation { expected: self.next_reply, got });
        }
        self.next_reply = self.next_reply.wrapping_add(1);
        let body = &self.reply[at..];
        // A broker that is asked is trusted with the memory that its reply needs.
        let mut reader = Reader::with_memory(body, usize::MAX);
        Ok(R::decode(&mut reader, version)?)
    }

    /// Says that one reply will never come, as after a request with `acks=0`.
    pub fn expect_silence(&mut self) {
        self.next_reply = self.next_reply.wrapping_add(1);
    }

    fn receive_frame(&mut self) -> Result<(), ClientError> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > REPLY_BYTES_MAX {
            return Err(ClientError::ReplyTooLarge(length));
        }
        self.reply.clear();
        let received = (&mut self.stream).take(length as u64).read_to_end(&mut self.reply)?;
        if received < length {
            return Err(ClientError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }
}
