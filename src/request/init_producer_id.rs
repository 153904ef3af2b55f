//! InitProducerId (key 22, versions 0-5): a number of its own for an idempotent producer.
//!
//! Each shard hands out ids from a block that the controller gave it, so most requests stay on their shard. A
//! transactional id is refused: transactions are not served yet, and the code is one that clients take as final.

use ottla_wire::init_producer_id_request::InitProducerIdRequest;
use ottla_wire::init_producer_id_response::InitProducerIdResponse;

use crate::errors::ErrorCode;
use crate::ids::ProducerId;

/// Producer ids that are one shard's to hand out, from a durable record of the controller.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProducerIdBlock {
    next: i64,
    end: i64,
}

impl ProducerIdBlock {
    /// The block of `count` ids from `first` on.
    #[must_use]
    pub fn new(first: i64, count: i64) -> Self {
        assert!(first >= 0, "producer ids begin at 0");
        assert!(count >= 0, "a block is not shorter than empty");
        Self { next: first, end: first + count }
    }

    /// Takes the next id; `None` when the block is used up.
    pub fn take(&mut self) -> Option<ProducerId> {
        if self.next == self.end {
            return None;
        }
        assert!(self.next < self.end, "a block never hands out past its end");
        let id = ProducerId(self.next);
        self.next += 1;
        Some(id)
    }
}

/// Why a request gets no id, if so: checked before one is taken.
///
/// # Errors
/// `TRANSACTIONAL_ID_AUTHORIZATION_FAILED` for a transactional id, `INVALID_REQUEST` for an empty one or for half
/// of a producer id and epoch.
pub fn check(request: &InitProducerIdRequest<'_>) -> Result<(), ErrorCode> {
    match request.transactional_id.as_deref() {
        Some("") => Err(ErrorCode::InvalidRequest),
        Some(_) => Err(ErrorCode::TransactionalIdAuthorizationFailed),
        None if (request.producer_id < 0) != (request.producer_epoch < 0) => Err(ErrorCode::InvalidRequest),
        None => Ok(()),
    }
}

/// The reply: a new id with epoch 0, or an error.
#[must_use]
pub fn reply(outcome: Result<ProducerId, ErrorCode>) -> InitProducerIdResponse {
    match outcome {
        Ok(id) => InitProducerIdResponse {
            producer_id: id.0,
            producer_epoch: 0,
            ..InitProducerIdResponse::default()
        },
        Err(error) => InitProducerIdResponse {
            error_code: error.code(),
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdResponse::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_hands_out_each_id_once_and_then_ends() {
        let mut block = ProducerIdBlock::new(5, 2);
        assert_eq!(block.take(), Some(ProducerId(5)));
        assert_eq!(block.take(), Some(ProducerId(6)));
        assert_eq!(block.take(), None);
        assert_eq!(ProducerIdBlock::default().take(), None);
    }

    #[test]
    fn a_transactional_id_is_refused_for_good() {
        let request =
            InitProducerIdRequest { transactional_id: Some("t".into()), ..InitProducerIdRequest::default() };
        assert_eq!(check(&request), Err(ErrorCode::TransactionalIdAuthorizationFailed));
        let idempotent = InitProducerIdRequest { transactional_id: None, ..InitProducerIdRequest::default() };
        assert_eq!(check(&idempotent), Ok(()));
        assert_eq!(
            check(&InitProducerIdRequest::default()),
            Err(ErrorCode::InvalidRequest),
            "an empty id is none"
        );
    }
}
