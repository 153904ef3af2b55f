//! HdrHistogram's percentile distribution as text, which the HdrHistogram plotter and its like read.
//!
//! Columns, widths and the three lines at the end are those of `outputPercentileDistribution` of HdrHistogram's Java
//! library with five steps per half distance, and a test holds them against its output. Values are milliseconds.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;

use super::RunResult;
use super::file::FileError;

/// Steps between a percentile and the one that is half as far from 100 %.
const STEPS_PER_HALF_DISTANCE: u32 = 5;
const NANOS_PER_MILLI: f64 = 1e6;

/// Writes the distribution of a histogram of nanoseconds.
///
/// # Errors
/// Those of `out`.
pub fn print(histogram: &Histogram<u64>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut seen = 0;
    for step in histogram.iter_quantiles(STEPS_PER_HALF_DISTANCE) {
        seen += step.count_since_last_iteration();
        let value = step.value_iterated_to() as f64 / NANOS_PER_MILLI;
        let quantile = step.quantile_iterated_to();
        write!(out, "{value:12.3} {quantile:2.12} {seen:10}")?;
        match quantile < 1.0 {
            true => writeln!(out, " {:14.2}", 1.0 / (1.0 - quantile))?,
            false => writeln!(out)?,
        }
    }
    let (mean, deviation) = (histogram.mean() / NANOS_PER_MILLI, histogram.stdev() / NANOS_PER_MILLI);
    let max = histogram.max() as f64 / NANOS_PER_MILLI;
    writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]")?;
    writeln!(out, "#[Max     = {max:12.3}, Total count    = {:12}]", histogram.len())?;
    let sub_buckets = sub_buckets(histogram);
    writeln!(out, "#[Buckets = {:12}, SubBuckets     = {sub_buckets:12}]", buckets(histogram, sub_buckets))
}

/// Slots of the first bucket: the power of two that tells apart twice ten to the significant digits.
fn sub_buckets(histogram: &Histogram<u64>) -> u64 {
    (2 * 10_u64.pow(u32::from(histogram.sigfig()))).next_power_of_two()
}

/// Buckets that reach the highest value, each twice as wide as the one before.
fn buckets(histogram: &Histogram<u64>, sub_buckets: u64) -> u32 {
    let mut reached = u128::from(sub_buckets) << histogram.low().ilog2();
    let mut buckets = 1;
    while reached <= u128::from(histogram.high()) {
        reached <<= 1;
        buckets += 1;
    }
    buckets
}

/// Writes each latency of a run: to `path` itself where there is one, else to `path` with `-<name>` before its
/// extension. Gives the files.
///
/// # Errors
/// [`FileError::Io`].
pub fn write_files(result: &RunResult, path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut written = Vec::new();
    for (name, histogram) in &result.latencies_ns {
        let file = if result.latencies_ns.len() == 1 { path.to_owned() } else { beside(path, name) };
        let mut text = Vec::new();
        let outcome = print(histogram, &mut text).and_then(|()| fs::write(&file, text));
        outcome.map_err(|error| FileError::Io { path: file.clone(), error })?;
        written.push(file);
    }
    Ok(written)
}

fn beside(path: &Path, name: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map_or("hgrm".into(), |extension| extension.to_string_lossy());
    path.with_file_name(format!("{stem}-{name}.{extension}"))
}
