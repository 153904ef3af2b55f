//! Produce: which requests are refused whole.

use ottla_wire::produce_request::TopicProduceData;
use ottla_wire::{ApiKey, Message, Reader, Writer};

use super::*;
use crate::controller::testing::{image_with, topic};
use crate::ids::{ProducerEpoch, ProducerId};
use crate::protocol::records::{BatchBuilder, NewRecord};
use crate::request::tests::context;

const VERSION: i16 = 9;

fn batch(builder: BatchBuilder) -> Vec<u8> {
    let mut builder = builder;
    builder.append(&NewRecord { timestamp: TimestampMs(1), key: None, value: Some(b"v"), headers: &[] });
    builder.build()
}

/// The errors of the partitions that these batches are for, and how many parts would be appended.
fn planned(batches: &[Vec<u8>], acks: i16, transactional_id: Option<&str>) -> (Vec<i16>, usize) {
    let data = (0..)
        .zip(batches)
        .map(|(index, batch)| PartitionProduceData { index, records: Some(Records::Inline(batch.into())) });
    let topic_data =
        TopicProduceData { name: "t".into(), partition_data: data.collect(), ..Default::default() };
    let transactional_id = transactional_id.map(Into::into);
    let request =
        ProduceRequest { transactional_id, acks, topic_data: vec![topic_data], ..Default::default() };
    let mut writer = Writer::with_capacity(request.size(VERSION).expect("the version carries it"));
    request.encode(&mut writer, VERSION);
    let frame = Bytes::from(writer.buf);
    let request = ProduceRequest::decode(&mut Reader::new(&frame), VERSION).expect("it was just written");
    let image = image_with(&[topic("t", 1, 2)]);
    let (mut plan, parts) = ProducePlan::new(&context(ApiKey::Produce, VERSION), &image, &frame, &request);
    for part in &parts {
        plan.answer(part.slot, ProduceOutcome::refused(ErrorCode::None));
    }
    let reply = plan.into_reply();
    let errors = reply.responses[0].partition_responses.iter().map(|partition| partition.error_code);
    (errors.collect(), parts.len())
}

#[test]
fn a_batch_of_a_transaction_needs_a_transactional_id() {
    let refused = ErrorCode::TransactionalIdAuthorizationFailed.code();
    let plain = batch(BatchBuilder::new());
    let nobodys = batch(BatchBuilder::new().transactional());
    let somebodys = batch(BatchBuilder::new().producer(ProducerId(7), ProducerEpoch(0), 0).transactional());
    assert_eq!(planned(&[plain.clone(), plain.clone()], -1, None), (vec![0, 0], 2));
    for bad in [nobodys, somebodys] {
        assert_eq!(planned(&[plain.clone(), bad.clone()], -1, None), (vec![refused; 2], 0));
        assert_eq!(planned(&[bad], 7, None), (vec![refused], 0), "before the acks are looked at");
    }
    assert_eq!(planned(&[plain.clone()], -1, Some("x")), (vec![refused], 0), "none is served yet");
    assert_eq!(planned(&[plain], 7, None), (vec![ErrorCode::InvalidRequiredAcks.code()], 0));
}
