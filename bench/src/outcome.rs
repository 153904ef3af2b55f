//! From what was counted to what people and programs read: the table, the files, the exit code.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use crate::args::plan::{Mode, RunPlan};
use crate::engine::{Findings, Shared};
use crate::error::BenchError;
use crate::html;
use crate::result::{FileError, RunResult, Verification, hgrm, rfc3339, table, write};
use crate::tally::nanos;
use crate::verdict::Verdict;
use crate::verify::Fault;
use crate::watch::{Watched, flows};

/// The result of a run that is about to begin.
pub(crate) fn begin(mode: Mode, title: &str) -> RunResult {
    RunResult::begin(mode.name(), title)
}

/// What every load has of settings.
pub(crate) fn settings(bootstrap: &str, run: &RunPlan) -> BTreeMap<String, String> {
    let settings = [
        ("bootstrap.servers", bootstrap.to_owned()),
        ("threads", run.cores.count.to_string()),
        ("warmup.seconds", run.warmup.as_secs_f64().to_string()),
    ];
    settings.map(|(name, value)| (name.to_owned(), value)).into()
}

/// Fills a result with what was counted.
pub(crate) fn fill(result: &mut RunResult, mut watched: Watched, shared: &Shared) {
    result.notes.extend(watched.early.take());
    if shared.started().is_some() {
        let began = Duration::from_nanos(shared.wall(nanos(watched.began)));
        result.started_at = rfc3339(SystemTime::UNIX_EPOCH + began);
    }
    result.duration_seconds = watched.measured.as_secs_f64();
    result.generator_cpu_seconds = watched.cpu.iter().map(|cpu| cpu.as_secs_f64()).sum();
    result.totals = flows(&watched.total);
    result.intervals = watched.intervals;
    for (kind, counts) in std::mem::take(&mut watched.total.kinds) {
        if !counts.latency.is_empty() {
            result.latencies_ns.insert(kind.latency_name().to_owned(), counts.latency);
        }
    }
    let total = &watched.total;
    let counters = [
        ("produce_requests", total.requests),
        ("sent_batch_bytes", total.sent_batch_bytes),
        ("fetched_batch_bytes", total.fetched_batch_bytes),
        ("held_back_records", total.held_back),
    ];
    let counted = counters.into_iter().filter(|(_, count)| *count > 0);
    result.counters.extend(counted.map(|(name, count)| (name.to_owned(), count)));
    result.errors = watched.total.errors;
    let findings = shared.findings();
    if findings.checked > 0 || findings.count() > 0 || findings.incomplete > 0 {
        result.verification = Some(verification(&findings));
    }
}

fn verification(findings: &Findings) -> Verification {
    let of = |fault| findings.records.get(&fault).copied().unwrap_or(0);
    Verification {
        checked_records: findings.checked,
        lost_records: of(Fault::Lost),
        repeated_records: of(Fault::Duplicate),
        disordered_records: of(Fault::Reordered),
        corrupt_batches: findings.damaged_batches,
        unknown_records: of(Fault::Unknown),
        surplus_records: of(Fault::Surplus),
        read_partitions: findings.partitions,
        incomplete_partitions: findings.incomplete,
        unnumbered_records: findings.unnumbered,
        only_batches: findings.only_batches,
        details: findings.first.iter().map(ToString::to_string).collect(),
    }
}

/// Writes the files that were asked for, prints the table, and gives the exit code: 1 where records failed or are not
/// as they were sent, or where the load was not what was asked for; that of the signal that ended the load. A file
/// that cannot be written keeps none of the others from being so, and an output that is gone keeps none at all.
pub(crate) fn finish(
    mut result: RunResult,
    verdict: Verdict,
    run: &RunPlan,
    out: &mut dyn Write,
) -> Result<u8, BenchError> {
    result.notes.extend(run.notes.iter().cloned().chain(verdict.lines));
    let written = write_files(&result, run);
    // Who ends a load by a signal has often taken its output away with it.
    let printed =
        print(&result, out).or_else(|error| if run.interrupt.is_signal() { Ok(()) } else { Err(error) });
    written?;
    printed?;
    let is_clean = result.verification.as_ref().is_none_or(Verification::is_clean);
    let code = u8::from(verdict.failed || result.error_count() > 0 || !is_clean);
    Ok(run.interrupt.code().unwrap_or(code))
}

fn print(result: &RunResult, out: &mut dyn Write) -> io::Result<()> {
    table::print(result, out)?;
    let details = result.verification.iter().flat_map(|verification| &verification.details);
    for detail in details {
        writeln!(out, "\n{detail}")?;
    }
    out.flush()
}

/// Writes all files that it can, and gives the first failure.
fn write_files(result: &RunResult, run: &RunPlan) -> Result<(), FileError> {
    let json = run.json.as_ref().map_or(Ok(()), |path| write(result, path));
    let hgrm = run.hgrm.as_ref().map_or(Ok(()), |path| hgrm::write_files(result, path).map(drop));
    let page = || html::runs::page(std::slice::from_ref(result));
    let report = run.report.as_ref().map_or(Ok(()), |path| html::write(&page(), path));
    json.and(hgrm).and(report)
}
