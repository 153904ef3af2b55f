//! What people write for numbers, rates, sizes and times, and what it means: `10k`, `10k..200k`, `64k`, `1500ms`.
//!
//! Pure. Every parser gives `None` for what it does not understand, and its caller names the flag.

use std::time::Duration;

/// Records per second as asked for: one number, or from one to another over the length of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateSpec {
    /// At the start.
    pub from: u64,
    /// At the end; the same where there is no ramp.
    pub to: u64,
}

/// A number with an optional `k` (thousand), `M` (million) or `G`; decimals are allowed before a suffix.
pub(crate) fn count(text: &str) -> Option<u64> {
    scaled(text, [1_000, 1_000_000, 1_000_000_000])
}

/// Bytes with an optional `k`, `m` or `g` for 1,024 and its powers, as the JVM's own flags have them.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    scaled(text, [1 << 10, 1 << 20, 1 << 30])
}

/// A rate: `5000`, `10k`, or a ramp `10k..200k`.
pub(crate) fn rate(text: &str) -> Option<RateSpec> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let (from, to) = (count(from)?, count(to)?);
    Some(RateSpec { from, to }).filter(|rate| rate.from > 0 && rate.to > 0)
}

/// A time: a number with `us`, `ms`, `s`, `m` or `h`; seconds without one.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let nanos_per_unit = match unit {
        "us" => 1e3,
        "ms" => 1e6,
        "s" | "" => 1e9,
        "m" | "min" => 60e9,
        "h" => 3_600e9,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    Some(Duration::from_nanos((number * nanos_per_unit).round() as u64))
}

fn scaled(text: &str, scales: [u64; 3]) -> Option<u64> {
    let text = text.trim();
    let scale = match text.chars().last()?.to_ascii_lowercase() {
        'k' => scales[0],
        'm' => scales[1],
        'g' => scales[2],
        _ => return text.parse().ok(),
    };
    let number: f64 = text[..text.len() - 1].parse().ok().filter(|n: &f64| *n >= 0.0)?;
    let value = number * scale as f64;
    (value <= 1e18).then(|| value.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_suffixes() {
        let counts = [("5000", 5_000), ("10k", 10_000), ("1.5M", 1_500_000), ("2G", 2_000_000_000)];
        for (text, value) in counts {
            assert_eq!(count(text), Some(value), "{text}");
        }
        for text in ["", "k", "-1", "-3k", "10x", "1e3", "ten", "99999999999G"] {
            assert_eq!(count(text), None, "{text}");
        }
        assert_eq!((bytes("64k"), bytes("1m"), bytes("100")), (Some(65_536), Some(1 << 20), Some(100)));
    }

    #[test]
    fn a_rate_is_one_number_or_a_ramp() {
        assert_eq!(rate("10k..200k"), Some(RateSpec { from: 10_000, to: 200_000 }));
        assert_eq!(rate("7"), Some(RateSpec { from: 7, to: 7 }));
        for text in ["0", "10..0", "..", "1..2..3", "fast"] {
            assert_eq!(rate(text), None, "{text}");
        }
    }

    #[test]
    fn times_have_units() {
        let times = [("30s", 30_000), ("500ms", 500), ("2m", 120_000), ("1.5h", 5_400_000), ("7", 7_000)];
        for (text, ms) in times {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(duration("250us"), Some(Duration::from_micros(250)));
        for text in ["", "s", "3 days", "-1s", "1.2.3s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
