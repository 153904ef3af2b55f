//! WHAT a broker decides: pure state machines, without sockets, files, clocks, threads or async.
//!
//! The crate compiles without a runtime so that every decision can be tested in virtual time and run unchanged
//! under the simulator. `shards/` is where these machines run.

pub mod canary;
pub mod config;
pub mod connection;
pub mod controller;
pub mod errors;
pub mod group;
pub mod ids;
pub mod limits;
pub mod log;
pub mod metrics;
pub mod mix;
pub mod placement;
pub mod protocol;
pub mod request;
pub mod sentences;
pub mod time;

/// The Kafka wire, generated from the schemas.
pub use ottla_wire as wire;
