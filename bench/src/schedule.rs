//! When which batch of a load is due: arithmetic alone, with no clock of its own.
//!
//! All connections draw their batches from one numbered sequence, so that the sequence is sent in order by whichever
//! connection is free. What must hold: the batches of a load carry exactly its records; the time at which a batch is
//! due depends on its number and on the rate, never on how earlier batches fared.

use std::time::Duration;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// The plan of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// Records of each batch but the last.
    pub batch_records: u32,
    /// Records of the whole load; `None` for a load that only time ends.
    pub records: Option<u64>,
    /// Records per second over all connections; `None` for as many as the window of each connection allows.
    pub rate: Option<u64>,
    /// When the load ends, counted from its start.
    pub end: Option<Duration>,
}

/// A batch that has its place in the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Records of the batch.
    pub records: u32,
    /// When it is due, counted from the start; `None` for at once.
    pub due: Option<Duration>,
}

/// What to do about a ticket now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// Send it. Its latency counts from here.
    Go {
        /// When it was due, or now where it was due at once; counted from the start.
        intended: Duration,
    },
    /// It is not due yet.
    Wait(Duration),
    /// The load ends before it is due, or has ended.
    Over,
}

impl Schedule {
    /// The batch of this number, from 0; `None` behind the last one.
    pub(crate) fn ticket(&self, number: u64) -> Option<Ticket> {
        let before = number.checked_mul(u64::from(self.batch_records))?;
        let records = match self.records {
            None => self.batch_records,
            Some(total) => {
                let left = total.checked_sub(before).filter(|left| *left > 0)?;
                u32::try_from(left).map_or(self.batch_records, |left| left.min(self.batch_records))
            }
        };
        Some(Ticket { records, due: self.rate.map(|rate| time_of(before, rate)) })
    }

    /// What to do about `ticket` at `now`, counted from the start.
    pub(crate) fn departure(&self, ticket: &Ticket, now: Duration) -> Departure {
        let over = |moment| self.end.is_some_and(|end| moment >= end);
        match ticket.due {
            _ if over(now) => Departure::Over,
            None => Departure::Go { intended: now },
            Some(due) if due <= now => Departure::Go { intended: due },
            Some(due) if over(due) => Departure::Over,
            Some(due) => Departure::Wait(due - now),
        }
    }

    /// Records that a load of this rate and length has fallen due; `None` where it lacks either.
    pub(crate) fn records_due(&self) -> Option<u64> {
        let (rate, end) = (self.rate?, self.end?);
        // A batch is due with its first record: as many batches as begin before the end.
        let nanos_per_batch = u128::from(self.batch_records) * NANOS_PER_SECOND;
        let batches = (end.as_nanos() * u128::from(rate)).div_ceil(nanos_per_batch);
        let records = batches * u128::from(self.batch_records);
        let records = u64::try_from(records).unwrap_or(u64::MAX);
        Some(self.records.map_or(records, |total| total.min(records)))
    }
}

/// When record `number` is due at `rate` records per second.
fn time_of(number: u64, rate: u64) -> Duration {
    assert!(rate > 0, "a rate of 0 is refused with the flags");
    let nanos = u128::from(number) * NANOS_PER_SECOND / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn schedule() -> Schedule {
        Schedule { batch_records: 10, records: None, rate: Some(1_000), end: None }
    }

    #[test]
    fn the_batches_carry_exactly_the_records() {
        for records in [1, 9, 10, 11, 1_000, 1_001] {
            let schedule = Schedule { records: Some(records), ..schedule() };
            let tickets: Vec<Ticket> = (0..).map_while(|number| schedule.ticket(number)).collect();
            assert_eq!(tickets.iter().map(|t| u64::from(t.records)).sum::<u64>(), records);
            assert!(tickets.iter().all(|t| t.records > 0 && t.records <= 10));
            assert_eq!(tickets.len() as u64, records.div_ceil(10));
        }
    }

    #[test]
    fn a_batch_is_due_by_its_number_and_without_drift() {
        let odd = Schedule { rate: Some(3), batch_records: 1, ..schedule() };
        assert_eq!(odd.ticket(1).and_then(|t| t.due), Some(Duration::from_nanos(333_333_333)));
        assert_eq!(odd.ticket(3_000_000).and_then(|t| t.due), Some(Duration::from_secs(1_000_000)));
        assert_eq!(schedule().ticket(7).and_then(|t| t.due), Some(70 * MS));
        let free = Schedule { rate: None, ..schedule() };
        assert_eq!(free.ticket(7), Some(Ticket { records: 10, due: None }));
    }

    #[test]
    fn a_late_batch_counts_from_when_it_was_due() {
        let schedule = schedule();
        let ticket = schedule.ticket(5).expect("no end");
        assert_eq!(schedule.departure(&ticket, 20 * MS), Departure::Wait(30 * MS));
        assert_eq!(schedule.departure(&ticket, 50 * MS), Departure::Go { intended: 50 * MS });
        assert_eq!(schedule.departure(&ticket, 900 * MS), Departure::Go { intended: 50 * MS });
        let free = Schedule { rate: None, ..schedule };
        let ticket = free.ticket(5).expect("no end");
        assert_eq!(free.departure(&ticket, 900 * MS), Departure::Go { intended: 900 * MS });
    }

    #[test]
    fn nothing_leaves_at_the_end_or_is_awaited_beyond_it() {
        let schedule = Schedule { end: Some(50 * MS), ..schedule() };
        let last = schedule.ticket(4).expect("due at 40 ms");
        let beyond = schedule.ticket(5).expect("due at 50 ms");
        assert_eq!(schedule.departure(&last, 49 * MS), Departure::Go { intended: 40 * MS });
        assert_eq!(schedule.departure(&last, 50 * MS), Departure::Over);
        assert_eq!(schedule.departure(&beyond, Duration::ZERO), Departure::Over);
    }

    #[test]
    fn what_is_due_is_what_would_leave_on_time() {
        for (rate, end) in [(1_000, 50 * MS), (1_000, 51 * MS), (3, 1_000 * MS), (7_777, 333 * MS)] {
            let schedule = Schedule { rate: Some(rate), end: Some(end), ..schedule() };
            let on_time = (0..)
                .map_while(|number| schedule.ticket(number))
                .take_while(|ticket| ticket.due.is_some_and(|due| due < end));
            let expected = on_time.map(|ticket| u64::from(ticket.records)).sum::<u64>();
            assert_eq!(schedule.records_due(), Some(expected), "{rate} records/s for {end:?}");
        }
        assert_eq!(schedule().records_due(), None);
        let short = Schedule { records: Some(15), end: Some(1_000 * MS), ..schedule() };
        assert_eq!(short.records_due(), Some(15));
    }

    #[test]
    fn a_number_beyond_all_records_has_no_batch() {
        assert_eq!(schedule().ticket(u64::MAX), None);
        assert_eq!(Schedule { records: Some(10), ..schedule() }.ticket(1), None);
    }
}
