//! DescribeAcls, CreateAcls and DeleteAcls (keys 29 to 31, versions 1-3) of a broker without an authorizer.
//!
//! There are no ACLs to tell of and none can be made: `authorizer.class.name` is refused at the start. What is asked
//! for is answered as Kafka does in the same state (`AclApis.scala`), in its words, which differ between the broker and
//! the controller: tools that look at ACLs on their way, such as MirrorMaker, go on without.

use std::borrow::Cow;

use ottla_wire::create_acls_request::CreateAclsRequest;
use ottla_wire::create_acls_response::{AclCreationResult, CreateAclsResponse};
use ottla_wire::delete_acls_request::DeleteAclsRequest;
use ottla_wire::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsResponse};
use ottla_wire::describe_acls_request::DescribeAclsRequest;
use ottla_wire::describe_acls_response::DescribeAclsResponse;

use crate::errors::ErrorCode;

const SAID_BY_THE_BROKER: &str = "No Authorizer is configured on the broker";
const SAID_BY_THE_CONTROLLER: Option<Cow<'static, str>> = Some(Cow::Borrowed("No Authorizer is configured."));

/// Answers a DescribeAcls request.
#[must_use]
pub fn describe(_: &DescribeAclsRequest<'_>) -> DescribeAclsResponse<'static> {
    DescribeAclsResponse {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some(SAID_BY_THE_BROKER.into()),
        ..DescribeAclsResponse::default()
    }
}

/// Answers a CreateAcls request: each of its ACLs is refused.
#[must_use]
pub fn create(request: &CreateAclsRequest<'_>) -> CreateAclsResponse<'static> {
    let refused = || AclCreationResult {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: SAID_BY_THE_CONTROLLER,
    };
    let results = request.creations.iter().map(|_| refused()).collect();
    CreateAclsResponse { results, ..CreateAclsResponse::default() }
}

/// Answers a DeleteAcls request: each of its filters is refused.
#[must_use]
pub fn delete(request: &DeleteAclsRequest<'_>) -> DeleteAclsResponse<'static> {
    let refused = || DeleteAclsFilterResult {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: SAID_BY_THE_CONTROLLER,
        matching_acls: Vec::new(),
    };
    let filter_results = request.filters.iter().map(|_| refused()).collect();
    DeleteAclsResponse { filter_results, ..DeleteAclsResponse::default() }
}

#[cfg(test)]
mod tests {
    use ottla_wire::create_acls_request::AclCreation;
    use ottla_wire::delete_acls_request::DeleteAclsFilter;
    use ottla_wire::{Message, Writer};

    use super::*;

    fn bytes<'a>(reply: &impl Message<'a>, version: i16) -> Vec<u8> {
        let mut writer = Writer::with_capacity(reply.size(version).expect("the version carries it"));
        reply.encode(&mut writer, version);
        writer.buf
    }

    #[test]
    fn every_answer_is_that_of_kafka_without_an_authorizer() {
        let text = SAID_BY_THE_BROKER.as_bytes();
        assert_eq!(
            bytes(&describe(&DescribeAclsRequest::default()), 1),
            [&[0, 0, 0, 0, 0, 54, 0, 41], text, &[0; 4]].concat()
        );
        assert_eq!(
            bytes(&describe(&DescribeAclsRequest::default()), 3),
            [&[0, 0, 0, 0, 0, 54, 42], text, &[1, 0]].concat()
        );
        let one = [&[0, 54, 0, 28], "No Authorizer is configured.".as_bytes()].concat();
        let two = CreateAclsRequest { creations: vec![AclCreation::default(); 2] };
        assert_eq!(bytes(&create(&two), 1), [&[0, 0, 0, 0, 0, 0, 0, 2], &one[..], &one[..]].concat());
        assert_eq!(bytes(&create(&CreateAclsRequest::default()), 1), [0; 8]);
        let one = [&one[..], &[0; 4]].concat();
        let two = DeleteAclsRequest { filters: vec![DeleteAclsFilter::default(); 2] };
        assert_eq!(bytes(&delete(&two), 1), [&[0, 0, 0, 0, 0, 0, 0, 2], &one[..], &one[..]].concat());
        assert_eq!(bytes(&delete(&DeleteAclsRequest::default()), 1), [0; 8]);
    }
}
