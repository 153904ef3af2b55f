//! What the tests share: a broker as a process of its own, clients to talk to it, and the tools around them.
//!
//! Each test takes free ports and a temporary directory, and leaves neither files nor processes behind: a broker is
//! killed when its handle is dropped.

pub mod broker;
pub mod kafka;
pub mod keyed;
pub mod producer;
pub mod reader;
pub mod topics;
