//! Reads the text exposition format of Prometheus, as a broker writes it.
//!
//! No shard owns it; nothing is on disk. What is not understood is an error that names the line: a page is taken as a
//! whole or not at all.

use std::collections::BTreeMap;

/// The values of one metric with all of its labels but one kind or other, by label names in order.
pub type Labels = BTreeMap<String, String>;

/// One line of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name; of a histogram with `_bucket`, `_sum` or `_count`.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
}

impl Sample {
    /// The value of a label; empty where there is none, as Prometheus has it.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// Reads a page.
///
/// # Errors
/// The first line that is not understood.
pub fn parse(text: &str) -> Result<Vec<Sample>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| sample(line).ok_or_else(|| format!("not a line of metrics: {line}"))).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let name_ends = line.find(|letter: char| letter == '{' || letter.is_whitespace())?;
    let (name, rest) = line.split_at(name_ends);
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) || !name.chars().all(is_name)
    {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Labels::new(), rest),
    };
    // A timestamp may follow; it is no matter here.
    let value = rest.split_whitespace().next()?;
    let value = match value {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        value => value.parse().ok()?,
    };
    Some(Sample { name: name.to_owned(), labels, value })
}

/// Labels up to the closing brace, and what is behind it.
fn labels(text: &str) -> Option<(Labels, &str)> {
    let (mut labels, mut rest) = (Labels::new(), text.trim_start());
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
        if labels.insert(name.trim().to_owned(), value).is_some() {
            return None;
        }
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.starts_with('}') => {}
            None => return None,
        }
    }
}

/// A label's value up to the closing quote, and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut letters) = (String::new(), text.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match letters.next()?.1 {
                'n' => '\n',
                other @ ('\\' | '"') => other,
                _ => return None,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Sample {
        parse(line).expect("is understood").pop().expect("is a sample")
    }

    #[test]
    fn lines_of_every_form() {
        assert_eq!(one("up 1").value.to_bits(), 1.0_f64.to_bits());
        assert_eq!(one("a_b:c{} 0.5 1700000000").value.to_bits(), 0.5_f64.to_bits());
        let sample = one(r#"x_total{shard="0", api = "Fetch",} 12"#);
        assert_eq!((sample.label("shard"), sample.label("api"), sample.label("none")), ("0", "Fetch", ""));
        assert_eq!(one(r#"x{v="a\"b\\c\nd}"} +Inf"#).label("v"), "a\"b\\c\nd}");
        assert!(one("x NaN").value.is_nan());
        assert_eq!(parse("# HELP x y\n# TYPE x counter\n\n").expect("comments"), []);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for line in [
            "x",
            "{a=\"b\"} 1",
            "1x 2",
            "x{a=b} 1",
            "x{a=\"b} 1",
            "x{a=\"b\"",
            "x{a=\"b\" c=\"d\"} 1",
            "x y",
            "<html>",
        ] {
            let error = parse(line).expect_err("is no metric");
            assert!(error.contains(line), "{error}");
        }
        assert!(parse("x{a=\"1\",a=\"2\"} 1").is_err(), "a label twice");
    }
}
