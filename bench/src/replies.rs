//! The receiving half of a connection, for the thread that reads while another one sends through the [`Client`].
//!
//! What must hold: the client has sent nothing before, so that the first reply is that to correlation id 0.

use std::io::{self, BufReader, Read};
use std::net::{Shutdown, TcpStream};

use ottla_tools::client::{Client, ClientError};
use ottla_wire::frame::decode_response_header;
use ottla_wire::{ApiKey, Message, Reader};

/// Replies longer than this are refused: all that is awaited here are acknowledgements.
const REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The replies of one connection, in order.
#[derive(Debug)]
pub(crate) struct Replies {
    stream: BufReader<TcpStream>,
    next_correlation_id: i32,
    frame: Vec<u8>,
}

impl Replies {
    /// The replies to what `client`, which is fresh, will send.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) fn of(client: &Client) -> io::Result<Self> {
        let stream = BufReader::new(client.stream().try_clone()?);
        Ok(Self { stream, next_correlation_id: 0, frame: Vec::new() })
    }

    /// Waits for the next reply, at most as long as the client would.
    ///
    /// # Errors
    /// Any [`ClientError`]; the connection is of no further use after one.
    pub(crate) fn next<'r, R: Message<'r>>(
        &'r mut self,
        api: ApiKey,
        version: i16,
    ) -> Result<R, ClientError> {
        self.read_frame()?;
        let (got, body) = decode_response_header(&self.frame, api, version)?;
        let expected = self.next_correlation_id;
        if got != expected {
            return Err(ClientError::Correlation { expected, got });
        }
        self.next_correlation_id = expected.wrapping_add(1);
        Ok(R::decode(&mut Reader::new(&self.frame[body..]), version)?)
    }

    /// Ends the connection in both directions, which also ends a send that waits for the broker to read.
    pub(crate) fn close(&self) {
        // An error says that the connection has ended already.
        drop(self.stream.get_ref().shutdown(Shutdown::Both));
    }

    fn read_frame(&mut self) -> Result<(), ClientError> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > REPLY_BYTES_MAX {
            return Err(ClientError::ReplyTooLarge(length));
        }
        self.frame.clear();
        let received = (&mut self.stream).take(length as u64).read_to_end(&mut self.frame)?;
        if received < length {
            return Err(ClientError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }
}
