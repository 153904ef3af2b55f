//! Rules of the wire that a round trip cannot see: bytes written by hand, and what must be refused.

use ottla_wire::api_versions_request::ApiVersionsRequest;
use ottla_wire::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use ottla_wire::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_wire::{ApiKey, DecodeError, EncodeError, Message, Reader, Records, SplicePoint, Uuid, frame};

use crate::allocations::peak_of;
use crate::every_api::bytes_of;

fn decode_api_versions(bytes: &[u8]) -> Result<(), DecodeError> {
    let mut r = Reader::new(bytes);
    ApiVersionsRequest::decode(&mut r, 3)?;
    r.finish()
}

#[test]
fn unknown_tags_are_skipped_and_tags_must_ascend() {
    // Two empty strings, then the tagged fields.
    assert_eq!(decode_api_versions(&[1, 1, 0]), Ok(()));
    assert_eq!(decode_api_versions(&[1, 1, 1, 9, 2, 0xaa, 0xbb]), Ok(()));
    assert_eq!(decode_api_versions(&[1, 1, 2, 3, 0, 9, 1, 0xaa]), Ok(()));
    assert_eq!(decode_api_versions(&[1, 1, 2, 9, 0, 3, 0]), Err(DecodeError::TagOrder(3)));
    assert_eq!(decode_api_versions(&[1, 1, 2, 9, 0, 9, 0]), Err(DecodeError::TagOrder(9)));
    let past_end = DecodeError::Truncated { needed: 3, remaining: 1 };
    assert_eq!(decode_api_versions(&[1, 1, 1, 9, 3, 0xaa]), Err(past_end));
    assert_eq!(decode_api_versions(&[1, 1, 0x91, 0x4e]), Err(DecodeError::TooManyTags(10_001)));
}

#[test]
fn a_known_tag_must_be_as_long_as_it_says() {
    let request = FetchRequest { cluster_id: Some("c".into()), ..FetchRequest::default() };
    let bytes = bytes_of(&request, 12);
    let at = bytes.len() - 5;
    assert_eq!(bytes[at..], [1, 0, 2, 2, b'c'], "one tag, tag 0, two bytes, a string of one");
    let mut short = bytes.clone();
    short[at + 2] = 1;
    assert_eq!(FetchRequest::decode(&mut Reader::new(&short), 12), Err(DecodeError::TagSize));
    let mut long = bytes;
    long[at + 2] = 3;
    long.push(0);
    assert_eq!(FetchRequest::decode(&mut Reader::new(&long), 12), Err(DecodeError::TagSize));
}

#[test]
fn a_tag_of_a_later_version_is_refused() {
    // The state of the replica is tag 1 from version 15 on.
    let mut bytes = bytes_of(&FetchRequest::default(), 14);
    assert_eq!(bytes.pop(), Some(0));
    bytes.extend_from_slice(&[1, 1, 0]);
    let refused = FetchRequest::decode(&mut Reader::new(&bytes), 14);
    assert_eq!(refused, Err(DecodeError::TagNotInVersion { tag: 1, version: 14 }));
}

#[test]
fn varints_have_five_bytes_and_32_bits() {
    let read = |bytes: &[u8]| Reader::new(bytes).varint();
    assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Ok(u32::MAX));
    assert_eq!(read(&[0x80, 0x80, 0x00]), Ok(0));
    assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Err(DecodeError::VarintTooLong));
    assert_eq!(read(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), Err(DecodeError::VarintTooLong));
    assert_eq!(read(&[0x80]), Err(DecodeError::Truncated { needed: 1, remaining: 0 }));
}

