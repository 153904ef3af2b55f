//! Journals as they are written, torn at any byte, gone round many times, and full of other lives' remains.

use proptest::prelude::*;

use super::*;
use crate::log::journal::{Reserved, Ring};

const EPOCH: u64 = 77;
const BLOCKS: u64 = 16;

/// An entry in words.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    partition: i32,
    topic: String,
    base: i64,
    position: u64,
    bytes: Vec<u8>,
}

fn owned(entry: &Entry<'_>) -> Owned {
    Owned {
        partition: entry.head.id.partition,
        topic: entry.head.topic.to_owned(),
        base: entry.head.segment_base.0,
        position: entry.head.position.0,
        bytes: entry.bytes.to_vec(),
    }
}

fn read_all(file: &[u8]) -> Vec<Owned> {
    read(file).expect("a header").entries.iter().map(owned).collect()
}

fn new_file(epoch: u64) -> Vec<u8> {
    let file_bytes = RING_START + BLOCKS * BLOCK_BYTES as u64;
    let mut file = vec![0; usize::try_from(file_bytes).expect("small")];
    for copy in 0..2 {
        file[copy * BLOCK_BYTES..][..32].copy_from_slice(&JournalHeader { epoch, file_bytes }.encode());
    }
    file
}

fn frame_of(entries: &[Owned], stamp: FrameStamp) -> Vec<u8> {
    let bytes: usize = entries.iter().map(|entry| entry_bytes(&entry.topic, entry.bytes.len())).sum();
    let mut frame = vec![0xEE; (FRAME_HEADER_BYTES + bytes).next_multiple_of(BLOCK_BYTES)];
    let mut writer = FrameWriter::new(&mut frame);
    for entry in entries {
        let head = EntryHead {
            id: TopicIdPartition { topic_id: Uuid(*b"the-topic-its-id"), partition: entry.partition },
            topic: &entry.topic,
            segment_base: Offset(entry.base),
            position: FilePosition(entry.position),
        };
        writer.entry(&head, entry.bytes.len(), |into| into.copy_from_slice(&entry.bytes));
    }
    writer.finish(stamp);
    frame
}

fn blocks_of(entries: &[Owned]) -> u64 {
    let bytes: usize = entries.iter().map(|entry| entry_bytes(&entry.topic, entry.bytes.len())).sum();
    (FRAME_HEADER_BYTES + bytes).div_ceil(BLOCK_BYTES) as u64
}

fn position_of(reserved: Reserved) -> u64 {
    RING_START + reserved.block * BLOCK_BYTES as u64
}

fn stamp_of(reserved: Reserved, epoch: u64) -> FrameStamp {
    let Reserved { sequence, oldest, .. } = reserved;
    FrameStamp { epoch, sequence, oldest, position: position_of(reserved) }
}

fn put(file: &mut [u8], frame: &[u8], reserved: Reserved) {
    let at = usize::try_from(position_of(reserved)).expect("small");
    file[at..at + frame.len()].copy_from_slice(frame);
}

prop_compose! {
    fn an_entry()(
        partition in 0_i32..5,
        topic in "[a-z]{1,9}",
        base in 0_i64..100,
        position in 0_u64..1_000_000,
        bytes in proptest::collection::vec(any::<u8>(), 0..5_000),
    ) -> Owned {
        Owned { partition, topic, base, position, bytes }
    }
}

fn frames() -> impl Strategy<Value = Vec<(Vec<Owned>, usize)>> {
    proptest::collection::vec((proptest::collection::vec(an_entry(), 1..4), 0_usize..4), 1..40)
}

