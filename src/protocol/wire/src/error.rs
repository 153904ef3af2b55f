//! What can be wrong with bytes from a peer, and with a message of ours that a version cannot carry.

use thiserror::Error;

/// Bytes that are not the message they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The message ends before it is complete.
    #[error("{needed} bytes needed and {remaining} left")]
    Truncated {
        /// What the next value takes; saturated.
        needed: u32,
        /// What is left; saturated.
        remaining: u32,
    },
    /// The message has no such version.
    #[error("{message} has no version {version}")]
    UnsupportedVersion {
        /// Kafka's name of the message.
        message: &'static str,
        /// The version that was asked for.
        version: i16,
    },
    /// A varint goes on after its fifth byte, or says more than 32 bits hold.
    #[error("a varint is too long")]
    VarintTooLong,
    /// A length below -1.
    #[error("the length {0} is negative")]
    NegativeLength(i32),
    /// A string longer than Kafka's length can say, be it once what is not UTF-8 in it is replaced.
    #[error("a string of {0} bytes is too long")]
    StringTooLong(u32),
    /// Null where the version has no null.
    #[error("null where null is not allowed")]
    UnexpectedNull,
    /// More elements than the limit.
    #[error("an array of {0} elements is too long")]
    TooManyElements(u32),
    /// The elements of an array, or a text with replacements in it, would take more memory than the input may cost.
    #[error("{0} elements or bytes take too much memory")]
    TooMuchMemory(u32),
    /// More tagged fields than the limit.
    #[error("{0} tagged fields are too many")]
    TooManyTags(u32),
    /// Tags must ascend and none may come twice.
    #[error("tag {0} is not above the one before it")]
    TagOrder(u32),
    /// A tagged field is shorter or longer than it said.
    #[error("the value of a tagged field has another size than it says")]
    TagSize,
    /// A tag that only another version of the message has.
    #[error("tag {tag} is not in version {version}")]
    TagNotInVersion {
        /// The tag.
        tag: u32,
        /// The version of the message.
        version: i16,
    },
    /// Bytes are left after the end of the message.
    #[error("{0} bytes are left after the message")]
    TrailingBytes(u32),
    /// No api has this number.
    #[error("there is no api key {0}")]
    UnknownApiKey(i16),
    /// No record of the metadata log has this number.
    #[error("there is no metadata record {api_key}")]
    UnknownRecord {
        /// The number.
        api_key: i16,
    },
    /// A metadata record with another frame than the one that is known.
    #[error("the metadata frame version {0} is unknown")]
    UnknownFrameVersion(u32),
    /// A number of a frame does not fit its type.
    #[error("the number {0} of a metadata frame is out of range")]
    FrameNumber(u32),
}

/// A message that cannot be written in a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The message has no such version.
    #[error("{message} has no version {version}")]
    UnsupportedVersion {
        /// Kafka's name of the message.
        message: &'static str,
        /// The version that was asked for.
        version: i16,
    },
    /// A field that the version does not have holds something that must not be lost.
    #[error("{field} cannot be written in version {version}")]
    Unsupported {
        /// Kafka's name of the field.
        field: &'static str,
        /// The version that was asked for.
        version: i16,
    },
    /// Null where the version has no null.
    #[error("{field} must not be null in version {version}")]
    Null {
        /// Kafka's name of the field.
        field: &'static str,
        /// The version that was asked for.
        version: i16,
    },
    /// Longer than the length before it can say.
    #[error("{field} with {bytes} bytes is too long")]
    TooLong {
        /// Kafka's name of the field.
        field: &'static str,
        /// Its bytes.
        bytes: usize,
    },
    /// The whole frame is longer than its length can say.
    #[error("a frame of {bytes} bytes is too long")]
    FrameTooLong {
        /// Its bytes, those that are spliced in among them.
        bytes: usize,
    },
}
