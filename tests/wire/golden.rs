//! Bytes that Apache Kafka wrote: each must decode completely and encode to the same bytes again.
//!
//! `golden/rpc/` holds one file per api, one frame (header and body, without the length) per line, recorded between a
//! Kafka 4.3.1 cluster of two nodes and Kafka's own tools and clients, librdkafka and kafka-python; the responses to
//! old
//! versions were asked for one by one. `golden/records.txt` holds records from the logs of that cluster: the internal
//! topics, the metadata log and control batches. `golden/classes.txt` holds random values of everything that is no
//! request or response, as Kafka's own generated classes wrote them.

use std::fs;
use std::path::{Path, PathBuf};

use ottla_wire::{
    ApiKey, DecodeError, Message, MetadataRecord, Reader, for_each_message, frame, metadata_frame,
};

use crate::every_api::{Case, Direction, all, bytes_of};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("wire/golden")
}

fn bytes_from(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex}");
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("golden bytes are hex"))
        .collect()
}

/// The lines of a golden file: a name, a version, the bytes.
fn lines(path: &Path) -> Vec<(String, i16, Vec<u8>)> {
    let text = fs::read_to_string(path).expect("the golden files are in the tree");
    text.lines()
        .map(|line| {
            let [name, version, hex] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("bad line {line}")
            };
            (name.to_owned(), version.parse().expect("a version is a number"), bytes_from(hex))
        })
        .collect()
}

fn check_frame(case: &Case, bytes: &[u8]) -> Result<(), DecodeError> {
    let body = match case.direction {
        Direction::Request => {
            let (header, body) = frame::decode_request_header(bytes)?;
            assert_eq!((header.request_api_key, header.request_api_version), (case.api.code(), case.version));
            let header_again = bytes_of(&header, case.api.request_header_version(case.version));
            assert_eq!(header_again, bytes[..body], "{case:?}: the header");
            body
        }
        Direction::Response => frame::decode_response_header(bytes, case.api, case.version)?.1,
    };
    assert_eq!(case.decode_and_encode(&bytes[body..])?, bytes[body..], "{case:?}");
    Ok(())
}

#[test]
fn frames_of_kafka_and_its_clients_come_back() {
    let cases = all();
    let mut checked = 0;
    for file in fs::read_dir(golden().join("rpc")).expect("the golden files are in the tree") {
        let path = file.expect("the golden files are in the tree").path();
        let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        let api = ApiKey::ALL.into_iter().find(|a| a.name() == name).expect("a file is called like its api");
        for (direction, version, bytes) in lines(&path) {
            let direction = match direction.as_str() {
                "request" => Direction::Request,
                "response" => Direction::Response,
                other => panic!("{name}: {other}"),
            };
            let same = |c: &&Case| (c.api, c.direction, c.version) == (api, direction, version);
            let case = cases.iter().find(same).unwrap_or_else(|| panic!("{name} {direction:?} v{version}"));
            if let Err(why) = check_frame(case, &bytes) {
                panic!("{name} {direction:?} v{version}: {why}");
            }
            checked += 1;
        }
    }
    assert!(checked > 400, "{checked}");
}

/// Decodes a message by its name and encodes it again.
fn again(name: &str, version: i16, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut r = Reader::new(bytes);
    macro_rules! try_one {
        ($module:ident, $message:ident) => {
            if name == stringify!($message) {
                let message = <ottla_wire::$module::$message as Message>::decode(&mut r, version)?;
                r.finish()?;
                return Ok(bytes_of(&message, version));
            }
        };
    }
    for_each_message!(try_one);
    panic!("there is no message {name}")
}

fn check_messages(file: &str, at_least: usize) {
    let lines = lines(&golden().join(file));
    for (name, version, bytes) in &lines {
        if name == "metadata" {
            let (_, version_inside, _) = metadata_frame::decode(bytes).expect("a frame of Kafka");
            assert_eq!(version_inside, *version);
            let record = MetadataRecord::decode(bytes).unwrap_or_else(|why| panic!("{bytes:02x?}: {why}"));
            assert_eq!(record.encode(*version), *bytes, "{}", record.name());
        } else {
            assert_eq!(again(name, *version, bytes).as_ref(), Ok(bytes), "{name} v{version}");
        }
    }
    assert!(lines.len() >= at_least, "{file} has {} lines", lines.len());
}

#[test]
fn records_from_the_logs_of_kafka_come_back() {
    check_messages("records.txt", 70);
}

#[test]
fn what_the_classes_of_kafka_write_comes_back() {
    check_messages("classes.txt", 120);
}
