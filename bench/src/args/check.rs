//! Refusals: every value that a flag cannot have is one line that names flag, value and what would be right.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use ottla_shards::host;
use ottla_tools::output::check_writable;

use super::plan::RECORDS_MAX;
use crate::error::BenchError;
use crate::result::table::grouped;
use crate::values::{self, RateSpec};

/// A year: no load is longer.
const LENGTH_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// Records or connections per second.
const RATE_MAX: u64 = RECORDS_MAX;
/// What a time may be.
pub(crate) const TIME_ALLOWED: &str = "must be a time of up to a year, as 500ms, 30s or 5m";
/// Descriptors that a load keeps for connections that come and go, files and the like.
const DESCRIPTORS_SPARE: usize = 128;
/// What an executor has of them: rings, wakers, timers.
const THREAD_DESCRIPTORS: usize = 16;

/// Says that a flag cannot have a value.
pub(crate) fn refused(flag: &str, value: impl ToString, allowed: impl Into<String>) -> BenchError {
    BenchError::Argument { flag: flag.to_owned(), value: value.to_string(), allowed: allowed.into() }
}

/// A number in a range.
pub(crate) fn within(flag: &str, value: u64, range: RangeInclusive<u64>) -> Result<u64, BenchError> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(refused(flag, value, format!("must be {} to {}", range.start(), range.end())))
}

/// A number in a range of signed 32-bit numbers.
pub(crate) fn signed(flag: &str, value: u64, range: RangeInclusive<u64>) -> Result<i32, BenchError> {
    let value = within(flag, value, range)?;
    Ok(i32::try_from(value).expect("the range is one of signed 32-bit numbers"))
}

/// A number as people write it, in a range.
pub(crate) fn count(flag: &str, text: &str, range: RangeInclusive<u64>) -> Result<u64, BenchError> {
    let allowed = || format!("must be {} to {}, as 5000, 10k or 1.5M", range.start(), range.end());
    values::count(text)
        .filter(|value| range.contains(value))
        .ok_or_else(|| refused(flag, format!("{text:?}"), allowed()))
}

/// A size as people write it, in a range.
pub(crate) fn bytes(flag: &str, text: &str, range: RangeInclusive<u64>) -> Result<u64, BenchError> {
    let allowed = || format!("must be {} to {} bytes, as 1024 or 64k", range.start(), range.end());
    values::bytes(text)
        .filter(|value| range.contains(value))
        .ok_or_else(|| refused(flag, format!("{text:?}"), allowed()))
}

/// A size as people write it, in a range of signed 32-bit numbers.
pub(crate) fn signed_bytes(flag: &str, text: &str, range: RangeInclusive<u64>) -> Result<i32, BenchError> {
    let value = bytes(flag, text, range)?;
    Ok(i32::try_from(value).expect("the range is one of signed 32-bit numbers"))
}

/// A time, at most a year.
pub(crate) fn time(flag: &str, text: &str) -> Result<Duration, BenchError> {
    values::duration(text)
        .filter(|time| *time <= LENGTH_MAX)
        .ok_or_else(|| refused(flag, format!("{text:?}"), TIME_ALLOWED))
}

/// A time above zero.
pub(crate) fn positive_time(flag: &str, text: &str) -> Result<Duration, BenchError> {
    let time = time(flag, text)?;
    if time.is_zero() { Err(refused(flag, format!("{text:?}"), "must be above 0")) } else { Ok(time) }
}

/// A rate or a ramp.
pub(crate) fn rate(flag: &str, text: &str) -> Result<RateSpec, BenchError> {
    let rate = values::rate(text).ok_or_else(|| {
        refused(flag, format!("{text:?}"), "must be a rate above 0, as 5000, 50k or 10k..200k")
    })?;
    reachable(flag, text, rate)
}

