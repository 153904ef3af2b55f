//! Reads Kafka's message schemas and writes the Rust that encodes and decodes them.
//!
//! The crate runs inside build scripts only. It takes the directory of JSON schemas that Kafka keeps beside its own
//! generator and gives back one Rust source text, which the wire crate includes. What must hold:
//!
//! - a schema that says something this generator does not know stops the build with the name of the schema;
//! - the same schemas give the same text, byte for byte;
//! - the meaning of a schema (versions, defaults, nulls, tags) is that of Kafka's `generator` module.

mod arbitrary;
mod catalogue;
mod decode;
mod encode;
mod json;
mod schema;
mod size;
mod structs;
mod text;
mod versions;

use std::path::Path;

pub use schema::{Kind, Message, load};
pub use versions::Versions;

/// What the caller wants beside the messages themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Also write a generator of random values for every struct; tests alone pay for compiling it.
    pub arbitrary: bool,
}

/// Reads every `*.json` one level below `schemas` and returns the Rust text of all messages.
///
/// # Panics
/// When a schema cannot be read or says something unknown: the build must stop there.
pub fn generate(schemas: &Path, options: Options) -> String {
    let messages = load(schemas);
    let mut out = String::with_capacity(4 << 20);
    for message in &messages {
        structs::module(&mut out, message, options);
    }
    catalogue::write(&mut out, &messages);
    out
}
