//! Every Kafka message as straight-line bounded code.

/// A 128-bit id as Kafka writes it: 16 bytes, printed as unpadded URL-safe base64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(pub [u8; 16]);
