//! The wire crate against itself, against another implementation, against hostile bytes and against Kafka's own.
//!
//! Everything here is seeded: a failure names the message, the version and the seed that make it again.

mod allocations;
mod differential;
mod every_api;
mod fuzz;
mod golden;
mod roundtrip;
mod rules;
