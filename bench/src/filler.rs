//! What the values of a load's records are filled with behind their stamps.
//!
//! Made once per run from a fixed seed and shared by its clients; two runs send the same. A client walks through the
//! pool from a place of its own, so that no batch has the same bytes twice and compression finds what was asked for.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use crate::keys::Random;

/// The pool is at least so long, in bytes: longer than a batch as a rule, short enough for a core's cache.
const POOL_BYTES_MIN: usize = 1 << 20;
/// Of each so many bytes the compressible part are zeros.
const BLOCK_BYTES: usize = 256;
/// Digits of the largest number of a record, that of a signed 64-bit one as in Kafka's tool.
const NUMBER_BYTES_MAX: usize = 19;

/// Bytes to fill values with.
#[derive(Clone)]
pub(crate) enum Filler {
    /// Slices of one pool.
    Pool(Arc<[u8]>),
    /// So many different values, one behind the other, of which each record has one at random.
    Drawn(Arc<[u8]>, u64),
    /// Whole values from a file; they have no stamps.
    Lines(Arc<[Vec<u8>]>),
    /// Each record's number in the whole load, from 0, as decimal text; such values have no stamps.
    Numbers,
}

impl fmt::Debug for Filler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filler::Pool(pool) => write!(f, "Pool({} bytes)", pool.len()),
            Filler::Drawn(_, values) => write!(f, "Drawn({values})"),
            Filler::Lines(lines) => write!(f, "Lines({})", lines.len()),
            Filler::Numbers => f.write_str("Numbers"),
        }
    }
}

impl Filler {
    /// Random capital letters, as those of Kafka's producer-perf-test, for batches of `batch_bytes`.
    pub(crate) fn letters(batch_bytes: usize, record_bytes: usize) -> Filler {
        let mut random = Random::new(1);
        let pool = (0..pool_bytes(batch_bytes, record_bytes)).map(|_| b'A' + random.below(26) as u8);
        Filler::Pool(pool.collect())
    }

    /// Bytes of which `part` (0 to 1) compress to nothing and the others not at all.
    pub(crate) fn compressible(part: f64, batch_bytes: usize, record_bytes: usize) -> Filler {
        Filler::Pool(compressible_bytes(part, pool_bytes(batch_bytes, record_bytes)))
    }

    /// So many values of such bytes, each of `record_bytes`.
    pub(crate) fn drawn(part: f64, values: u32, record_bytes: usize) -> Filler {
        assert!(values > 0, "a pool without a value is refused with the file");
        Filler::Drawn(compressible_bytes(part, values as usize * record_bytes), u64::from(values))
    }

    /// Whether values may begin with a stamp.
    pub(crate) fn takes_stamps(&self) -> bool {
        matches!(self, Filler::Pool(_) | Filler::Drawn(..))
    }

    /// The values of a file, between delimiters; a delimiter at the very end ends the last one.
    ///
    /// # Errors
    /// Those of reading it; a file without a value is one.
    pub(crate) fn from_file(path: &Path, delimiter: &str) -> std::io::Result<Filler> {
        let text = std::fs::read(path)?;
        let lines = split(&text, delimiter.as_bytes());
        if lines.is_empty() {
            return Err(std::io::Error::other("it has no value"));
        }
        Ok(Filler::Lines(lines.into()))
    }

    /// The longest value; `None` where values are as long as asked for.
    pub(crate) fn longest(&self) -> Option<usize> {
        match self {
            Filler::Pool(_) | Filler::Drawn(..) => None,
            Filler::Lines(lines) => lines.iter().map(Vec::len).max(),
            Filler::Numbers => Some(NUMBER_BYTES_MAX),
        }
    }

    /// The walk of client `client` through it.
    pub(crate) fn walk(&self, client: u64) -> Walk {
        let mut random = Random::new(client);
        let at = match self {
            Filler::Pool(pool) => random.below(pool.len() as u64) as usize,
            Filler::Drawn(..) | Filler::Lines(_) | Filler::Numbers => 0,
        };
        Walk { filler: self.clone(), random, at, text: Vec::new() }
    }
}

/// Bytes of which `part` are zeros and the others random.
fn compressible_bytes(part: f64, bytes: usize) -> Arc<[u8]> {
    let mut random = Random::new(2);
    let zeros = (BLOCK_BYTES as f64 * part).round() as usize;
    let byte = |at: usize| if at % BLOCK_BYTES < zeros { 0 } else { random.next() as u8 };
    (0..bytes).map(byte).collect()
}

fn pool_bytes(batch_bytes: usize, record_bytes: usize) -> usize {
    (2 * batch_bytes + record_bytes).max(POOL_BYTES_MIN)
}

fn split(text: &[u8], delimiter: &[u8]) -> Vec<Vec<u8>> {
    assert!(!delimiter.is_empty(), "an empty delimiter is refused with the flags");
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.windows(delimiter.len()).position(|window| window == delimiter);
        let (line, behind) = match end {
            Some(end) => (&rest[..end], &rest[end + delimiter.len()..]),
            None => (rest, &rest[rest.len()..]),
        };
        lines.push(line.to_vec());
        rest = behind;
    }
    lines
}

/// One client's place in a filler.
#[derive(Debug)]
pub(crate) struct Walk {
    filler: Filler,
    random: Random,
    at: usize,
    /// The number that the next value is.
    text: Vec<u8>,
}

