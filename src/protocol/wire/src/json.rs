//! Messages as JSON, letter for letter as Kafka's tools print them: for people, never for a wire.
//!
//! The generated code makes the tree; here it becomes text, by the rules of the library that Kafka uses (no spaces,
//! bytes in base64, text unescaped but for quotes and control characters) and of Java's numbers.

use std::fmt::{self, Write as _};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// Any whole number.
    Int(i64),
    /// A 64-bit float.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Values in order.
    List(Vec<Json>),
    /// Names and values, in the order of the schema.
    Object(Vec<(&'static str, Json)>),
}

/// What can be given as JSON.
pub trait ToJson {
    /// The value as it is in `version`: tagged fields with their default are left out.
    fn json(&self, version: i16) -> Json;
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Int(value) => write!(f, "{value}"),
            Json::Float(value) => float(f, *value),
            Json::Text(value) => text(f, value),
            Json::Bytes(value) => base64(f, value),
            Json::List(values) => {
                f.write_char('[')?;
                for (place, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if place > 0 { "," } else { "" })?;
                }
                f.write_char(']')
            }
            Json::Object(fields) => {
                f.write_char('{')?;
                for (place, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}\"{name}\":{value}", if place > 0 { "," } else { "" })?;
                }
                f.write_char('}')
            }
        }
    }
}

/// Java's `Double.toString`: plain from a thousandth to ten million, else with an exponent; always with a fraction.
fn float(f: &mut fmt::Formatter<'_>, value: f64) -> fmt::Result {
    if !value.is_finite() {
        let name = if value.is_nan() { "NaN" } else { "Infinity" };
        return write!(f, "\"{}{name}\"", if value < 0.0 { "-" } else { "" });
    }
    let size = value.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return write!(f, "{value:?}");
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    write!(f, "{digits}{}E{exponent}", if digits.contains('.') { "" } else { ".0" })
}

fn text(f: &mut fmt::Formatter<'_>, value: &str) -> fmt::Result {
    f.write_char('"')?;
    for character in value.chars() {
        match character {
            '"' | '\\' => write!(f, "\\{character}")?,
            '\u{8}' => f.write_str("\\b")?,
            '\t' => f.write_str("\\t")?,
            '\n' => f.write_str("\\n")?,
            '\u{c}' => f.write_str("\\f")?,
            '\r' => f.write_str("\\r")?,
            '\0'..='\u{1f}' => write!(f, "\\u{:04X}", u32::from(character))?,
            _ => f.write_char(character)?,
        }
    }
    f.write_char('"')
}

fn base64(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    f.write_char('"')?;
    for chunk in bytes.chunks(3) {
        let part = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let bits = part(0) << 16 | part(1) << 8 | part(2);
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place)) & 63;
            let is_there = place <= chunk.len();
            f.write_char(if is_there { char::from(DIGITS[digit as usize]) } else { '=' })?;
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_kafkas_library_writes_them() {
        let object = Json::Object(vec![
            ("text", Json::Text("a\"b\\\n\u{1}\u{7f}\u{e9}".to_owned())),
            ("list", Json::List(vec![Json::Int(-1), Json::Null, Json::Bool(true)])),
            ("empty", Json::Object(Vec::new())),
        ]);
        let expected = "{\"text\":\"a\\\"b\\\\\\n\\u0001\u{7f}\u{e9}\",\"list\":[-1,null,true],\"empty\":{}}";
        assert_eq!(object.to_string(), expected);
    }

    #[test]
    fn bytes_are_base64() {
        for (bytes, text) in
            [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (&[251, 255], "+/8=")]
        {
            assert_eq!(Json::Bytes(bytes.to_vec()).to_string(), format!("\"{text}\""));
        }
    }

    #[test]
    fn floats_are_javas() {
        for (value, text) in [
            (0.0, "0.0"),
            (1_000_000.0, "1000000.0"),
            (10_000_000.0, "1.0E7"),
            (12_345_678.9, "1.23456789E7"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (-1.5e300, "-1.5E300"),
            (f64::INFINITY, "\"Infinity\""),
        ] {
            assert_eq!(Json::Float(value).to_string(), text);
        }
    }
}
