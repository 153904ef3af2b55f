//! The scales of a plot: where a value lies between 0 and 1, which values have a tick, and how they are written.
//!
//! What must hold: the place of a value rises with it, and is finite for every value that [`Axis::holds`].

/// How values lie on an axis, and what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Percentiles, 0 to below 100, each halving of the distance to 100 equally long, as HdrHistogram draws them.
    Percentile,
    /// Seconds since the beginning, evenly.
    Seconds,
    /// Nanoseconds: evenly, or by decades where they spread widely.
    Nanos,
    /// Things per second, evenly from 0.
    PerSecond,
}

/// The part of an axis that is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    axis: Axis,
    is_log: bool,
    low: f64,
    high: f64,
}

/// Nanoseconds that spread by more than this are drawn by decades.
const SPREAD_EVEN_MAX: f64 = 20.0;
/// Decades of nines that are drawn at most.
const NINES_MAX: f64 = 9.0;
/// About so many ticks stand on an even axis.
const TICKS: f64 = 6.0;

impl Axis {
    /// Whether a value can be drawn.
    pub(super) fn holds(self, value: f64) -> bool {
        let fits = match self {
            Axis::Percentile => (0.0..100.0).contains(&value),
            Axis::Nanos => value > 0.0,
            Axis::Seconds | Axis::PerSecond => value >= 0.0,
        };
        fits && value.is_finite()
    }

    /// The scale that shows all of some values; `None` without any.
    pub(super) fn scale(self, values: impl Iterator<Item = f64>) -> Option<Scale> {
        let (low, high) = values
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            return None;
        }
        let is_log = self == Axis::Nanos && high / low > SPREAD_EVEN_MAX;
        let scale = match self {
            Axis::Percentile => {
                Scale { axis: self, is_log, low: 0.0, high: nines(high).clamp(1.0, NINES_MAX) }
            }
            Axis::Nanos if is_log => Scale { axis: self, is_log, low: decade_below(low), high: high * 1.15 },
            Axis::Seconds => Scale { axis: self, is_log, low: 0.0, high: high.max(1.0) },
            Axis::Nanos | Axis::PerSecond => {
                Scale { axis: self, is_log, low: 0.0, high: (high * 1.08).max(1.0) }
            }
        };
        Some(scale)
    }

    /// A value for people.
    pub(super) fn text(self, value: f64) -> String {
        match self {
            Axis::Percentile => percentile(value),
            Axis::Seconds => format!("{} s", plain(value)),
            Axis::Nanos => duration(value),
            Axis::PerSecond => format!("{}/s", magnitude(value)),
        }
    }
}

impl Scale {
    /// Where a value lies, 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = match self.axis {
            Axis::Percentile => nines(value) / self.high,
            Axis::Nanos if self.is_log => (value / self.low).log10() / (self.high / self.low).log10(),
            Axis::Nanos | Axis::Seconds | Axis::PerSecond => (value - self.low) / (self.high - self.low),
        };
        place.clamp(0.0, 1.0)
    }

    /// The values that have a tick, rising.
    pub(super) fn ticks(&self) -> Vec<f64> {
        match self.axis {
            Axis::Percentile => {
                let whole = (1..=self.high as i32).map(|nines| 100.0 - 100.0 / 10_f64.powi(nines));
                [0.0, 50.0].into_iter().chain(whole).collect()
            }
            Axis::Nanos if self.is_log => self.decades(),
            Axis::Nanos | Axis::Seconds | Axis::PerSecond => {
                let step = even_step((self.high - self.low) / TICKS);
                let count = ((self.high - self.low) / step).floor() as u32;
                (0..=count).map(|number| self.low + f64::from(number) * step).collect()
            }
        }
    }

    /// Powers of ten, with what lies between them where they are few.
    fn decades(&self) -> Vec<f64> {
        let few = (self.high / self.low).log10() < 2.5;
        let parts: &[f64] = if few { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let (mut ticks, mut decade) = (Vec::new(), self.low);
        while decade <= self.high {
            ticks.extend(parts.iter().map(|part| part * decade).filter(|tick| *tick <= self.high));
            decade *= 10.0;
        }
        ticks
    }
}

/// How often the distance to 100 % was divided by ten: 1 for 90, 2 for 99.
fn nines(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).max(1e-12).log10()
}

fn decade_below(value: f64) -> f64 {
    10_f64.powf(value.log10().floor())
}

