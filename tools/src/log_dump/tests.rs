//! Files of every kind, made here, against lines that Kafka's tool has printed of such files.

use std::path::Path;

use ottla::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};
use ottla::protocol::compression::Codec;
use ottla::protocol::records::{BatchBuilder, EndTransactionMarker, NewRecord, RecordHeader};
use ottla_wire::MetadataRecord;
use ottla_wire::topic_record::TopicRecord;

use super::*;

/// What a dump printed, what it found, and how it ended.
fn dumped(args: DumpArgs) -> (String, String, Result<u8, String>) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = LogArgs { command: LogCommand::Dump(args) };
    let result = run(&args, Output { out: &mut out, err: &mut err }).map_err(|error| error.to_string());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (text(out), text(err), result)
}

fn args(files: &[&Path]) -> DumpArgs {
    DumpArgs {
        files: files.iter().map(|file| file.as_os_str().to_owned()).collect(),
        max_message_size: MESSAGE_BYTES_MAX,
        max_bytes: i32::MAX,
        ..DumpArgs::default()
    }
}

fn record<'a>(timestamp: i64, key: &'a str, value: Option<&'a str>) -> NewRecord<'a> {
    let (key, value) = (Some(key.as_bytes()), value.map(str::as_bytes));
    NewRecord { timestamp: TimestampMs(timestamp), key, value, headers: &[] }
}

/// A segment of two batches and a marker; offset 3 is missing, as behind a cleaner.
fn segment() -> Vec<u8> {
    let mut first = BatchBuilder::new().leader_epoch(LeaderEpoch(2)).compression(Codec::Zstd, None);
    first.append(&NewRecord {
        headers: &[RecordHeader { key: b"h", value: None }, RecordHeader { key: b"", value: Some(b"v") }],
        ..record(1000, "k", Some("one"))
    });
    first.append(&record(1007, "k", None));
    let transactional = || {
        let builder = BatchBuilder::new().leader_epoch(LeaderEpoch(2)).transactional();
        builder.producer(ProducerId(7), ProducerEpoch(1), 41)
    };
    let mut second = transactional().base_offset(Offset(2));
    second.append(&record(1005, "x", Some("two")));
    second.append_at(2, &record(1006, "y", Some("three")));
    let mut marker = BatchBuilder::new().base_offset(Offset(5)).leader_epoch(LeaderEpoch(2)).transactional();
    marker = marker.producer(ProducerId(7), ProducerEpoch(1), -1).control();
    marker.append_marker(TimestampMs(1009), &EndTransactionMarker { committed: false, coordinator_epoch: 3 });
    [first.build(), second.build(), marker.build()].concat()
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, bytes).expect("it can be written");
    path
}

#[test]
fn a_segment_is_printed_batch_by_batch_and_record_by_record() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = write(directory.path(), "00000000000000000000.log", &segment());
    let (out, err, result) = dumped(DumpArgs { print_data_log: true, ..args(&[&path]) });
    assert_eq!(result, Ok(0));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], format!("Dumping {}", path.display()));
    assert_eq!(lines[1], "Log starting offset: 0");
    assert!(lines[2].starts_with(
        "baseOffset: 0 lastOffset: 1 count: 2 baseSequence: -1 lastSequence: -1 producerId: -1 producerEpoch: -1 \
         partitionLeaderEpoch: 2 isTransactional: false isControl: false deleteHorizonMs: OptionalLong.empty \
         position: 0 CreateTime: 1007 size: "
    ));
    assert!(lines[2].contains(" magic: 2 compresscodec: zstd crc: ") && lines[2].ends_with(" isvalid: true"));
    assert_eq!(
        lines[3],
        "| offset: 0 CreateTime: 1000 keySize: 1 valueSize: 3 sequence: -1 headerKeys: [h,] key: k payload: one"
    );
    assert_eq!(
        lines[4],
        "| offset: 1 CreateTime: 1007 keySize: 1 valueSize: -1 sequence: -1 headerKeys: [] key: k"
    );
    assert!(lines[5].contains("baseSequence: 41 lastSequence: 43 producerId: 7 producerEpoch: 1"));
    assert_eq!(
        lines[7],
        "| offset: 4 CreateTime: 1006 keySize: 1 valueSize: 5 sequence: 43 headerKeys: [] key: y payload: three"
    );
    assert_eq!(
        lines[9],
        "| offset: 5 CreateTime: 1009 keySize: 4 valueSize: 6 sequence: -1 headerKeys: [] endTxnMarker: ABORT \
         coordinatorEpoch: 3"
    );
    assert_eq!(lines.len(), 10);
    let expected = format!("Non-consecutive offsets in {}\n  2 is followed by 4\n", path.display());
    assert_eq!(err, expected);

    let only = DumpArgs { print_data_log: true, skip_record_metadata: true, ..args(&[&path]) };
    let (out, ..) = dumped(only);
    assert_eq!(out.lines().nth(3), Some("| key: k payload: one"));
    assert_eq!(out.lines().nth(9), Some(""), "nothing of a marker");
}

