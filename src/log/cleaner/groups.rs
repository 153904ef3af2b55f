//! Which neighbouring segments become one: so many as fit a segment of the configured size.
//!
//! Pure arithmetic over the numbers that a log keeps of its closed segments. As in Kafka's `groupSegmentsBySize` the
//! sizes before the cleaning count. The size of an index is not looked up but bounded: a segment of so many bytes gets
//! at most one entry for each `index.interval.bytes`.
//!
//! What must hold: the segments of a group are neighbours and in order; every offset of a group is at most 2^31 - 1
//! above its first base (KAFKA-6264), unless a single segment is its own group.

use crate::ids::Offset;
use crate::log::config::LogConfig;
use crate::log::segment::ClosedSegment;
use crate::log::time_index::TIME_ENTRY_BYTES;

/// What bounds a cleaned segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLimits {
    /// `segment.bytes`.
    pub segment_bytes: u64,
    /// `segment.index.bytes`.
    pub index_bytes: u64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u64,
}

impl GroupLimits {
    /// The limits that a log's settings set.
    #[must_use]
    pub fn of(config: &LogConfig) -> GroupLimits {
        GroupLimits {
            segment_bytes: config.segment_bytes,
            index_bytes: config.segment_index_bytes as u64,
            index_interval_bytes: config.index_interval_bytes,
        }
    }

    fn fit(&self, bytes: u64) -> bool {
        let entries = bytes / self.index_interval_bytes.saturating_add(1) + 1;
        bytes <= self.segment_bytes && entries.saturating_mul(TIME_ENTRY_BYTES as u64) <= self.index_bytes
    }
}

/// Parts the segments into groups, in order; `upper` is the base offset of what follows the last one.
#[must_use]
pub fn group_segments(
    segments: &[ClosedSegment],
    upper: Offset,
    limits: GroupLimits,
) -> Vec<Vec<ClosedSegment>> {
    let mut groups: Vec<Vec<ClosedSegment>> = Vec::new();
    let mut bytes = 0_u64;
    for (at, segment) in segments.iter().enumerate() {
        let end = segments.get(at + 1).map_or(upper, |next| next.base_offset);
        if let Some(group) = groups.last_mut() {
            let span = end.0 - 1 - group[0].base_offset.0;
            let within = segment.bytes == 0 || span <= i64::from(i32::MAX);
            if within && limits.fit(bytes + segment.bytes) {
                bytes += segment.bytes;
                group.push(*segment);
                continue;
            }
        }
        bytes = segment.bytes;
        groups.push(vec![*segment]);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TimestampMs;
    use proptest::prelude::*;

    fn segment(base: i64, bytes: u64) -> ClosedSegment {
        ClosedSegment {
            base_offset: Offset(base),
            bytes,
            largest_timestamp: None,
            modified: TimestampMs(0),
            has_aborted: false,
        }
    }

    const LIMITS: GroupLimits =
        GroupLimits { segment_bytes: 1_000, index_bytes: 1 << 20, index_interval_bytes: 4_096 };

    fn bases(segments: &[ClosedSegment], upper: i64, limits: GroupLimits) -> Vec<Vec<i64>> {
        let groups = group_segments(segments, Offset(upper), limits);
        groups.iter().map(|group| group.iter().map(|segment| segment.base_offset.0).collect()).collect()
    }

    #[test]
    fn groups_end_at_the_size_of_a_segment() {
        let segments =
            [segment(0, 400), segment(10, 600), segment(20, 1), segment(30, 2_000), segment(40, 3)];
        assert_eq!(bases(&segments, 50, LIMITS), [vec![0, 10], vec![20], vec![30], vec![40]]);
        assert_eq!(bases(&[], 50, LIMITS), Vec::<Vec<i64>>::new());
    }

    #[test]
    fn offsets_of_a_group_fit_31_bits() {
        let far = i64::from(i32::MAX);
        let segments = [segment(0, 10), segment(far - 5, 10), segment(far + 1, 10)];
        assert_eq!(bases(&segments, far + 9, LIMITS), [vec![0, far - 5], vec![far + 1]]);
        let empty = [segment(0, 10), segment(far + 1, 0), segment(far + 9, 10)];
        assert_eq!(bases(&empty, far + 20, LIMITS), [vec![0, far + 1], vec![far + 9]]);
        let near = [segment(0, 10), segment(5, 10)];
        assert_eq!(bases(&near, far + 2, LIMITS), [vec![0], vec![5]], "a gap behind counts as offsets");
    }

    #[test]
    fn indexes_of_a_group_fit_theirs() {
        let limits = GroupLimits { segment_bytes: 1_000_000, index_bytes: 36, index_interval_bytes: 99 };
        let segments = [segment(0, 100), segment(10, 150), segment(20, 100)];
        assert_eq!(bases(&segments, 30, limits), [vec![0, 10], vec![20]], "three entries of 12 bytes");
    }

    proptest! {
        #[test]
        fn no_segment_is_lost_and_no_group_too_large(
            sizes in prop::collection::vec((0_u64..700, 1_i64..2_000_000_000), 0..30),
        ) {
            let mut base = 0;
            let segments: Vec<_> = sizes.iter().map(|&(bytes, span)| {
                let segment = segment(base, bytes);
                base += span;
                segment
            }).collect();
            let groups = group_segments(&segments, Offset(base), LIMITS);
            prop_assert_eq!(groups.concat(), segments);
            for group in groups.iter().filter(|group| group.len() > 1) {
                prop_assert!(group.iter().map(|segment| segment.bytes).sum::<u64>() <= 1_000);
            }
        }
    }
}
