//! One client connection as a state machine: bytes become frames, frames become requests in progress, and replies
//! leave in the order of their requests.
//!
//! A connection lives on the shard that it was handed to at accept; nothing of it is on disk. The shell reads and
//! writes the socket; what is decided here: where frames begin and end, when another request may start, which reply
//! may leave, and when the connection has been idle for too long.

mod frames;
mod idle;
mod pipeline;

pub use frames::{FrameError, Frames};
pub use idle::{Activity, IdleClock, Verdict};
pub use pipeline::{Answer, Class, Next, Pipeline, Ticket};