#[test]
fn damage_is_a_line_or_an_end() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let whole = segment();
    let name = "00000000000000000000.log";
    let path = write(directory.path(), name, &whole[..whole.len() - 1]);
    let (out, _, result) = dumped(args(&[&path]));
    assert_eq!(result, Ok(0));
    assert!(out.ends_with(&format!(" invalid bytes at the end of {name}\n")), "{out}");
    let (out, ..) = dumped(DumpArgs { max_bytes: 30, ..args(&[&path]) });
    assert_eq!(out.lines().count(), 2, "nothing is said of what was not to be read: {out}");

    let mut flipped = whole.clone();
    *flipped.last_mut().expect("it has bytes") ^= 1;
    let (out, ..) = dumped(args(&[&write(directory.path(), name, &flipped)]));
    assert_eq!(out.matches("isvalid: true").count(), 2);
    assert!(out.ends_with("isvalid: false\n"));

    let mut other_magic = whole.clone();
    other_magic[16] = 9;
    let (out, _, result) =
        dumped(DumpArgs { print_data_log: true, ..args(&[&write(directory.path(), name, &other_magic)]) });
    assert_eq!((result, out.lines().count()), (Ok(0), 10), "as Kafka goes on: {out}");
    assert!(out.lines().nth(2).is_some_and(|line| line.contains(" magic: 9 ")), "{out}");

    let zeros = write(directory.path(), name, &[&whole[..], &[0; 64]].concat());
    let (out, _, result) = dumped(args(&[&zeros]));
    assert_eq!(out.lines().count(), 5, "what comes before is printed");
    assert!(
        result.expect_err("it ends").starts_with("Found record size 0 smaller than minimum record overhead")
    );
    let missing = directory.path().join("00000000000000000009.log");
    let (out, _, result) = dumped(args(&[&missing]));
    assert_eq!(out, format!("Dumping {}\nLog starting offset: 9\n", missing.display()));
    assert!(result.expect_err("it ends").contains("No such file"));
    let odd = write(directory.path(), "partition.metadata", b"x");
    let (_, err, result) = dumped(args(&[&odd]));
    assert_eq!((err, result), (format!("Ignoring unknown file {}\n", odd.display()), Ok(0)));
    assert!(dumped(args(&[])).2.expect_err("no file").contains("[files]"));
}

#[test]
fn indexes_are_compared_with_their_segment() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let bytes = segment();
    let base = "00000000000000000000";
    write(directory.path(), &format!("{base}.log"), &bytes);
    let first = u32::from_be_bytes(bytes[8..12].try_into().expect("4 bytes")) + 12;
    let entry = |offset: i32, position: u32| [offset.to_be_bytes(), position.to_be_bytes()].concat();
    let good = [entry(1, 0), entry(4, first)].concat();
    let index = write(directory.path(), &format!("{base}.index"), &good);
    let time = |timestamp: i64, offset: i32| [&timestamp.to_be_bytes()[..], &offset.to_be_bytes()].concat();
    let times =
        write(directory.path(), &format!("{base}.timeindex"), &[time(1007, 1), time(1006, 4)].concat());

    let (out, err, result) = dumped(args(&[&index, &times]));
    assert!(out.contains(&format!("offset: 1 position: 0\noffset: 4 position: {first}\n")), "{out}");
    assert!(out.contains("timestamp: 1007 offset: 1\ntimestamp: 1006 offset: 4\n"));
    assert_eq!(result, Ok(0));
    let out_of_order = format!(
        "Found out of order timestamp in :{}\n  Index timestamp: 1006, Previously indexed timestamp: 1007\n",
        times.display()
    );
    assert_eq!(err, out_of_order);

    let zeros = [&entry(2, 0)[..], &[0; 16]].concat();
    let index = write(directory.path(), &format!("{base}.index"), &zeros);
    let (out, err, _) = dumped(DumpArgs { verify_index_only: true, ..args(&[&index]) });
    assert_eq!(out.lines().count(), 1, "what was never trimmed is not an entry: {out}");
    assert_eq!(err, format!("Mismatches in :{}\n  Index offset: 2, log offset: 1\n", index.display()));
    let sane = DumpArgs { index_sanity_check: true, ..args(&[&index]) };
    assert!(dumped(sane).0.ends_with(" passed sanity check.\n"));
    let index = write(directory.path(), &format!("{base}.index"), &good[..11]);
    let insane = DumpArgs { index_sanity_check: true, ..args(&[&index]) };
    assert!(dumped(insane).2.expect_err("it ends").contains("found 11 bytes which is neither"));
}