#[test]
fn strings_are_checked() {
    let read = |bytes: &[u8]| Reader::new(bytes).nullable_string(false).map(|s| s.map(|s| s.into_owned()));
    assert_eq!(read(&[0, 1, b'a']), Ok(Some("a".to_owned())));
    assert_eq!(read(&[0xff, 0xff]), Ok(None));
    assert_eq!(read(&[0xff, 0xfe]), Err(DecodeError::NegativeLength(-2)));
    assert_eq!(read(&[0, 3, b'a', 0xff, b'b']), Ok(Some("a\u{fffd}b".to_owned())), "as Java reads it");
    let mut latin = vec![0x2a, 0xab];
    latin.extend(std::iter::repeat_n(0xe9, 0x2aab));
    assert_eq!(read(&latin), Err(DecodeError::StringTooLong(32_769)), "three bytes for each");
    latin.truncate(2 + 0x2aaa);
    latin[1] = 0xaa;
    assert_eq!(read(&latin).map(|s| s.map(|s| s.len())), Ok(Some(32_766)));
    assert_eq!(Reader::new(&[0xff, 0xff]).string(false), Err(DecodeError::UnexpectedNull));
    let mut long = vec![0x81, 0x80, 0x02];
    long.extend(std::iter::repeat_n(b'a', 32_768));
    assert_eq!(Reader::new(&long).string(true), Err(DecodeError::StringTooLong(32_768)));
    long[0] = 0x80;
    assert_eq!(Reader::new(&long).string(true).map(|s| s.len()), Ok(32_767));
}

#[test]
fn counts_are_checked_before_anything_is_reserved() {
    let count = |count: i32, bytes: usize| {
        let mut input = count.to_be_bytes().to_vec();
        input.resize(4 + bytes, 0);
        Reader::new(&input).i32_array(false).map(|v| v.len())
    };
    assert_eq!(count(2, 8), Ok(2));
    assert_eq!(count(3, 8), Err(DecodeError::Truncated { needed: 12, remaining: 8 }));
    assert_eq!(count(-1, 8), Err(DecodeError::UnexpectedNull));
    assert_eq!(count(-2, 8), Err(DecodeError::NegativeLength(-2)));
    assert_eq!(count(1_000_000, 4_000_000), Ok(1_000_000));
    assert_eq!(count(1_000_001, 4_000_004), Err(DecodeError::TooManyElements(1_000_001)));
}

#[test]
fn a_message_has_so_many_elements_in_all_its_arrays() {
    let mut input = Vec::new();
    for count in [1_000_000, 1_000_000, 1_i32] {
        input.extend(count.to_be_bytes());
        input.resize(input.len() + count as usize, 0);
    }
    let mut reader = Reader::new(&input);
    for _ in 0..2 {
        assert_eq!(reader.i8_array(false).map(|elements| elements.len()), Ok(1_000_000));
    }
    assert_eq!(reader.i8_array(false), Err(DecodeError::TooManyElements(1)));
}

#[test]
fn a_count_that_cannot_be_true_reserves_nothing() {
    // A topic of version 12 takes 18 bytes at least: an id, a null name, no tags.
    let mut bytes = vec![0xe9, 0x07];
    bytes.resize(2 + 999 * 18 + 17, 0);
    let peak = peak_of(|| {
        let refused = MetadataRequest::decode(&mut Reader::new(&bytes), 12);
        assert_eq!(refused, Err(DecodeError::Truncated { needed: 18_000, remaining: 17_999 }));
    });
    assert_eq!(peak, 0);
}

#[test]
fn what_may_be_lost_is_lost_without_a_word() {
    let directory = |id| FetchRequest {
        topics: vec![FetchTopic {
            partitions: vec![FetchPartition { replica_directory_id: id, ..FetchPartition::default() }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let (without, with) = (directory(Uuid::ZERO), directory(Uuid([3; 16])));
    assert_eq!(bytes_of(&with, 16), bytes_of(&without, 16));
    assert_eq!(bytes_of(&with, 17).len(), bytes_of(&without, 17).len() + 18);
}

#[test]
fn memory_is_charged_across_arrays() {
    // 300,000 empty strings take as many bytes on the wire and 24 times as much in memory.
    let mut one = vec![0xe1, 0xa7, 0x12];
    one.resize(300_003, 1);
    assert_eq!(Reader::new(&one).string_array(true).map(|v| v.len()), Ok(300_000));
    let two = [&one[..], &one[..]].concat();
    let mut r = Reader::new(&two);
    assert!(r.string_array(true).is_ok());
    assert_eq!(r.string_array(true), Err(DecodeError::TooMuchMemory(300_000)));
}

#[test]
fn what_a_version_cannot_carry_is_refused() {
    let by_id = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { topic_id: Uuid([1; 16]), name: None }]),
        ..MetadataRequest::default()
    };
    assert!(by_id.size(12).is_ok());
    assert_eq!(by_id.size(9), Err(EncodeError::Null { field: "Name", version: 9 }));
    let all = MetadataRequest { topics: None, ..MetadataRequest::default() };
    assert_eq!(all.size(0), Err(EncodeError::Null { field: "Topics", version: 0 }));
    let quiet = MetadataRequest { allow_auto_topic_creation: false, ..MetadataRequest::default() };
    let refused = EncodeError::Unsupported { field: "AllowAutoTopicCreation", version: 3 };
    assert_eq!(quiet.size(3), Err(refused));
    assert!(quiet.size(4).is_ok());
    let unknown = EncodeError::UnsupportedVersion { message: "MetadataRequest", version: 99 };
    assert_eq!(quiet.size(99), Err(unknown));
    let long = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            topic_id: Uuid::ZERO,
            name: Some("a".repeat(32_768).into()),
        }]),
        ..MetadataRequest::default()
    };
    assert_eq!(long.size(4), Err(EncodeError::TooLong { field: "Name", bytes: 32_768 }));
}

