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
    for Step { value_ns, percentile, count } in distribution(histogram) {
        let (value, quantile) = (value_ns as f64 / NANOS_PER_MILLI, percentile / 100.0);
        write!(out, "{value:12.3} {quantile:2.12} {count:10}")?;
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

/// A point of a distribution: so many of the values are not above this one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The value, in nanoseconds.
    pub value_ns: u64,
    /// 0 to 100.
    pub percentile: f64,
    /// How many values are not above this one.
    pub count: u64,
}

/// The distribution of a histogram in steps that halve with each halving of the distance to 100 %, which is the last
/// one; none for an empty histogram.
///
/// The level counts in percent and not in parts of one, so that it meets the same values as the Java library does.
#[must_use]
pub fn distribution(histogram: &Histogram<u64>) -> Vec<Step> {
    let total = histogram.len();
    let (mut steps, mut level, mut count) = (Vec::new(), 0.0, 0);
    for recorded in histogram.iter_recorded() {
        count += recorded.count_at_value();
        let value_ns = recorded.value_iterated_to();
        if count == total {
            steps.push(Step { value_ns, percentile: level, count });
            steps.push(Step { value_ns, percentile: 100.0, count });
            break;
        }
        while 100.0 * count as f64 / total as f64 >= level {
            steps.push(Step { value_ns, percentile: level, count });
            let halvings = (100.0_f64 / (100.0 - level)).log2().floor() + 1.0;
            level += 100.0 / (f64::from(STEPS_PER_HALF_DISTANCE) * halvings.exp2());
        }
    }
    steps
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
/// extension. Gives the files; one that cannot be written keeps none of the others from being so.
///
/// # Errors
/// [`FileError::Io`].
pub fn write_files(result: &RunResult, path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let (mut written, mut failed) = (Vec::new(), None);
    for (name, histogram) in &result.latencies_ns {
        let file = if result.latencies_ns.len() == 1 { path.to_owned() } else { beside(path, name) };
        let mut text = Vec::new();
        let outcome = print(histogram, &mut text).and_then(|()| fs::write(&file, text));
        match outcome {
            Ok(()) => written.push(file),
            Err(error) => failed = failed.or(Some(FileError::Io { path: file, error })),
        }
    }
    failed.map_or(Ok(written), Err)
}

/// The file of one of several latencies; what is no file, a terminal or a pipe, takes all of them.
pub(crate) fn beside(path: &Path, name: &str) -> PathBuf {
    if path.metadata().is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map_or("hgrm".into(), |extension| extension.to_string_lossy());
    path.with_file_name(format!("{stem}-{name}.{extension}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::sample;

    /// What HdrHistogram 2.2.2 of Java printed for the values of the sample, bounds and digits as there, scaled to
    /// milliseconds: `outputPercentileDistribution(System.out, 5, 1e6)`.
    const REFERENCE: &str = include_str!("hgrm/reference.hgrm");

    fn printed(histogram: &Histogram<u64>) -> String {
        let mut text = Vec::new();
        print(histogram, &mut text).expect("a write to memory");
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn the_text_is_the_one_of_the_java_library() {
        let text = printed(&sample("a run", 1_000_000).latencies_ns["ack"]);
        for (ours, theirs) in text.lines().zip(REFERENCE.lines()) {
            assert_eq!(ours, theirs);
        }
        assert_eq!(text.lines().count(), REFERENCE.lines().count());
    }

    #[test]
    fn an_empty_histogram_is_a_text_without_values() {
        let text = printed(&Histogram::new(3).expect("digits"));
        assert!(text.contains("Total count    =            0"), "{text}");
        assert!(!text.contains("NaN"), "{text}");
    }

    #[test]
    fn each_latency_has_a_file_of_its_own() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut result = sample("a run", 1_000_000);
        let one = write_files(&result, &directory.path().join("run.hgrm")).expect("it is written");
        assert_eq!(one, [directory.path().join("run.hgrm")]);
        result.latencies_ns.insert("end_to_end".to_owned(), result.latencies_ns["ack"].clone());
        let two = write_files(&result, &directory.path().join("run.hgrm")).expect("they are written");
        let names = ["run-ack.hgrm", "run-end_to_end.hgrm"].map(|name| directory.path().join(name));
        assert_eq!(two, names);
        assert!(names.iter().all(|name| fs::read(name).is_ok_and(|text| !text.is_empty())));
        assert!(write_files(&result, Path::new("/nowhere/run.hgrm")).is_err());
        let (stuck, other) =
            (directory.path().join("b-ack.hgrm"), directory.path().join("b-end_to_end.hgrm"));
        fs::create_dir(&stuck).expect("a directory in the place of a file");
        let line = write_files(&result, &directory.path().join("b.hgrm")).expect_err("one fails").to_string();
        assert!(line.starts_with(&stuck.display().to_string()) && other.exists(), "{line}");
    }
}