#[test]
fn the_metadata_log_is_printed_as_json() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let topic = TopicRecord { name: "a\"b".into(), topic_id: ottla_wire::Uuid([1; 16]) };
    let value = MetadataRecord::TopicRecord(topic).encode(0);
    let mut batch = BatchBuilder::new();
    let timestamp = TimestampMs(5);
    batch.append(&NewRecord { timestamp, key: None, value: Some(&value), headers: &[] });
    let path = write(directory.path(), "00000000000000000007-0000000003.checkpoint", &batch.build());
    let decoded = DumpArgs { cluster_metadata_decoder: true, ..args(&[&path]) };
    let (out, ..) = dumped(decoded);
    assert!(out.contains("Snapshot end offset: 7, epoch: 3\n"), "{out}");
    let payload = "payload: {\"type\":\"TOPIC_RECORD\",\"version\":0,\"data\":{\"name\":\"a\\\"b\",\
                   \"topicId\":\"AQEBAQEBAQEBAQEBAQEBAQ\"}}\n";
    assert!(out.ends_with(payload), "{out}");
}

#[test]
fn small_files_are_printed_entry_by_entry() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let words = [9_i64, 10, 20, 10].map(i64::to_be_bytes).concat();
    let aborted =
        write(directory.path(), "00000000000000000000.txnindex", &[&[0, 0][..], &words, b"torn"].concat());
    let (out, ..) = dumped(args(&[&aborted]));
    assert!(out.ends_with("version: 0 producerId: 9 firstOffset: 10 lastOffset: 20 lastStableOffset: 10\n"));

    let entry = [
        &7_i64.to_be_bytes()[..],
        &1_i16.to_be_bytes(),
        &2_i32.to_be_bytes(),
        &30_i64.to_be_bytes(),
        &5_i32.to_be_bytes(),
        &99_i64.to_be_bytes(),
        &(-1_i32).to_be_bytes(),
        &26_i64.to_be_bytes(),
    ]
    .concat();
    let body = [&1_i32.to_be_bytes()[..], &entry].concat();
    let snapshot = [&1_i16.to_be_bytes()[..], &crc32c::crc32c(&body).to_be_bytes(), &body].concat();
    let path = write(directory.path(), "00000000000000000031.snapshot", &snapshot);
    let (out, ..) = dumped(args(&[&path]));
    assert!(
        out.ends_with(
            "producerId: 7 producerEpoch: 1 coordinatorEpoch: -1 currentTxnFirstOffset: OptionalLong[26] \
             lastTimestamp: 99 firstSequence: 2147483645 lastSequence: 2 lastOffset: 30 offsetDelta: 5 timestamp: 99\n"
        ),
        "{out}"
    );
    for (delta, first) in [(i32::MIN, -2_147_483_646), (-3, 5)] {
        assert_eq!(super::small::first_sequence(2, delta), first, "of a damaged file, as Kafka counts");
    }
    let body = (-1_i32).to_be_bytes();
    let none = [&1_i16.to_be_bytes()[..], &crc32c::crc32c(&body).to_be_bytes(), &body].concat();
    let path = write(directory.path(), "00000000000000000032.snapshot", &none);
    let (_, err, result) = dumped(args(&[&path]));
    let null =
        "Snapshot failed schema validation: non-nullable field producerEntries was serialized as null\n";
    assert_eq!((err.as_str(), result), (null, Ok(0)));
    let mut damaged = snapshot;
    damaged[12] ^= 1;
    let path = write(directory.path(), "00000000000000000031.snapshot", &damaged);
    let (_, err, result) = dumped(args(&[&path]));
    assert!(err.starts_with("Snapshot is corrupt (CRC is no longer valid). Stored crc: "), "{err}");
    assert_eq!(result, Ok(0));
}

#[test]
fn a_list_of_files_may_end_with_commas() {
    let files = |list: &str| -> Vec<String> {
        split(std::ffi::OsStr::new(list)).map(|path| path.display().to_string()).collect()
    };
    assert_eq!(files("a,b"), ["a", "b"]);
    assert_eq!(files("a,b,,"), ["a", "b"]);
    assert_eq!(files(",a"), ["", "a"]);
    assert_eq!(files(""), [""]);
    assert_eq!(files(","), [] as [&str; 0]);
    let (out, err, result) = dumped(DumpArgs { files: vec!["".into()], ..args(&[]) });
    assert_eq!((out.as_str(), err.as_str(), result), ("Dumping \n", "Ignoring unknown file \n", Ok(0)));
}
