//! Connections: accepted on one shard, handed to another, read, answered in order and closed.
//!
//! ```text
//! listener ──Accepted──► (the broker's choice of shard) ──► Connections::adopt ──► one reader task per connection
//!    reader: bytes → frames → Handler::handle, polled once in order ──ready──► pipeline ──► send
//!                                                    └─not ready─► a task of its own ──┘
//! ```
//!
//! Owner: [`Acceptor`] lives on the shard that listens, [`Connections`] on each shard, a connection on the shard that
//! adopted it. Nothing is on disk.
//!
//! What is bounded, per shard: the memory of requests, from their first byte to their answer, by one budget. A
//! connection that wants to read waits for the budget. One that is in the middle of a frame may, when the budget is
//! used up, become the shard's one *finisher*, which reads its frame to the end in debt: so partial frames never lock
//! each other out, and the budget is passed by one frame at most. The memory of replies, from the answer until they
//! are sent, has a budget of half that size: while it is used up no Fetch starts, so that clients which do not take
//! what they asked for hold up other readers at most. While anybody waits, connections that stand still with memory
//! in hand are closed.

mod ahead;
mod connection;
mod connections;
mod context;
mod journey;
mod listener;
mod reply;
mod send;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use bytes::Bytes;

use crate::host::LocalBoxFuture;

pub use connections::{Connections, NetConfig};
pub use context::ConnectionContext;
pub(crate) use listener::Complaint;
pub use listener::{AcceptLimits, Accepted, Acceptor, ConnectionGuard};
pub use reply::{Piece, Reply};

/// What becomes of a request: a reply, silence, or the end of the connection.
pub type Answer = ottla::connection::Answer<Reply>;

/// Who answers requests.
pub trait Handler: 'static {
    /// Answers one frame (without its length). Called in the order of the frames of a connection; the returned future
    /// is polled once before the next frame is handed out, so that what it does before its first wait happens in
    /// order too. It runs to its end also when the connection closes meanwhile, whose answer is then dropped; one that
    /// may wait for long can watch [`ConnectionContext::closed`].
    fn handle(&self, frame: Bytes, context: &Rc<ConnectionContext>) -> LocalBoxFuture<Answer>;
}
