//! A value that is overwritten as a whole: a committed offset, a configuration.
//!
//! A write whose fate is unknown may take effect at any time until the broker's process ends. A read shows the last
//! write that was acknowledged before it began, or one that may have come after that.

use crate::client::Outcome;
use crate::history::{Answer, OpId};

/// What is known of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It has begun.
    Open,
    /// It took effect before the event of this number.
    Done(u64),
    /// Nobody knows.
    Unknown,
}

#[derive(Debug)]
struct Write<V> {
    op: OpId,
    value: V,
    begun: u64,
    fate: Fate,
}

/// The writes of one register that may still be seen.
#[derive(Debug)]
pub(super) struct Register<V> {
    writes: Vec<Write<V>>,
}

impl<V> Default for Register<V> {
    fn default() -> Self {
        Register { writes: Vec::new() }
    }
}

impl<V: PartialEq + std::fmt::Debug> Register<V> {
    /// A write begins with the event of number `begun`.
    pub fn begin(&mut self, op: OpId, begun: u64, value: V) {
        self.writes.push(Write { op, value, begun, fate: Fate::Open });
    }

    /// A write ends with the event of number `now`.
    pub fn end(&mut self, op: OpId, now: u64, outcome: &Outcome<Answer>) {
        let Some(at) = self.writes.iter().position(|write| write.op == op) else { return };
        match outcome {
            Outcome::Ok(_) => self.writes[at].fate = Fate::Done(now),
            Outcome::Unknown(_) => self.writes[at].fate = Fate::Unknown,
            Outcome::Refused(_) | Outcome::NotSent => drop(self.writes.remove(at)),
            Outcome::Garbled(_) => {}
        }
    }

    /// Whether a read that began with the event of number `since` and ends now may show `value`; a write that it shows
    /// has taken effect.
    pub fn read(&mut self, since: u64, boot_ends: &[u64], value: Option<&V>) -> bool {
        match value {
            None => !self.writes.iter().any(|write| matches!(write.fate, Fate::Done(at) if at < since)),
            Some(value) => (0..self.writes.len())
                .any(|at| self.writes[at].value == *value && self.may_show(at, since, boot_ends)),
        }
    }

    /// Whether some write had taken effect before the event of number `since`.
    pub fn is_certain(&self, since: u64) -> bool {
        self.writes.iter().any(|write| matches!(write.fate, Fate::Done(at) if at < since))
    }

    /// Every value that such a read may show, for people.
    pub fn candidates(&self, since: u64, boot_ends: &[u64]) -> String {
        let shown = (0..self.writes.len()).filter(|&at| self.may_show(at, since, boot_ends));
        let texts: Vec<String> = shown.map(|at| format!("{:?}", self.writes[at].value)).collect();
        texts.join(" or ")
    }

    /// Whether no other write certainly came between the write at `at` and a read that began at `since`.
    fn may_show(&self, at: usize, since: u64, boot_ends: &[u64]) -> bool {
        let write = &self.writes[at];
        let done_by = match write.fate {
            Fate::Done(done) => done,
            // It may be done at any time while the process that took it lives.
            Fate::Open | Fate::Unknown => {
                boot_ends.iter().copied().find(|&end| end > write.begun).unwrap_or(u64::MAX)
            }
        };
        !self.writes.iter().any(|other| {
            other.op != write.op
                && other.begun > done_by
                && matches!(other.fate, Fate::Done(done) if done < since)
        })
    }
}
