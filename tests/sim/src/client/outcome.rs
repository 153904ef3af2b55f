//! What became of a request: three answers, and never a guess.

use ottla::errors::ErrorCode;
use ottla_wire::{DecodeError, EncodeError};

/// What became of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// The broker did it and said so.
    Ok(T),
    /// The broker said that it did not do it, in a way that leaves nothing behind.
    Refused(ErrorCode),
    /// It was never sent: it has no effect.
    NotSent,
    /// It was sent, at least in part, and nobody knows what became of it: it may still take effect.
    Unknown(Unknown),
    /// The broker sent something that no broker may send.
    Garbled(String),
}

/// Why the fate of an operation is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The connection ended before the reply.
    Lost,
    /// No reply within the client's patience.
    TimedOut,
    /// The broker answered with an error that does not say that nothing happened.
    Code(ErrorCode),
    /// The request asks for no reply (`acks=0`).
    Unanswered,
}

impl<T> Outcome<T> {
    /// The value of a success.
    pub fn ok(self) -> Option<T> {
        match self {
            Outcome::Ok(value) => Some(value),
            Outcome::Refused(_) | Outcome::NotSent | Outcome::Unknown(_) | Outcome::Garbled(_) => None,
        }
    }

    /// The same fate with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Outcome::Ok(value) => Outcome::Ok(change(value)),
            Outcome::Refused(code) => Outcome::Refused(code),
            Outcome::NotSent => Outcome::NotSent,
            Outcome::Unknown(why) => Outcome::Unknown(why),
            Outcome::Garbled(text) => Outcome::Garbled(text),
        }
    }

    /// Whether the connection that carried the operation is of no further use.
    #[must_use]
    pub fn ends_connection(&self) -> bool {
        match self {
            Outcome::NotSent | Outcome::Garbled(_) => true,
            Outcome::Unknown(why) => matches!(why, Unknown::Lost | Unknown::TimedOut),
            Outcome::Ok(_) | Outcome::Refused(_) => false,
        }
    }

    /// Whether it may have taken effect, or still may.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Outcome::Unknown(_))
    }
}

/// Why a call has no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// Nothing of the request left this machine.
    NotSent,
    /// The connection ended.
    Lost,
    /// No reply in time.
    TimedOut,
    /// The reply is not what its version promises.
    Garbled(String),
}

impl From<DecodeError> for CallError {
    fn from(error: DecodeError) -> CallError {
        CallError::Garbled(error.to_string())
    }
}

impl From<EncodeError> for CallError {
    fn from(error: EncodeError) -> CallError {
        panic!("the client makes requests that have a form: {error}")
    }
}

impl<T> From<CallError> for Outcome<T> {
    fn from(error: CallError) -> Outcome<T> {
        match error {
            CallError::NotSent => Outcome::NotSent,
            CallError::Lost => Outcome::Unknown(Unknown::Lost),
            CallError::TimedOut => Outcome::Unknown(Unknown::TimedOut),
            CallError::Garbled(text) => Outcome::Garbled(text),
        }
    }
}

/// The error of a request that changes nothing whatever its answer: a refusal is all that it can be.
#[must_use]
pub fn of_read<T>(code: i16) -> Outcome<T> {
    match ErrorCode::from_code(code) {
        Some(code) => Outcome::Refused(code),
        None => Outcome::Garbled(format!("error code {code}")),
    }
}

/// The error of a request that changes something: a refusal where the code says that nothing happened, unknown
/// otherwise.
#[must_use]
pub fn of_write<T>(code: i16) -> Outcome<T> {
    match ErrorCode::from_code(code) {
        Some(code) if leaves_nothing(code) => Outcome::Refused(code),
        Some(code) => Outcome::Unknown(Unknown::Code(code)),
        None => Outcome::Garbled(format!("error code {code}")),
    }
}

/// Whether a broker gives this code before it changes anything.
fn leaves_nothing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::OffsetOutOfRange
            | ErrorCode::CorruptMessage
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::InconsistentTopicId
            | ErrorCode::MessageTooLarge
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::InvalidTopicException
            | ErrorCode::RecordListTooLarge
            | ErrorCode::InvalidRequiredAcks
            | ErrorCode::IllegalGeneration
            | ErrorCode::UnknownMemberId
            | ErrorCode::InvalidTimestamp
            | ErrorCode::TopicAlreadyExists
            | ErrorCode::InvalidPartitions
            | ErrorCode::InvalidConfig
            | ErrorCode::InvalidRequest
            | ErrorCode::UnsupportedVersion
            | ErrorCode::PolicyViolation
            | ErrorCode::OutOfOrderSequenceNumber
            | ErrorCode::DuplicateSequenceNumber
            | ErrorCode::InvalidProducerEpoch
            | ErrorCode::UnknownProducerId
            | ErrorCode::InvalidRecord
            | ErrorCode::UnsupportedCompressionType
            | ErrorCode::OffsetMetadataTooLarge
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_may_follow_an_append_is_unknown() {
        let storage = ErrorCode::KafkaStorageError;
        assert_eq!(of_write::<()>(storage.code()), Outcome::Unknown(Unknown::Code(storage)));
        assert_eq!(of_read::<()>(storage.code()), Outcome::Refused(storage));
        let large = ErrorCode::MessageTooLarge;
        assert_eq!(of_write::<()>(large.code()), Outcome::Refused(large));
        assert!(matches!(of_write::<()>(i16::MAX), Outcome::Garbled(_)));
    }

    #[test]
    fn what_never_left_has_no_effect() {
        assert!(!Outcome::<()>::from(CallError::NotSent).is_unknown());
        assert!(Outcome::<()>::from(CallError::Lost).is_unknown());
        assert!(Outcome::<()>::from(CallError::TimedOut).ends_connection());
    }
}
