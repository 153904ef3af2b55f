//! Whether a load was what was asked for, and who was its limit: the generator or the broker.
//!
//! Pure. The generator was the limit where its core was full, or where records were made late though nothing but itself
//! stood in the way, by as much as the load lacks; the broker was where records had to wait for room in windows and
//! buffers. Whoever was kept waiting for seconds has much to make good, and is late by a little then.

use std::time::Duration;

/// Records that were made later than this by the generator's own fault count against it.
const LAG_MAX: Duration = Duration::from_millis(10);
/// A core is full from this part of it on.
const CPU_FULL: f64 = 0.97;
/// A generator that was late with less than this was kept from running.
const CPU_WAITED: f64 = 0.8;
/// A load that gets this part of its rate has reached it.
const REACHED: f64 = 0.95;
/// A load may last so much longer than its schedule.
const OVERTIME: Duration = Duration::from_secs(1);
/// The last answer may come so much later than the schedule's end without a word about it.
const LAST_ANSWER: Duration = Duration::from_millis(200);

/// What is known of a load that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence {
    /// What the load is counted in: `records` or `connections`.
    pub what: &'static str,
    /// Records that fell due, and over which time; `None` without a rate.
    pub due: Option<(u64, Duration)>,
    /// Records that were made of those.
    pub made: u64,
    /// From the start to the last answer.
    pub elapsed: Duration,
    /// The 99th percentile of the generator's own lateness.
    pub lag_p99: Duration,
    /// The fullest core of load, as a part of its time.
    pub cpu: f64,
}

/// What follows from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Lines for people.
    pub lines: Vec<String>,
    /// Whether the load was not what was asked for.
    pub failed: bool,
}

