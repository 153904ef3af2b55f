//! When a connection has been idle for too long (`connections.max.idle.ms`), or stands still while memory is short.
//!
//! A connection is idle while nothing is read or written. One that only waits for this broker (a long poll, a slow
//! disk) is not idle. One that stands still in the middle of a frame, or does not take its replies, holds memory: it
//! may do so as long as an idle one, but only [`STALL_MAX`] while others wait for memory. One whose client has gone is
//! closed when nothing has moved for [`GONE_MAX`]: Kafka closes it at once, and a client that ended its own direction
//! alone would miss replies that are on their way.

use std::time::Duration;

use crate::time::Monotonic;

/// How long a connection may stand still with memory in hand while others wait for memory.
const STALL_MAX: Duration = Duration::from_secs(10);

/// How long requests of a client that has gone may take.
const GONE_MAX: Duration = Duration::from_secs(5);
/// How often a connection that reads nothing looks whether its client is still there.
const DEAF_LOOK: Duration = Duration::from_secs(5);

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Nothing: it waits for the client's next request.
    Resting,
    /// It waits for this broker's answer to a request.
    Answering,
    /// The same, and nothing is read meanwhile, so that only a look at the socket shows that the client has gone.
    Deaf,
    /// It waits for the client: for the rest of a frame, or to take its replies.
    Standing,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing, and look again at this moment (or when the activity changes).
    LookAt(Monotonic),
    /// Nothing, until the activity changes.
    Wait,
    /// Close: idle for `connections.max.idle.ms`.
    Idle,
    /// Close: it stood still while others waited for memory.
    Stalled,
    /// Close: the client has gone, and what it asked for takes long.
    Gone,
}

/// The clock of one connection.
#[derive(Clone, Copy, Debug)]
pub struct IdleClock {
    /// The last read or write that moved bytes.
    moved: Monotonic,
    /// `connections.max.idle.ms`; `None` for no limit.
    idle_max: Option<Duration>,
    /// Its client has ended its direction.
    gone: bool,
}

impl IdleClock {
    /// The clock of a connection accepted at `now`. A negative limit of the setting is none.
    #[must_use]
    pub fn new(now: Monotonic, idle_max_ms: i64) -> IdleClock {
        IdleClock {
            moved: now,
            idle_max: u64::try_from(idle_max_ms).ok().map(Duration::from_millis),
            gone: false,
        }
    }

    /// Bytes were read or written, or an answer became ready.
    pub fn on_moved(&mut self, now: Monotonic) {
        self.moved = self.moved.max(now);
    }

    /// The client has ended its direction of the connection.
    pub fn on_gone(&mut self, now: Monotonic) {
        if !self.gone {
            self.gone = true;
            self.on_moved(now);
        }
    }

    /// What to do at `now`; `memory_is_short` when others wait for memory.
    #[must_use]
    pub fn judge(&self, now: Monotonic, activity: Activity, memory_is_short: bool) -> Verdict {
        if self.gone {
            let due = self.moved.after(GONE_MAX);
            return if due > now { Verdict::LookAt(due) } else { Verdict::Gone };
        }
        let still = now.since(self.moved);
        let idle = self.idle_max.is_some_and(|max| still >= max);
        let idle_at = self.idle_max.map(|max| self.moved.after(max));
        match activity {
            // It may rest at the next look.
            Activity::Answering => self.idle_max.map_or(Verdict::Wait, |max| Verdict::LookAt(now.after(max))),
            Activity::Deaf => {
                Verdict::LookAt(now.after(self.idle_max.map_or(DEAF_LOOK, |max| max.min(DEAF_LOOK))))
            }
            Activity::Resting | Activity::Standing if idle => Verdict::Idle,
            Activity::Resting => idle_at.map_or(Verdict::Wait, Verdict::LookAt),
            Activity::Standing if memory_is_short && still >= STALL_MAX => Verdict::Stalled,
            Activity::Standing => {
                // Memory may become short at any time: it is looked at again and again.
                let due = self.moved.after(STALL_MAX);
                let look = if due > now { due } else { now.after(STALL_MAX) };
                Verdict::LookAt(idle_at.map_or(look, |idle_at| idle_at.min(look)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Monotonic {
        Monotonic(seconds * 1_000_000_000)
    }

    #[test]
    fn a_resting_connection_is_closed_after_the_setting() {
        let mut clock = IdleClock::new(at(5), 60_000);
        assert_eq!(clock.judge(at(5), Activity::Resting, false), Verdict::LookAt(at(65)));
        clock.on_moved(at(50));
        assert_eq!(clock.judge(at(65), Activity::Resting, true), Verdict::LookAt(at(110)));
        assert_eq!(clock.judge(at(110), Activity::Resting, false), Verdict::Idle);
    }

    #[test]
    fn waiting_for_the_broker_is_not_idle() {
        let clock = IdleClock::new(at(0), 60_000);
        assert_eq!(clock.judge(at(1_000), Activity::Answering, true), Verdict::LookAt(at(1_060)));
    }

    #[test]
    fn what_reads_nothing_looks_after_its_client() {
        for idle_max_ms in [60_000, -1] {
            let clock = IdleClock::new(at(0), idle_max_ms);
            assert_eq!(clock.judge(at(1_000), Activity::Deaf, true), Verdict::LookAt(at(1_005)));
        }
        assert_eq!(IdleClock::new(at(0), 2_000).judge(at(9), Activity::Deaf, false), Verdict::LookAt(at(11)));
    }

    #[test]
    fn a_client_that_has_gone_is_waited_for_as_long_as_something_moves() {
        let mut clock = IdleClock::new(at(0), -1);
        clock.on_gone(at(100));
        clock.on_gone(at(103));
        for activity in [Activity::Answering, Activity::Deaf, Activity::Standing] {
            assert_eq!(clock.judge(at(104), activity, false), Verdict::LookAt(at(105)));
            assert_eq!(clock.judge(at(105), activity, false), Verdict::Gone);
        }
        clock.on_moved(at(104));
        assert_eq!(clock.judge(at(105), Activity::Standing, false), Verdict::LookAt(at(109)));
    }

    #[test]
    fn standing_still_is_allowed_until_memory_is_short() {
        let clock = IdleClock::new(at(0), 60_000);
        assert_eq!(clock.judge(at(1), Activity::Standing, true), Verdict::LookAt(at(10)));
        assert_eq!(clock.judge(at(10), Activity::Standing, false), Verdict::LookAt(at(20)));
        assert_eq!(clock.judge(at(20), Activity::Standing, true), Verdict::Stalled);
        assert_eq!(clock.judge(at(55), Activity::Standing, false), Verdict::LookAt(at(60)));
        assert_eq!(clock.judge(at(60), Activity::Standing, false), Verdict::Idle);
    }

    #[test]
    fn a_negative_setting_is_no_limit() {
        let clock = IdleClock::new(at(0), -1);
        assert_eq!(clock.judge(at(1_000_000), Activity::Resting, true), Verdict::Wait);
        assert_eq!(clock.judge(at(1_000_000), Activity::Standing, false), Verdict::LookAt(at(1_000_010)));
        assert_eq!(clock.judge(at(1_000_000), Activity::Standing, true), Verdict::Stalled);
    }
}
