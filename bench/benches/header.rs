//! What every request pays before anything is known of it, and every batch before it is looked at.

use std::hint::black_box;

use ottla::protocol::compression::Codec;
use ottla::protocol::records::BatchHeader;
use ottla_wire::frame::decode_request_header;
use ottla_wire::request_header::RequestHeader;
use ottla_wire::{ApiKey, Message, Writer};

use crate::batches;
use crate::suite::Suite;

const VERSION: i16 = 13;

fn request() -> Vec<u8> {
    let header = RequestHeader {
        request_api_key: ApiKey::Produce.code(),
        request_api_version: VERSION,
        correlation_id: 77,
        client_id: Some("perf-producer-client".into()),
    };
    let mut w = Writer::with_capacity(64);
    header.encode(&mut w, ApiKey::Produce.request_header_version(VERSION));
    w.buf
}

pub fn measure(suite: &mut Suite) {
    let request = request();
    assert!(decode_request_header(&request).is_ok(), "what is measured works");
    suite.time("header of a request", || decode_request_header(black_box(&request)).is_ok());
    let batch = batches::build(&batches::values(), Codec::None);
    assert!(BatchHeader::parse(&batch).is_ok(), "what is measured works");
    suite.time("header of a batch", || BatchHeader::parse(black_box(&batch)).is_ok());
}
