//! What a record of ours carries in its value: who sent it, which one it is, and when it was due.
//!
//! Pure. The first 24 bytes of a value, big-endian: a mark of two bytes, the client's number (2), the run's (4), the
//! record's number among those that this client sent to this partition (8), and when it was due in nanoseconds of
//! the wall clock (8). Values that are shorter carry nothing of this.

/// Bytes of a stamp: no shorter value has one.
pub(crate) const STAMP_BYTES: usize = 24;
/// What a stamp begins with.
const MARK: [u8; 2] = [0x0c, 0x7a];

/// A source of numbered records: one client of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LaneId {
    /// A random number that the run has.
    pub run: u32,
    /// The client.
    pub client: u16,
}

/// What one record says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Who sent it.
    pub lane: LaneId,
    /// Its number among the lane's records of its partition, from 0 without gaps.
    pub sequence: u64,
    /// When it was due, in nanoseconds of the wall clock.
    pub due_nanos: u64,
}

impl Stamp {
    pub(crate) fn to_bytes(self) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        bytes[..2].copy_from_slice(&MARK);
        bytes[2..4].copy_from_slice(&self.lane.client.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.lane.run.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[16..].copy_from_slice(&self.due_nanos.to_be_bytes());
        bytes
    }

    /// The stamp of a value; `None` for one that is not ours.
    pub(crate) fn of(value: &[u8]) -> Option<Stamp> {
        let bytes = value.first_chunk::<STAMP_BYTES>().filter(|bytes| bytes[..2] == MARK)?;
        let wide = |at: usize| bytes[at..].first_chunk().map(|part| u64::from_be_bytes(*part));
        Some(Stamp {
            lane: LaneId {
                run: bytes[4..].first_chunk().map(|part| u32::from_be_bytes(*part))?,
                client: bytes[2..].first_chunk().map(|part| u16::from_be_bytes(*part))?,
            },
            sequence: wide(8)?,
            due_nanos: wide(16)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_comes_back_and_other_values_have_none() {
        let lane = LaneId { run: 0xdead_beef, client: 513 };
        let stamp = Stamp { lane, sequence: u64::MAX - 1, due_nanos: 1_700_000_000_123_456_789 };
        let mut value = stamp.to_bytes().to_vec();
        assert_eq!(Stamp::of(&value), Some(stamp));
        value.extend_from_slice(b"filler");
        assert_eq!(Stamp::of(&value), Some(stamp));
        assert_eq!(Stamp::of(&value[..STAMP_BYTES - 1]), None);
        value[0] ^= 1;
        assert_eq!(Stamp::of(&value), None);
        assert_eq!(Stamp::of(&[b'A'; 100]), None);
    }
}