/// 1, 2 or 5 times a power of ten, not below `step`.
fn even_step(step: f64) -> f64 {
    let decade = decade_below(step);
    let factors = [1.0, 2.0, 5.0, 10.0];
    let factor = factors.into_iter().find(|factor| factor * decade >= step * 0.999_999);
    factor.unwrap_or(10.0) * decade
}

/// A percentile with as many digits as it takes to tell it from 100.
fn percentile(value: f64) -> String {
    let digits = if value < 90.0 { 1 } else { nines(value).floor() as usize };
    format!("{} %", trimmed(&format!("{value:.digits$}")))
}

/// A duration with three digits that count, in the unit that suits it: ns, µs, ms or s.
#[must_use]
pub fn duration(nanos: f64) -> String {
    let (value, unit) = match nanos {
        small if small < 999.5 => (nanos, "ns"),
        small if small < 999.5e3 => (nanos / 1e3, "µs"),
        small if small < 999.5e6 => (nanos / 1e6, "ms"),
        _ => (nanos / 1e9, "s"),
    };
    format!("{} {unit}", plain(value))
}

/// A number in thousands, millions or billions, with three digits that count.
fn magnitude(value: f64) -> String {
    match value {
        small if small < 9_999.5 => plain(value),
        small if small < 999.5e3 => format!("{} k", plain(value / 1e3)),
        small if small < 999.5e6 => format!("{} M", plain(value / 1e6)),
        _ => format!("{} G", plain(value / 1e9)),
    }
}

/// A number with three digits that count, and no more behind the point than say something.
fn plain(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 || size == 0.0 => 2,
        _ => 3,
    };
    trimmed(&format!("{value:.digits$}")).to_owned()
}

fn trimmed(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: Axis, values: &[f64]) -> Vec<String> {
        let scale = axis.scale(values.iter().copied()).expect("there are values");
        scale.ticks().into_iter().map(|tick| axis.text(tick)).collect()
    }

    #[test]
    fn percentiles_have_a_tick_for_each_nine() {
        let ticks = texts(Axis::Percentile, &[0.0, 99.995]);
        assert_eq!(ticks, ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
        let scale = Axis::Percentile.scale([99.99].into_iter()).expect("a value");
        assert!((scale.place(90.0) - 0.25).abs() < 1e-9 && (scale.place(99.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn latencies_that_spread_widely_lie_by_decades() {
        assert_eq!(texts(Axis::Nanos, &[150e3, 2e9]), ["100 µs", "1 ms", "10 ms", "100 ms", "1 s"]);
        let few = texts(Axis::Nanos, &[1.5e6, 40e6]);
        assert_eq!(few, ["1 ms", "2 ms", "5 ms", "10 ms", "20 ms"]);
        assert_eq!(texts(Axis::Nanos, &[1e6, 5e6])[..3], ["0 ns", "1 ms", "2 ms"]);
    }

    #[test]
    fn every_value_has_a_place_that_rises() {
        for axis in [Axis::Percentile, Axis::Seconds, Axis::Nanos, Axis::PerSecond] {
            let values: Vec<f64> = (1..99).map(f64::from).collect();
            let scale = axis.scale(values.iter().copied()).expect("there are values");
            let places: Vec<f64> = values.iter().map(|value| scale.place(*value)).collect();
            assert!(places.is_sorted() && places.iter().all(|place| (0.0..=1.0).contains(place)), "{axis:?}");
            assert!(places[97] > places[0]);
            assert!(scale.ticks().len() < 20);
        }
        assert!(Axis::Nanos.scale(std::iter::empty()).is_none());
        assert!(!Axis::Nanos.holds(0.0) && !Axis::Percentile.holds(100.0) && !Axis::Seconds.holds(f64::NAN));
    }

    #[test]
    fn one_value_is_an_axis_too() {
        for axis in [Axis::Percentile, Axis::Seconds, Axis::Nanos, Axis::PerSecond] {
            for value in [0.0, 1e-3, 5.0, 99.0] {
                let scale = axis.scale([value].into_iter()).expect("a value");
                assert!(scale.place(value).is_finite() && scale.ticks().len() < 20, "{axis:?} {value}");
            }
        }
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(duration(1_234_567.0), "1.23 ms");
        assert_eq!(duration(999_700.0), "1 ms");
        assert_eq!(duration(50.0), "50 ns");
        assert_eq!(duration(61e9), "61 s");
        assert_eq!(Axis::PerSecond.text(1_234_567.0), "1.23 M/s");
        assert_eq!(Axis::Percentile.text(99.951_171_875), "99.951 %");
        assert_eq!(Axis::Seconds.text(0.5), "0.5 s");
    }
}