/// A rate that is none of a broken script: behind it, arithmetic goes on for ever.
fn reachable(flag: &str, text: &str, rate: RateSpec) -> Result<RateSpec, BenchError> {
    match rate.from.max(rate.to) <= RATE_MAX {
        true => Ok(rate),
        false => Err(refused(flag, format!("{text:?}"), format!("must be at most {RATE_MAX} a second"))),
    }
}

/// A rate without a ramp.
pub(crate) fn throughput(flag: &str, text: &str) -> Result<RateSpec, BenchError> {
    let rate = values::count(text).filter(|rate| *rate > 0).map(|rate| RateSpec { from: rate, to: rate });
    let rate = rate.ok_or_else(|| {
        let allowed = "must be records per second, as 5000 or 50k, or -1 for as many as go";
        refused(flag, format!("{text:?}"), allowed)
    })?;
    reachable(flag, text, rate)
}

/// The name of a topic.
pub(crate) fn topic(flag: &str, name: &str) -> Result<String, BenchError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let named = !name.is_empty() && name.len() <= ottla::limits::TOPIC_NAME_BYTES_MAX;
    if named && name != "." && name != ".." && name.chars().all(legal) {
        return Ok(name.to_owned());
    }
    Err(refused(flag, format!("{name:?}"), "must be 1 to 249 of a-z A-Z 0-9 . _ - and not . or .."))
}

