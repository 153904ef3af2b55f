//! The command line with Kafka's own names and flags, and tidy.

pub mod client;
pub mod log_dump;
pub mod output;
pub mod storage;
pub mod tidy;
pub mod top;
pub mod tune;