/// Judges a load.
pub(crate) fn judge(evidence: &Evidence) -> Verdict {
    let Evidence { what, due, made, elapsed, lag_p99, cpu } = *evidence;
    let percent = (cpu * 100.0).round().min(100.0);
    let is_late = lag_p99 > LAG_MAX;
    let is_full = cpu >= CPU_FULL;
    let waited = if cpu < CPU_WAITED { ": it had to wait for the core" } else { "" };
    let generator = format!("the generator was the limit (CPU {percent:.0} % of its core{waited})");
    let Some((due, length)) = due else {
        let lines = if is_full { vec![generator] } else { Vec::new() };
        return Verdict { lines, failed: false };
    };
    let is_short = (made as f64) < due as f64 * REACHED;
    let after = elapsed.saturating_sub(length);
    let is_long = elapsed.as_secs_f64() * REACHED > length.as_secs_f64();
    let is_slow = is_long && after > OVERTIME;
    if is_short || is_slow {
        let over = elapsed.max(length).as_secs_f64().max(f64::MIN_POSITIVE);
        let rate = due as f64 / length.as_secs_f64().max(f64::MIN_POSITIVE);
        let unmade = Duration::from_secs_f64(due.saturating_sub(made) as f64 / rate.max(f64::MIN_POSITIVE));
        let lost = unmade.max(after);
        let is_own_fault = is_full || is_late && lag_p99 * 2 >= lost;
        let who = if is_own_fault { generator } else { "the broker was the limit".to_owned() };
        let line = format!("rate not reached: {:.0} of {rate:.0} {what}/s; {who}", made as f64 / over);
        return Verdict { lines: vec![line], failed: true };
    }
    let mut lines = Vec::new();
    if is_long && after > LAST_ANSWER {
        let after = after.as_secs_f64();
        lines.push(format!(
            "the last answer came {after:.1} s after the last of the {what} was due: \
             {what}/s count that time, too"
        ));
    }
    if is_late {
        let late = lag_p99.as_secs_f64() * 1e3;
        lines.push(format!("{generator}: one record in a hundred was made more than {late:.0} ms late"));
    }
    Verdict { lines, failed: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn good() -> Evidence {
        Evidence {
            what: "records",
            due: Some((10_000, 10 * SECOND)),
            made: 10_000,
            elapsed: 10 * SECOND + SECOND / 10,
            lag_p99: Duration::from_micros(80),
            cpu: 0.4,
        }
    }

    #[test]
    fn a_load_that_reached_its_rate_has_nothing_to_say() {
        assert_eq!(judge(&good()), Verdict::default());
        let busy = Evidence { cpu: 0.99, ..good() };
        assert_eq!(
            judge(&busy),
            Verdict::default(),
            "a full core that keeps up is none of anybody's business"
        );
        let short = Evidence { due: Some((10, SECOND / 100)), made: 10, elapsed: SECOND / 10, ..good() };
        assert_eq!(judge(&short), Verdict::default(), "an answer takes its time");
    }

    #[test]
    fn an_answer_that_came_late_explains_a_rate_that_looks_low() {
        let late = Evidence { elapsed: 10 * SECOND + 9 * SECOND / 10, ..good() };
        let line = "the last answer came 0.9 s after the last of the records was due: records/s count that time, too";
        assert_eq!(judge(&late), Verdict { lines: vec![line.to_owned()], failed: false });
        let both = Evidence { lag_p99: Duration::from_millis(25), ..late };
        assert_eq!(judge(&both).lines.len(), 2, "a late generator has its line beside it");
        let of_an_hour = Evidence { due: Some((3_600_000, 3_600 * SECOND)), made: 3_600_000, ..late };
        let of_an_hour = Evidence { elapsed: 3_601 * SECOND, ..of_an_hour };
        assert_eq!(judge(&of_an_hour), Verdict::default(), "it changes nothing that anybody sees");
    }

    #[test]
    fn a_late_generator_says_so() {
        let late = Evidence { lag_p99: Duration::from_millis(25), cpu: 0.99, ..good() };
        let line = "the generator was the limit (CPU 99 % of its core): \
                    one record in a hundred was made more than 25 ms late";
        assert_eq!(judge(&late), Verdict { lines: vec![line.to_owned()], failed: false });
        let kept_waiting = judge(&Evidence { cpu: 0.15, ..late }).lines.concat();
        assert!(
            kept_waiting.contains("(CPU 15 % of its core: it had to wait for the core)"),
            "{kept_waiting}"
        );
    }

    #[test]
    fn a_rate_that_was_not_reached_fails_and_names_the_limit() {
        let broker = Evidence { made: 6_000, ..good() };
        let line = "rate not reached: 594 of 1000 records/s; the broker was the limit";
        assert_eq!(judge(&broker), Verdict { lines: vec![line.to_owned()], failed: true });
        let stalled = Evidence { lag_p99: SECOND / 5, elapsed: 16 * SECOND, ..good() };
        let line = "rate not reached: 625 of 1000 records/s; the broker was the limit";
        assert_eq!(
            judge(&stalled).lines,
            [line],
            "what was late by a little was kept waiting for much longer"
        );
        let late = Evidence { lag_p99: 4 * SECOND, cpu: 0.3, what: "connections", ..stalled };
        let line = "rate not reached: 625 of 1000 connections/s; the generator was the limit \
                    (CPU 30 % of its core: it had to wait for the core)";
        assert_eq!(judge(&late).lines, [line]);
        let generator = Evidence { lag_p99: SECOND, cpu: 0.994, elapsed: 20 * SECOND, ..good() };
        let line =
            "rate not reached: 500 of 1000 records/s; the generator was the limit (CPU 99 % of its core)";
        assert_eq!(judge(&generator), Verdict { lines: vec![line.to_owned()], failed: true });
    }

    #[test]
    fn without_a_rate_only_a_full_core_is_worth_a_line() {
        let free = Evidence { due: None, ..good() };
        assert_eq!(judge(&free), Verdict::default());
        let line = "the generator was the limit (CPU 98 % of its core)";
        let full = Evidence { cpu: 0.98, ..free };
        assert_eq!(judge(&full), Verdict { lines: vec![line.to_owned()], failed: false });
    }
}