/// Addresses of brokers.
pub(crate) fn bootstrap(addresses: &str) -> Result<String, BenchError> {
    let has_port = |address: &str| {
        address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    if addresses.split(',').all(|address| has_port(address.trim())) {
        return Ok(addresses.to_owned());
    }
    Err(refused("--bootstrap-server", format!("{addresses:?}"), "must be HOST:PORT, or several with commas"))
}

/// A file that a load is to write at its end, if it is to: whoever cannot write it is told before the load.
pub(crate) fn output(flag: &str, path: Option<&Path>) -> Result<(), BenchError> {
    let Some(path) = path else { return Ok(()) };
    check_writable(path).map_err(|error| refused(flag, path.display(), error.to_string()))
}

/// Files that a load is to write: two in one place are refused, whatever they are called.
pub(crate) fn apart(outputs: &[(&str, &Path)]) -> Result<(), BenchError> {
    for (number, (flag, path)) in outputs.iter().enumerate() {
        if let Some((other, _)) = outputs[..number].iter().find(|(_, other)| is_same_file(other, path)) {
            return Err(refused(
                flag,
                path.display(),
                format!("is the file of {other}: give it another one"),
            ));
        }
    }
    Ok(())
}

/// Whether two paths lead to one file. What is there and is no file, as a terminal is, takes any number of texts.
pub(crate) fn is_same_file(one: &Path, other: &Path) -> bool {
    let is_device = |path: &Path| path.metadata().is_ok_and(|there| !there.is_file());
    let place = |path: &Path| {
        path.canonicalize().ok().or_else(|| {
            // It is not there yet, but its directory is.
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            Some(directory.unwrap_or(Path::new(".")).canonicalize().ok()?.join(path.file_name()?))
        })
    };
    !is_device(one)
        && (one == other || place(one).is_some_and(|place_of_one| place(other) == Some(place_of_one)))
}

/// Connections that a load has open at once, against the descriptors that this process may have.
pub(crate) fn connections(flag: &str, wanted: u64, threads: usize) -> Result<(), BenchError> {
    let limit = host::raise_descriptor_limit();
    let own = std::fs::read_dir("/proc/self/fd").map_or(0, |open| open.count());
    connections_within(flag, wanted, (limit, own + DESCRIPTORS_SPARE + threads * THREAD_DESCRIPTORS))
}

fn connections_within(flag: &str, wanted: u64, (limit, own): (u64, usize)) -> Result<(), BenchError> {
    let allowed = limit.saturating_sub(own as u64);
    // Where the system does not tell its limit, the load finds it.
    if limit == 0 || wanted <= allowed {
        return Ok(());
    }
    let why = format!("this process may have {} descriptors (ulimit -Hn)", grouped(limit));
    let kept = format!("and keeps {} for other things", grouped(own as u64));
    Err(refused(flag, grouped(wanted), format!("must be at most {}: {why} {kept}", grouped(allowed))))
}

/// Numbers of CPUs: `2,3` or `4-7`.
pub(crate) fn cpus(text: &str, available: &[usize]) -> Result<Vec<usize>, BenchError> {
    let part = |part: &str| -> Option<RangeInclusive<usize>> {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.trim().parse().ok()?..=to.trim().parse().ok()?)
    };
    let ranges: Option<Vec<_>> = text.split(',').map(part).collect();
    let cpus: Vec<usize> = ranges.into_iter().flatten().flatten().take(4096).collect();
    if !cpus.is_empty() && cpus.iter().all(|cpu| available.contains(cpu)) {
        return Ok(cpus);
    }
    let allowed = format!("must be CPUs of this process, as 2,3 or 4-7; it may use {available:?}");
    Err(refused("--client-cpus", format!("{text:?}"), allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_lists_and_ranges_of_those_that_there_are() {
        assert_eq!(cpus("1,3-5", &[0, 1, 2, 3, 4, 5]).ok(), Some(vec![1, 3, 4, 5]));
        for bad in ["", "9", "x", "3-1", "1,,2"] {
            let error = cpus(bad, &[0, 1]).expect_err(bad).to_string();
            assert!(error.starts_with("--client-cpus ") && error.contains("[0, 1]"), "{error}");
        }
    }

    #[test]
    fn more_connections_than_descriptors_are_refused_with_both_numbers() {
        let check = |wanted| connections_within("--idle", wanted, (20_000, 150));
        check(19_850).expect("as many as there are");
        let text = check(19_851).expect_err("one too many").to_string();
        let line = "--idle 19,851: must be at most 19,850: this process may have 20,000 descriptors (ulimit -Hn) \
                    and keeps 150 for other things";
        assert_eq!(text, line);
        connections_within("--idle", 1_000_000, (0, 150)).expect("nobody knows better");
    }

    #[test]
    fn refusals_name_flag_value_and_what_is_allowed() {
        let error = |result: Result<u64, BenchError>| result.expect_err("refused").to_string();
        assert_eq!(error(within("--clients", 0, 1..=1_000)), "--clients 0: must be 1 to 1000");
        let text = error(count("--num-records", "0", 1..=9));
        assert_eq!(text, "--num-records \"0\": must be 1 to 9, as 5000, 10k or 1.5M");
        let text = error(bytes("--record-size", "x", 0..=9));
        assert_eq!(text, "--record-size \"x\": must be 0 to 9 bytes, as 1024 or 64k");
        let text = rate("--rate", "0").expect_err("refused").to_string();
        assert_eq!(text, "--rate \"0\": must be a rate above 0, as 5000, 50k or 10k..200k");
        let text = rate("--rate", "1..2000G").expect_err("refused").to_string();
        assert_eq!(text, "--rate \"1..2000G\": must be at most 1000000000000 a second");
        let text = throughput("--throughput", "1000000000001").expect_err("refused").to_string();
        assert_eq!(text, "--throughput \"1000000000001\": must be at most 1000000000000 a second");
        rate("--rate", "1..1000G").expect("the most");
        let text = positive_time("--duration", "0s").expect_err("refused").to_string();
        assert_eq!(text, "--duration \"0s\": must be above 0");
        let text = topic("--topic", "a/b").expect_err("refused").to_string();
        assert_eq!(text, "--topic \"a/b\": must be 1 to 249 of a-z A-Z 0-9 . _ - and not . or ..");
        let text = bootstrap("localhost").expect_err("refused").to_string();
        assert_eq!(text, "--bootstrap-server \"localhost\": must be HOST:PORT, or several with commas");
    }
}
