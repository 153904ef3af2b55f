//! What is encoded is decoded to the same, for every message in every version.

use std::fmt::Debug;

use ottla_wire::arbitrary::{Arbitrary, Rng};
use ottla_wire::{Message, MetadataRecord, Reader, for_each_message, metadata_frame};

use crate::every_api::bytes_of;

/// Random values of each message in each version.
const SEEDS: u64 = 24;

#[test]
fn every_message_in_every_version_comes_back() {
    let mut messages = 0;
    macro_rules! check {
        ($module:ident, $message:ident) => {
            messages += 1;
            for version in <ottla_wire::$module::$message as Message>::VERSIONS {
                for seed in 0..SEEDS {
                    let rng = &mut Rng::new(seed);
                    let value = <ottla_wire::$module::$message as Arbitrary>::arbitrary(rng, version);
                    let bytes = bytes_of(&value, version);
                    let mut r = Reader::with_memory(&bytes, usize::MAX);
                    let back = <ottla_wire::$module::$message as Message>::decode(&mut r, version);
                    let name = concat!(stringify!($message), " back");
                    same(name, version, seed, (&back, &Ok(value)));
                    assert_eq!(r.finish(), Ok(()), "{name} v{version} seed {seed}");
                }
            }
        };
    }
    for_each_message!(check);
    assert_eq!(messages, 278, "every schema that has a version is walked over");
}

fn same<T: PartialEq + Debug>(name: &str, version: i16, seed: u64, (left, right): (&T, &T)) {
    assert!(left == right, "{name} v{version} seed {seed}\n left {left:#?}\nright {right:#?}");
}

#[test]
fn every_message_at_its_defaults_comes_back() {
    macro_rules! check {
        ($module:ident, $message:ident) => {
            for version in <ottla_wire::$module::$message as Message>::VERSIONS {
                let value = ottla_wire::$module::$message::default();
                let bytes = bytes_of(&value, version);
                let back =
                    <ottla_wire::$module::$message as Message>::decode(&mut Reader::new(&bytes), version);
                same(stringify!($message), version, 0, (&back, &Ok(value)));
            }
        };
    }
    for_each_message!(check);
}

#[test]
fn metadata_records_come_back_in_their_frames() {
    let record =
        ottla_wire::topic_record::TopicRecord { name: "t".into(), topic_id: ottla_wire::Uuid([7; 16]) };
    let record = MetadataRecord::TopicRecord(record);
    let bytes = record.encode(0);
    let (api_key, version, _) = metadata_frame::decode(&bytes).expect("a frame was written");
    assert_eq!((api_key, version), (2, 0));
    assert_eq!(MetadataRecord::decode(&bytes), Ok(record));
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(MetadataRecord::decode(&longer).is_err());
    assert!(MetadataRecord::decode(&bytes[..bytes.len() - 1]).is_err());
}

#[test]
fn every_metadata_record_has_its_number() {
    // The gaps of Kafka's MetadataRecordType: what was never used, and the records of other logs.
    let unknown: Vec<i16> = (0..36)
        .filter(|key| {
            let frame = [1, *key as u8, 0];
            MetadataRecord::decode(&frame) == Err(ottla_wire::DecodeError::UnknownRecord { api_key: *key })
        })
        .collect();
    assert_eq!(unknown, [6, 13, 16, 30, 31, 32, 33, 34, 35]);
}

#[test]
fn a_message_for_the_last_version_is_refused_by_older_ones_or_loses_what_may_be_lost() {
    let (mut written, mut refused) = (0, 0);
    macro_rules! check {
        ($module:ident, $message:ident) => {
            let versions = <ottla_wire::$module::$message as Message>::VERSIONS;
            for seed in 0..SEEDS {
                let rng = &mut Rng::new(seed);
                let value = <ottla_wire::$module::$message as Arbitrary>::arbitrary(rng, *versions.end());
                for version in versions.clone() {
                    if value.size(version).is_err() {
                        refused += 1;
                        continue;
                    }
                    written += 1;
                    let bytes = bytes_of(&value, version);
                    let mut r = Reader::with_memory(&bytes, usize::MAX);
                    let back = <ottla_wire::$module::$message as Message>::decode(&mut r, version);
                    let back =
                        back.unwrap_or_else(|why| panic!("{} v{version}: {why}", stringify!($message)));
                    assert_eq!(r.finish(), Ok(()));
                    same(stringify!($message), version, seed, (&bytes_of(&back, version), &bytes));
                }
            }
        };
    }
    for_each_message!(check);
    assert!(written > 5000 && refused > 1000, "{written} were written and {refused} refused");
}
