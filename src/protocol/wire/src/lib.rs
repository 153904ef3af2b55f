//! Every Kafka message as straight-line bounded code.
//!
//! The modules of the messages are generated at build time from the schemas beside this crate: one module per schema,
//! its structs with Kafka's names. Decoding borrows from the frame; encoding goes in two passes, one that measures and
//! refuses and one that writes. The crate belongs to no shard: it has no state. What must hold:
//!
//! - no number that a peer wrote reserves memory before it was checked against the bytes that are there;
//! - the peak of what a decode allocates is at most four times its input plus 64 KiB;
//! - what was measured is what is written.

mod api_key;
#[cfg(feature = "arbitrary")]
pub mod arbitrary;
mod error;
pub mod frame;
mod json;
pub mod limits;
mod message;
pub mod metadata_frame;
mod reader;
mod records;
mod size;
mod uuid;
mod versioned;
mod writer;

pub use error::{DecodeError, EncodeError};
pub use json::{Json, ToJson};
pub use message::Message;
pub use metadata_record::MetadataRecord;
pub use reader::Reader;
pub use records::Records;
pub use uuid::{Uuid, UuidError};
pub use versioned::{decode_version, encode_versioned, try_encode_versioned};
pub use writer::{SplicePoint, Writer};

use api_key::ApiFacts;

/// What the generated modules use.
mod generated_prelude {
    pub use std::ops::RangeInclusive;

    #[cfg(feature = "arbitrary")]
    pub use crate::arbitrary::{Arbitrary, Rng};
    pub use crate::error::{DecodeError, EncodeError};
    pub use crate::json::{Json, ToJson};
    pub use crate::message::{Message, Part, not_null, nullable_structs, structs, write_structs};
    pub use crate::reader::Reader;
    pub use crate::records::Records;
    pub(crate) use crate::size;
    pub use crate::uuid::Uuid;
    pub use crate::writer::Writer;
}

include!(concat!(env!("OUT_DIR"), "/messages.rs"));
