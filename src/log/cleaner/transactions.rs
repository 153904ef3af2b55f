//! Transactions as a cleaning meets them: whose records were aborted, and whether a marker still has records.
//!
//! Owned by one cleaning, over all segments in order; nothing is on disk but the transaction index of the cleaned
//! segments, which gets what [`on_marker`](CleanedTransactions::on_marker) says. The rules are those of Kafka's
//! `CleanedTransactionMetadata`.
//!
//! What must hold: every aborted transaction that overlaps a segment is added before the segment is walked
//! (KAFKA-8351, KAFKA-13727); a marker and its index entry stay until a pass has met no batch of its transaction.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{Offset, ProducerId};
use crate::log::txn_index::AbortedTransaction;
use crate::protocol::records::{BatchHeader, ControlRecordType};

/// An aborted transaction that has begun and not ended yet.
#[derive(Clone, Copy, Debug)]
struct Aborting {
    transaction: AbortedTransaction,
    /// A batch of it was met.
    observed: bool,
}

/// What becomes of a control batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkerVerdict {
    /// No batch of its transaction is left, so it may go once its delete horizon has passed.
    pub may_go: bool,
    /// The entry that the transaction index of the cleaned segment gets.
    pub entry: Option<AbortedTransaction>,
}

impl MarkerVerdict {
    const STAYS: MarkerVerdict = MarkerVerdict { may_go: false, entry: None };
    const MAY_GO: MarkerVerdict = MarkerVerdict { may_go: true, entry: None };
}

/// The transactions of one walk over the segments of a log.
#[derive(Clone, Debug, Default)]
pub struct CleanedTransactions {
    /// Aborted transactions that the walk has not reached yet, by their first offsets.
    ahead: BTreeMap<Offset, AbortedTransaction>,
    aborting: BTreeMap<ProducerId, Aborting>,
    /// Producers with records of a transaction that is not aborted.
    committing: BTreeSet<ProducerId>,
}

impl CleanedTransactions {
    /// No transaction known.
    #[must_use]
    pub fn new() -> CleanedTransactions {
        CleanedTransactions::default()
    }

    /// Adds the aborted transactions that overlap the next segment; those that were added before change nothing.
    pub fn add(&mut self, aborted: impl IntoIterator<Item = AbortedTransaction>) {
        self.ahead.extend(aborted.into_iter().map(|aborted| (aborted.first_offset, aborted)));
    }

    /// Whether the records of this data batch belong to an aborted transaction.
    pub fn on_batch(&mut self, header: &BatchHeader) -> bool {
        self.reach(header.last_offset());
        if !header.attributes.is_transactional() {
            return false;
        }
        match self.aborting.get_mut(&header.producer_id) {
            Some(aborting) => {
                aborting.observed = true;
                true
            }
            None => {
                self.committing.insert(header.producer_id);
                false
            }
        }
    }

    /// What becomes of this control batch; `kind` is that of its record, `None` where it was emptied before.
    pub fn on_marker(&mut self, header: &BatchHeader, kind: Option<ControlRecordType>) -> MarkerVerdict {
        self.reach(header.last_offset());
        match kind {
            None => MarkerVerdict::MAY_GO,
            Some(ControlRecordType::Abort) => match self.aborting.remove(&header.producer_id) {
                Some(Aborting { transaction, observed: true }) => {
                    MarkerVerdict { may_go: false, entry: Some(transaction) }
                }
                Some(Aborting { observed: false, .. }) | None => MarkerVerdict::MAY_GO,
            },
            Some(ControlRecordType::Commit) => {
                let had_records = self.committing.remove(&header.producer_id);
                if had_records { MarkerVerdict::STAYS } else { MarkerVerdict::MAY_GO }
            }
            Some(
                ControlRecordType::LeaderChange
                | ControlRecordType::SnapshotHeader
                | ControlRecordType::SnapshotFooter
                | ControlRecordType::KRaftVersion
                | ControlRecordType::KRaftVoters
                | ControlRecordType::Unknown(_),
            ) => MarkerVerdict::STAYS,
        }
    }

    /// Begins the aborted transactions whose first offsets the walk has reached.
    fn reach(&mut self, offset: Offset) {
        while let Some(entry) = self.ahead.first_entry()
            && *entry.key() <= offset
        {
            let transaction = entry.remove();
            let begun = self.aborting.get(&transaction.producer_id);
            // One that is known goes on; one that has ended without its marker being met makes room.
            if begun.is_none_or(|begun| begun.transaction.last_offset < transaction.first_offset) {
                self.aborting.insert(transaction.producer_id, Aborting { transaction, observed: false });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::testing::{batch, control};

    fn aborted(producer: i64, first: i64, last: i64) -> AbortedTransaction {
        AbortedTransaction {
            producer_id: ProducerId(producer),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(last + 1),
        }
    }

    fn data(offset: i64, producer: i64) -> BatchHeader {
        batch(offset, 1).producer(producer, 0, 0).transactional().header()
    }

    fn marker(offset: i64, producer: i64) -> BatchHeader {
        control(offset, producer, 0).header()
    }

    const ABORT: Option<ControlRecordType> = Some(ControlRecordType::Abort);
    const COMMIT: Option<ControlRecordType> = Some(ControlRecordType::Commit);

    #[test]
    fn markers_stay_while_their_records_do() {
        let mut walk = CleanedTransactions::new();
        walk.add([aborted(1, 10, 12)]);
        assert!(walk.on_batch(&data(10, 1)));
        assert!(!walk.on_batch(&data(11, 2)));
        let verdict = walk.on_marker(&marker(12, 1), ABORT);
        assert_eq!(verdict, MarkerVerdict { may_go: false, entry: Some(aborted(1, 10, 12)) });
        assert_eq!(walk.on_marker(&marker(13, 2), COMMIT), MarkerVerdict::STAYS);
        assert_eq!(walk.on_marker(&marker(14, 2), COMMIT), MarkerVerdict::MAY_GO);
        assert_eq!(walk.on_marker(&marker(15, 1), ABORT), MarkerVerdict::MAY_GO);
        assert_eq!(walk.on_marker(&marker(16, 1), None), MarkerVerdict::MAY_GO);
        let leader = Some(ControlRecordType::LeaderChange);
        assert_eq!(walk.on_marker(&marker(17, 1), leader), MarkerVerdict::STAYS);
    }

    #[test]
    fn a_transaction_over_two_segments_is_added_twice_and_counts_once() {
        let mut walk = CleanedTransactions::new();
        walk.add([aborted(1, 10, 60)]);
        assert!(walk.on_batch(&data(10, 1)));
        walk.add([aborted(1, 10, 60), aborted(1, 70, 80)]);
        assert!(walk.on_batch(&data(50, 1)));
        assert_eq!(walk.on_marker(&marker(60, 1), ABORT).entry, Some(aborted(1, 10, 60)));
        assert!(!walk.on_batch(&data(65, 1)), "the next one of the producer was not aborted");
        assert_eq!(walk.on_marker(&marker(66, 1), COMMIT), MarkerVerdict::STAYS);
        assert!(walk.on_batch(&data(70, 1)));
    }

    #[test]
    fn records_outside_of_transactions_are_never_aborted() {
        let mut walk = CleanedTransactions::new();
        walk.add([aborted(1, 10, 20)]);
        assert!(!walk.on_batch(&batch(11, 1).producer(1, 0, 0).header()));
        assert!(!walk.on_batch(&batch(12, 1).header()));
        assert!(walk.on_batch(&data(13, 1)));
    }
}