#[test]
fn the_client_id_is_never_compact() {
    let request = ApiVersionsRequest::default();
    let sent = frame::encode_request(ApiKey::ApiVersions, 3, 7, Some("me"), &request).expect("it fits");
    let expected = [0, 0, 0, 16, 0, 18, 0, 3, 0, 0, 0, 7, 0, 2, b'm', b'e', 0, 1, 1, 0];
    assert_eq!(sent.head, expected);
    let (header, body) = frame::decode_request_header(&sent.head[4..]).expect("it was just written");
    assert_eq!((header.correlation_id, header.client_id.as_deref(), body), (7, Some("me"), 13));
    assert_eq!(decode_api_versions(&sent.head[4 + body..]), Ok(()));
}

#[test]
fn the_header_of_an_unknown_version_of_api_versions_is_read() {
    let frame = [0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 0, 0xde, 0xad];
    let (header, body) = frame::decode_request_header(&frame).expect("the header is there");
    assert_eq!((header.request_api_version, header.correlation_id, body), (99, 7, 11));
    assert_eq!(frame::decode_request_header(&[0x7f, 0, 0, 0]), Err(DecodeError::UnknownApiKey(0x7f00)));
}

fn fetched(records: Option<Records<'static>>) -> FetchResponse<'static> {
    FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic_id: Uuid([1; 16]),
            partitions: vec![
                PartitionData { partition_index: 0, records: records.clone(), ..PartitionData::default() },
                PartitionData { partition_index: 1, records, ..PartitionData::default() },
            ],
            ..FetchableTopicResponse::default()
        }],
        ..FetchResponse::default()
    }
}

#[test]
fn spliced_records_give_the_frame_that_inline_records_give() {
    for (version, bytes) in [(4, 0), (4, 300), (11, 5), (13, 5), (17, 127), (18, 70_000)] {
        let batches = vec![0xab; bytes];
        let mut inline = fetched(Some(Records::Inline(batches.clone().into())));
        let mut spliced = fetched(Some(Records::Splice { bytes: bytes as u32 }));
        if version < 13 {
            inline.responses[0].topic_id = Uuid::ZERO;
            spliced.responses[0].topic_id = Uuid::ZERO;
        }
        let inline = frame::encode_response(ApiKey::Fetch, version, 5, &inline).expect("it fits");
        let spliced = frame::encode_response(ApiKey::Fetch, version, 5, &spliced).expect("it fits");
        assert_eq!(spliced.splices.len(), 2);
        let mut whole = spliced.head.clone();
        for &SplicePoint { at, bytes } in spliced.splices.iter().rev() {
            assert_eq!(bytes as usize, batches.len());
            whole.splice(at..at, batches.iter().copied());
        }
        assert_eq!(whole, inline.head, "v{version} with {bytes} bytes");
        assert_eq!(spliced.wire_len(), inline.head.len());
        assert_eq!(inline.head[..4], (inline.head.len() as i32 - 4).to_be_bytes());
    }
}

#[test]
fn spliced_records_can_make_a_frame_too_long() {
    let response = fetched(Some(Records::Splice { bytes: 0x7000_0000 }));
    let refused = frame::encode_response(ApiKey::Fetch, 13, 5, &response);
    assert!(matches!(refused, Err(EncodeError::FrameTooLong { .. })), "{refused:?}");
}

#[test]
fn trailing_bytes_are_an_error() {
    assert_eq!(decode_api_versions(&[1, 1, 0, 0]), Err(DecodeError::TrailingBytes(1)));
}
