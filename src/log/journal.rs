//! The journal of a shard: small durable writes of many partitions as one write, in a ring of blocks.
//!
//! Owned by one shard for one log dir. On disk it is one file, `ottla-journal-<shard>` at the top of the log dir, where
//! Kafka ignores plain files: two copies of a header, a block each, and behind them the ring. One group commit is one
//! [`frame`]: a header and the entries of every partition that had something small to write, in whole blocks. An entry
//! is a piece of a segment file, whole batches, with the place where they belong. The segments receive the same bytes
//! later in larger writes, and only they are the truth: the file lives from the first need of it until the next clean
//! stop, or until the next start has played it into the segments.
//!
//! | module | decides |
//! |---|---|
//! | [`frame`] | the bytes of the header, of frames and entries; what of a file is believed |
//! | [`ring`] | where the next frame goes, and which frames are still needed |
//! | [`replay`] | what of an entry a segment lacks |
//!
//! Invariants, which the shell and a simulated disk may rely on:
//! - A frame is believed when its CRC-32C, its epoch and its own position in the file are right; nothing else is. The
//!   epoch is drawn at random for each file, so that bytes of another life, or bytes that a client has put into a
//!   record, are never a frame of this one.
//! - Frames have consecutive sequence numbers. Those that are being written at the same time hold different partitions,
//!   and nothing in them was acknowledged: a crash may tear any of them, and each that is whole counts for itself.
//! - A frame names the oldest frame that was still needed when it was written. Frames before that one are never
//!   played: their entries were durable in the segments by then. A frame is overwritten only when it is not needed.
//! - A segment whose successor has a name in the directory is whole on disk. So entries are played into the last
//!   segment of a directory and into ones behind it, never into a segment that may since have been cleaned.
//! - A segment file is removed only after a later one has its name; entries of a removed one are therefore not played.
//! - Playing is idempotent: bytes that are there already are left alone, and a valid batch that stands in a segment
//!   where the journal has another one wins, and ends what is played for that partition.
//! - An entry names the topic by id and name: the remains of a deleted topic never reach one of the same name.
//! - Whoever shall ever cut the last segment of a log has to see to it that its entries are gone from the journal
//!   first; nothing does so yet.

pub mod frame;
pub mod replay;
pub mod ring;

pub use frame::{Entry, EntryHead, FrameStamp, JournalError, JournalHeader};
pub use replay::Replay;
pub use ring::{Reserved, Ring};

/// What a journal's file name begins with; the number of its shard follows.
pub const JOURNAL_FILE_PREFIX: &str = "ottla-journal-";

/// The name of the journal of the shard with this number.
#[must_use]
pub fn journal_file_name(shard: u16) -> String {
    format!("{JOURNAL_FILE_PREFIX}{shard}")
}

/// Whether a file of this name is a journal, of whichever number of shards there was.
#[must_use]
pub fn is_journal_file(name: &str) -> bool {
    let number = name.strip_prefix(JOURNAL_FILE_PREFIX).unwrap_or_default();
    !number.is_empty() && number.len() <= 5 && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_known_by_its_name() {
        assert_eq!(journal_file_name(0), "ottla-journal-0");
        assert!(is_journal_file(&journal_file_name(511)));
        for name in
            ["ottla-journal-", "ottla-journal-x", "ottla-journal-1.damaged", "ottla-journal", "topic-0"]
        {
            assert!(!is_journal_file(name), "{name}");
        }
    }
}
