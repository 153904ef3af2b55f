//! Version ranges: `"0"`, `"3-5"`, `"7+"` and `"none"`, and the Rust conditions that test them.

/// A range of message versions, both ends included. Empty when `low > high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The first version of the range.
    pub low: i16,
    /// The last version of the range; `i16::MAX` when it is open.
    pub high: i16,
}

impl Versions {
    /// No version at all.
    pub const NONE: Versions = Versions { low: 0, high: -1 };

    /// Reads Kafka's notation.
    ///
    /// # Panics
    /// When the text is none of the four forms.
    pub fn parse(text: &str) -> Versions {
        let number =
            |s: &str| s.trim().parse::<i16>().unwrap_or_else(|_| panic!("bad version range {text:?}"));
        if text == "none" {
            return Versions::NONE;
        }
        if let Some(low) = text.strip_suffix('+') {
            return Versions { low: number(low), high: i16::MAX };
        }
        match text.split_once('-') {
            Some((low, high)) => Versions { low: number(low), high: number(high) },
            None => Versions { low: number(text), high: number(text) },
        }
    }

    /// True when no version is in the range.
    pub fn is_empty(self) -> bool {
        self.low > self.high
    }

    /// True when `version` is in the range.
    pub fn contains(self, version: i16) -> bool {
        self.low <= version && version <= self.high
    }

    /// The versions that are in both ranges.
    pub fn and(self, other: Versions) -> Versions {
        let both = Versions { low: self.low.max(other.low), high: self.high.min(other.high) };
        if both.is_empty() { Versions::NONE } else { both }
    }

    /// The smallest range that holds both.
    pub fn hull(self, other: Versions) -> Versions {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        Versions { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// The versions of `self` below the first of `other`, which is an open range.
    pub fn before(self, other: Versions) -> Versions {
        if other.is_empty() {
            return self;
        }
        let high = self.high.min(other.low.saturating_sub(1));
        if self.low > high { Versions::NONE } else { Versions { low: self.low, high } }
    }

    /// How the range is asked for in the code of something that exists in the versions `within`.
    pub fn test(self, within: Versions) -> Test {
        let reachable = self.and(within);
        if reachable.is_empty() {
            return Test::Never;
        }
        let from = (reachable.low > within.low).then(|| format!("version >= {}", reachable.low));
        let to = (reachable.high < within.high).then(|| format!("version <= {}", reachable.high));
        match (from, to) {
            (None, None) => Test::Always,
            (Some(c), None) | (None, Some(c)) => Test::When(c),
            (Some(from), Some(to)) => Test::When(format!("{from} && {to}")),
        }
    }
}

/// The outcome of asking for a range of versions while writing code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// Every version that can come here is in the range.
    Always,
    /// None is.
    Never,
    /// It is decided when the code runs, by this condition over `version`.
    When(String),
}

impl Test {
    /// The condition as Rust.
    pub fn rust(&self) -> String {
        match self {
            Test::Always => "true".to_owned(),
            Test::Never => "false".to_owned(),
            Test::When(c) => c.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_notations() {
        assert_eq!(Versions::parse("4"), Versions { low: 4, high: 4 });
        assert_eq!(Versions::parse("0-12"), Versions { low: 0, high: 12 });
        assert_eq!(Versions::parse("7+"), Versions { low: 7, high: i16::MAX });
        assert!(Versions::parse("none").is_empty());
    }

    #[test]
    fn conditions_say_no_more_than_needed() {
        let within = Versions::parse("3-13");
        assert_eq!(Versions::parse("0+").test(within), Test::Always);
        assert_eq!(Versions::parse("0-2").test(within), Test::Never);
        assert_eq!(Versions::parse("9+").test(within), Test::When("version >= 9".into()));
        assert_eq!(Versions::parse("0-12").test(within), Test::When("version <= 12".into()));
        assert_eq!(Versions::parse("5-6").test(within), Test::When("version >= 5 && version <= 6".into()));
    }

    #[test]
    fn before_cuts_the_tagged_part_off() {
        assert_eq!(Versions::parse("0+").before(Versions::parse("4+")), Versions::parse("0-3"));
        assert!(Versions::parse("4+").before(Versions::parse("4+")).is_empty());
        assert_eq!(Versions::parse("1+").before(Versions::NONE), Versions::parse("1+"));
    }
}
