//! What it costs to find an offset or a time in the indexes of a full segment of 1 GiB.

use std::hint::black_box;

use ottla::ids::{FilePosition, Offset, TimestampMs};
use ottla::log::offset_index::OffsetIndex;
use ottla::log::time_index::{TimeIndex, TimestampOffset};

use crate::suite::Suite;

/// Entries of a segment of 1 GiB with one for each 4 KiB.
const ENTRIES: i64 = 262_144;
const INDEX_BYTES: usize = 10 << 20;

/// The next of a row of offsets that no cache foresees.
fn jump(at: &mut i64) -> i64 {
    *at = (*at + 1_234_577) % (ENTRIES * 4);
    *at
}

pub fn measure(suite: &mut Suite) {
    let mut offsets = OffsetIndex::new(Offset::ZERO, INDEX_BYTES);
    let mut times = TimeIndex::new(Offset::ZERO, INDEX_BYTES);
    for entry in 1..=ENTRIES {
        offsets.append(Offset(entry * 4), FilePosition(u64::try_from(entry).expect("positive") * 4096));
        let largest = TimestampOffset { timestamp: TimestampMs(entry * 4), offset: Offset(entry * 4) };
        assert!(times.append(largest), "there is room");
    }
    let mut at = 0;
    suite.time("offset index, look-up", || offsets.lookup(Offset(black_box(jump(&mut at)))));
    suite.time("time index, look-up", || times.lookup(TimestampMs(black_box(jump(&mut at)))));
}