impl Walk {
    /// Goes on to the value of the load's record `number` and returns its length: `bytes` where the filler does not
    /// say it.
    pub(crate) fn advance(&mut self, bytes: usize, number: u64) -> usize {
        match &self.filler {
            Filler::Pool(pool) => {
                self.at += bytes;
                if self.at + bytes > pool.len() {
                    // Not back to the start: the same cuts would make the same values.
                    self.at = self.random.below((pool.len() - bytes + 1) as u64) as usize;
                }
                bytes
            }
            Filler::Drawn(_, values) => {
                self.at = self.random.below(*values) as usize * bytes;
                bytes
            }
            Filler::Lines(lines) => {
                // Kafka's tool draws them at random too.
                self.at = self.random.below(lines.len() as u64) as usize;
                lines[self.at].len()
            }
            Filler::Numbers => {
                self.text.clear();
                write!(self.text, "{number}").expect("memory takes every write");
                self.text.len()
            }
        }
    }

    /// The value that [`Walk::advance`] went to, without its first `skip` bytes.
    pub(crate) fn value(&self, bytes: usize, skip: usize) -> &[u8] {
        match &self.filler {
            Filler::Pool(pool) => &pool[self.at..self.at + bytes - skip],
            Filler::Drawn(pool, _) => &pool[self.at + skip..self.at + bytes],
            Filler::Lines(lines) => &lines[self.at][skip..],
            Filler::Numbers => &self.text[skip..],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla::protocol::compression::{Codec, compress};

    fn values(filler: &Filler, bytes: usize, count: usize) -> Vec<u8> {
        let mut walk = filler.walk(3);
        let mut all = Vec::new();
        for _ in 0..count {
            let bytes = walk.advance(bytes, 0);
            all.extend_from_slice(walk.value(bytes, 0));
        }
        all
    }

    #[test]
    fn letters_are_letters() {
        let all = values(&Filler::letters(16_384, 1_000), 1_000, 3_000);
        assert_eq!(all.len(), 3_000_000);
        assert!(all.iter().all(u8::is_ascii_uppercase));
    }

    #[test]
    fn half_compressible_is_half_after_compression() {
        for (part, expected) in [(0.0, 1.0), (0.5, 0.5), (0.9, 0.1)] {
            let all = values(&Filler::compressible(part, 65_536, 1_024), 1_024, 64);
            for codec in [Codec::Zstd, Codec::Lz4] {
                let ratio = compress(codec, None, &all).len() as f64 / all.len() as f64;
                assert!((ratio - expected).abs() < 0.06, "{part} by {}: {ratio}", codec.name());
            }
        }
    }

    #[test]
    fn a_file_has_a_value_between_delimiters() {
        assert_eq!(split(b"a\nbc\n", b"\n"), [b"a".to_vec(), b"bc".to_vec()]);
        assert_eq!(split(b"a--b--", b"--"), [b"a".to_vec(), b"b".to_vec()]);
        assert_eq!(split(b"a\n\nb", b"\n"), [b"a".to_vec(), Vec::new(), b"b".to_vec()]);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("values");
        std::fs::write(&path, "one\ntwo\nthree").expect("a file");
        let filler = Filler::from_file(&path, "\n").expect("it has values");
        assert_eq!(filler.longest(), Some(5));
        let mut walk = filler.walk(0);
        for _ in 0..20 {
            let bytes = walk.advance(100, 0);
            assert!([&b"one"[..], b"two", b"three"].contains(&walk.value(bytes, 0)));
        }
        std::fs::write(&path, "").expect("a file");
        assert!(Filler::from_file(&path, "\n").is_err());
    }

    #[test]
    fn values_may_be_as_long_as_the_pool_and_empty() {
        let filler = Filler::letters(1, 3 << 20);
        let mut walk = filler.walk(0);
        for _ in 0..5 {
            assert_eq!(walk.advance(3 << 20, 0), 3 << 20);
            assert_eq!(walk.value(3 << 20, 24).len(), (3 << 20) - 24);
        }
        assert_eq!(walk.advance(0, 0), 0);
        assert!(walk.value(0, 0).is_empty());
    }

    #[test]
    fn drawn_values_are_so_many_and_no_more() {
        let filler = Filler::drawn(0.5, 7, 300);
        let all = values(&filler, 300, 500);
        let different: std::collections::BTreeSet<&[u8]> = all.chunks(300).collect();
        assert_eq!(different.len(), 7);
        let mut walk = filler.walk(1);
        let bytes = walk.advance(300, 0);
        assert_eq!(walk.value(bytes, 24), &walk.value(bytes, 0)[24..], "a stamp covers their beginning");
        let mut empty = Filler::drawn(0.0, 3, 0).walk(0);
        assert_eq!((empty.advance(0, 0), empty.value(0, 0)), (0, &[][..]));
    }

    #[test]
    fn numbers_are_text_and_as_long_as_they_are() {
        let mut walk = Filler::Numbers.walk(5);
        for (number, text) in [(0, "0"), (9, "9"), (10, "10"), (1_234_567, "1234567"), (7, "7")] {
            let bytes = walk.advance(100, number);
            assert_eq!((bytes, walk.value(bytes, 0)), (text.len(), text.as_bytes()));
        }
        assert_eq!(walk.advance(0, i64::MAX as u64), NUMBER_BYTES_MAX);
    }
}