/// Writes frames round and round, giving up the oldest as each says; returns those that the last one asks for.
fn write_laps(file: &mut [u8], epoch: u64, frames: &[(Vec<Owned>, usize)]) -> Vec<(Reserved, Vec<Owned>)> {
    let mut ring = Ring::new(BLOCKS);
    let mut needed: Vec<(Reserved, Vec<Owned>)> = Vec::new();
    let mut asked_for = Vec::new();
    for (entries, give_up) in frames {
        let give_up = (*give_up).min(needed.len());
        for (reserved, entries) in needed.drain(..give_up) {
            ring.release(reserved.sequence, u32::try_from(entries.len()).expect("few"));
        }
        let count = u32::try_from(entries.len()).expect("few");
        let Some(reserved) = ring.reserve(blocks_of(entries), count) else { continue };
        put(file, &frame_of(entries, stamp_of(reserved, epoch)), reserved);
        needed.push((reserved, entries.clone()));
        asked_for.clone_from(&needed);
    }
    asked_for
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_needed_is_read_in_order_after_any_number_of_laps(frames in frames()) {
        let mut file = new_file(EPOCH);
        let needed = write_laps(&mut file, EPOCH, &frames);
        let oldest = needed.last().expect("the last one").0.oldest;
        let expected: Vec<Owned> = needed.into_iter()
            .filter(|(reserved, _)| reserved.sequence >= oldest)
            .flat_map(|(_, entries)| entries)
            .collect();
        let read_again = read(&file).expect("a header");
        prop_assert_eq!(read_again.missing, 0);
        prop_assert_eq!(read_again.entries.iter().map(owned).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn nothing_of_another_life_is_believed(before in frames(), now in frames()) {
        let mut file = new_file(EPOCH + 1);
        write_laps(&mut file, EPOCH + 1, &before);
        let header = new_file(EPOCH);
        file[..2 * BLOCK_BYTES].copy_from_slice(&header[..2 * BLOCK_BYTES]);
        prop_assert_eq!(read_all(&file), Vec::<Owned>::new());
        let needed = write_laps(&mut file, EPOCH, &now);
        let oldest = needed.last().expect("the last one").0.oldest;
        let expected: Vec<Owned> = needed.into_iter()
            .filter(|(reserved, _)| reserved.sequence >= oldest)
            .flat_map(|(_, entries)| entries)
            .collect();
        prop_assert_eq!(read_all(&file), expected);
    }

    #[test]
    fn any_changed_byte_of_a_frame_takes_it_out_and_no_other(
        frames in proptest::collection::vec(proptest::collection::vec(an_entry(), 1..3), 2..5),
        pick in any::<u32>(),
        flip in 1_u8..=255,
    ) {
        let mut file = new_file(EPOCH);
        let all: Vec<(Vec<Owned>, usize)> = frames.into_iter().map(|entries| (entries, 0)).collect();
        let needed = write_laps(&mut file, EPOCH, &all);
        let victim = pick as usize % needed.len();
        let (reserved, entries) = &needed[victim];
        let bytes: usize = entries.iter().map(|entry| entry_bytes(&entry.topic, entry.bytes.len())).sum();
        let at = usize::try_from(position_of(*reserved)).expect("small");
        let at = at + (pick as usize / 7) % (FRAME_HEADER_BYTES + bytes);
        file[at] ^= flip;
        let expected: Vec<Owned> = needed.iter().enumerate()
            .filter(|(index, _)| *index != victim)
            .flat_map(|(_, (_, entries))| entries.clone())
            .collect();
        prop_assert_eq!(read_all(&file), expected);
    }

    #[test]
    fn arbitrary_bytes_are_read_without_harm(
        bytes in proptest::collection::vec(any::<u8>(), 0..20_000),
        length in any::<u32>(),
        count in any::<u32>(),
    ) {
        let _ = read(&bytes);
        // A frame with a right checksum and lengths that lie.
        let mut file = new_file(EPOCH);
        let at = usize::try_from(RING_START).expect("small");
        file[at..at + 8].copy_from_slice(FRAME_MAGIC);
        file[at + 8..at + 12].copy_from_slice(&VERSION.to_le_bytes());
        for (place, value) in [(16, EPOCH), (24, 1), (32, 1), (40, RING_START)] {
            file[at + place..at + place + 8].copy_from_slice(&value.to_le_bytes());
        }
        file[at + 48..at + 52].copy_from_slice(&length.to_le_bytes());
        file[at + 52..at + 56].copy_from_slice(&count.to_le_bytes());
        for (to, byte) in file[at + 64..].iter_mut().zip(&bytes) {
            *to = *byte;
        }
        let end = at + FRAME_HEADER_BYTES + length as usize;
        if end <= file.len() {
            let crc = crc32c::crc32c(&file[at + CRC_FROM..end]);
            file[at + 12..at + 16].copy_from_slice(&crc.to_le_bytes());
        }
        let _ = read(&file);
    }
}

fn plain(partition: i32, bytes: usize) -> Owned {
    Owned { partition, topic: "topic".into(), base: 0, position: 4, bytes: vec![partition as u8; bytes] }
}

#[test]
fn the_newest_frame_torn_at_any_byte_is_not_there_and_all_before_it_is() {
    let mut before = new_file(EPOCH);
    let mut ring = Ring::new(BLOCKS);
    // A lap whose remains the torn frame is written over.
    for sequence in 0..8 {
        let entries = [plain(sequence, 6_000)];
        let reserved = ring.reserve(blocks_of(&entries), 1).expect("room");
        put(&mut before, &frame_of(&entries, stamp_of(reserved, EPOCH)), reserved);
        if sequence < 7 {
            ring.release(reserved.sequence, 1);
        }
    }
    let entries = [plain(100, 5_000), plain(101, 700)];
    let reserved = ring.reserve(blocks_of(&entries), 2).expect("room");
    assert_eq!(reserved.block, 0, "the ring goes round");
    let frame = frame_of(&entries, stamp_of(reserved, EPOCH));
    let used = FRAME_HEADER_BYTES + entry_bytes("topic", 5_000) + entry_bytes("topic", 700);
    for cut in 0..=frame.len() {
        let mut file = before.clone();
        put(&mut file, &frame[..cut], reserved);
        let found = read_all(&file);
        if cut >= used {
            assert_eq!(found, [plain(7, 6_000), plain(100, 5_000), plain(101, 700)], "cut at {cut}");
        } else {
            assert_eq!(found.last(), Some(&plain(7, 6_000)), "cut at {cut}");
            assert!(found.iter().all(|entry| entry.partition < 100), "cut at {cut}");
        }
    }
}

#[test]
fn a_frame_inside_a_record_is_not_a_frame() {
    let mut ring = Ring::new(BLOCKS);
    let reserved = ring.reserve(4, 1).expect("room");
    // The inner frame names the outer one's epoch and stands on a block, but not in its own place.
    let forged = FrameStamp { epoch: EPOCH, sequence: 900, oldest: 900, position: RING_START };
    let inner = frame_of(&[plain(9, 100)], forged);
    let pad = BLOCK_BYTES - FRAME_HEADER_BYTES - ENTRY_HEADER_BYTES - "topic".len();
    let bytes = [vec![0; pad], inner].concat();
    let outer = Owned { bytes, ..plain(1, 0) };
    let mut file = new_file(EPOCH);
    put(&mut file, &frame_of(std::slice::from_ref(&outer), stamp_of(reserved, EPOCH)), reserved);
    assert_eq!(read_all(&file), [outer]);
    // Also where the outer frame is torn.
    let at = usize::try_from(RING_START).expect("small");
    file[at + 20] ^= 1;
    assert_eq!(read_all(&file), []);
}

#[test]
fn one_header_is_enough_and_none_says_why() {
    let mut file = new_file(EPOCH);
    file[3] ^= 1;
    assert_eq!(read_all(&file), []);
    file[BLOCK_BYTES + 17] ^= 1;
    assert_eq!(read(&file), Err(JournalError::Unfinished));
    let reserved = Ring::new(BLOCKS).reserve(1, 1).expect("room");
    put(&mut file, &frame_of(&[plain(1, 10)], stamp_of(reserved, EPOCH)), reserved);
    assert_eq!(read(&file), Err(JournalError::Damaged));
    assert_eq!(read(&[]), Err(JournalError::Unfinished));
    assert_eq!(read(&vec![7; file.len()]), Err(JournalError::Damaged), "somebody wrote that");
}
