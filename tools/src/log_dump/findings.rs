//! What is wrong in the files of a dump, printed when all of them have been read.
//!
//! Kafka keeps its findings by file in Java's `HashMap` and prints them in its order, which a comparison of two dumps
//! would trip over: the order is that of the hashes of the paths, as Java has them, and is found here too.

use std::collections::BTreeMap;
use std::io::{self, Write};

/// Pairs that belong to a file, by its absolute path.
#[derive(Debug)]
pub struct ByFile {
    /// In the order in which the files were first seen.
    files: Vec<(String, Vec<(i64, i64)>)>,
    /// Buckets of Java's map so far.
    buckets: usize,
}

/// Buckets of a new map.
const BUCKETS: usize = 16;
/// Keys in one bucket that make a small map grow.
const CROWDED: usize = 7;
/// From so many buckets on, a crowded one does not make the map grow.
const BUCKETS_CROWDED_MAX: usize = 64;

impl Default for ByFile {
    fn default() -> Self {
        ByFile { files: Vec::new(), buckets: BUCKETS }
    }
}

impl ByFile {
    /// Adds a pair, as `computeIfAbsent` does: the map grows before the next call when it has become too full.
    pub fn add(&mut self, path: &str, pair: (i64, i64)) {
        if self.files.len() * 4 > self.buckets * 3 {
            self.buckets *= 2;
        }
        // Most pairs are of the file that is being read.
        if let Some((_, pairs)) = self.files.iter_mut().rev().find(|(known, _)| known == path) {
            pairs.push(pair);
            return;
        }
        let bucket = self.bucket(path);
        let crowd = self.files.iter().filter(|(known, _)| self.bucket(known) == bucket).count();
        self.files.push((path.to_owned(), vec![pair]));
        if crowd >= CROWDED && self.buckets < BUCKETS_CROWDED_MAX {
            self.buckets *= 2;
        }
    }

    fn bucket(&self, path: &str) -> usize {
        java_hash(path) as usize & (self.buckets - 1)
    }

    /// The files in the order of Java's `HashMap`: by bucket, and in one the newest first.
    fn in_order(&self) -> Vec<&(String, Vec<(i64, i64)>)> {
        let mut files: Vec<_> = self.files.iter().rev().collect();
        files.sort_by_key(|(path, _)| self.bucket(path));
        files
    }
}

/// `String.hashCode`, spread as `HashMap` spreads it.
fn java_hash(text: &str) -> u32 {
    let hash =
        text.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
    hash ^ (hash >> 16)
}

/// Everything found so far.
#[derive(Debug, Default)]
pub struct Findings {
    /// An index's offset and the last one of the batch that it points to.
    pub index_mismatches: ByFile,
    /// A time index's timestamp and the latest of the batch.
    pub time_mismatches: ByFile,
    /// A time index's timestamp and the one before it, which is not smaller.
    pub times_out_of_order: ByFile,
    /// A time index's offset and the last one of the batch that has it, -1 for none.
    pub offsets_not_found: ByFile,
    /// An offset and the one that follows it, which is not the next.
    pub not_consecutive: ByFile,
}

impl Findings {
    /// Prints them in Kafka's order and words.
    pub fn print(&self, err: &mut dyn Write) -> io::Result<()> {
        for (path, pairs) in self.index_mismatches.in_order() {
            writeln!(err, "Mismatches in :{path}")?;
            for (index, log) in sorted(pairs).into_iter().rev() {
                writeln!(err, "  Index offset: {index}, log offset: {log}")?;
            }
        }
        for (path, pairs) in self.time_mismatches.in_order() {
            writeln!(err, "Found timestamp mismatch in :{path}")?;
            for (index, log) in pairs {
                writeln!(err, "  Index timestamp: {index}, log timestamp: {log}")?;
            }
        }
        for (path, pairs) in self.times_out_of_order.in_order() {
            writeln!(err, "Found out of order timestamp in :{path}")?;
            for (index, before) in pairs {
                writeln!(err, "  Index timestamp: {index}, Previously indexed timestamp: {before}")?;
            }
        }
        for (path, pairs) in self.offsets_not_found.in_order() {
            writeln!(err, "The following indexed offsets are not found in :{path}")?;
            for (index, log) in pairs {
                writeln!(err, "Indexed offset: {index}, found log offset: {log}")?;
            }
        }
        for (path, pairs) in self.not_consecutive.in_order() {
            writeln!(err, "Non-consecutive offsets in {path}")?;
            for (before, after) in sorted(pairs) {
                writeln!(err, "  {before} is followed by {after}")?;
            }
        }
        err.flush()
    }
}

/// The pairs by their first number; the last one of each counts.
fn sorted(pairs: &[(i64, i64)]) -> BTreeMap<i64, i64> {
    pairs.iter().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_in_the_order_of_javas_hashes() {
        // "Aa" and "BB" have the same hash in Java, 2112; that of "b" is 98.
        assert_eq!(java_hash("Aa"), java_hash("BB"));
        assert_eq!(java_hash("Aa"), 2112);
        let mut files = ByFile::default();
        for name in ["b", "Aa", "BB", "a"] {
            files.add(name, (1, 2));
        }
        let names: Vec<_> = files.in_order().into_iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["BB", "Aa", "a", "b"], "buckets 0, 0, 1 and 2 of 16");
        let mut files = ByFile::default();
        for number in 0..13 {
            files.add(&format!("{number:02}"), (1, 2));
        }
        assert_eq!(files.buckets, 16, "it grows with the next call");
        files.add("12", (3, 4));
        assert_eq!((files.buckets, files.files.len()), (32, 13));
    }

    #[test]
    fn findings_are_said_in_kafkas_words() {
        let mut findings = Findings::default();
        findings.index_mismatches.add("/i", (1, 2));
        findings.index_mismatches.add("/i", (5, 6));
        findings.time_mismatches.add("/t", (7, 8));
        findings.times_out_of_order.add("/t", (3, 4));
        findings.offsets_not_found.add("/t", (9, -1));
        findings.not_consecutive.add("/l", (4, 9));
        findings.not_consecutive.add("/l", (-1, 3));
        let mut text = Vec::new();
        findings.print(&mut text).expect("memory takes it");
        assert_eq!(
            String::from_utf8(text).expect("text"),
            "Mismatches in :/i\n  Index offset: 5, log offset: 6\n  Index offset: 1, log offset: 2\n\
             Found timestamp mismatch in :/t\n  Index timestamp: 7, log timestamp: 8\n\
             Found out of order timestamp in :/t\n  Index timestamp: 3, Previously indexed timestamp: 4\n\
             The following indexed offsets are not found in :/t\nIndexed offset: 9, found log offset: -1\n\
             Non-consecutive offsets in /l\n  -1 is followed by 3\n  4 is followed by 9\n"
        );
    }
}
