//! The text format of Java's `.properties` files, which `server.properties` and `meta.properties` have.
//!
//! Pure over texts; the caller reads and writes the files. The format is that of `java.util.Properties`:
//! `#` and `!` begin comments, a backslash at the end of a line continues it, `=`, `:` or blanks end a key,
//! and `\t \n \r \f \uXXXX` are escapes. A key that stands twice has its last value. Unlike Java's reader of byte
//! streams, text is UTF-8.

use std::collections::BTreeMap;

use thiserror::Error;

/// A `.properties` text that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PropertiesError {
    /// `\u` without four hexadecimal digits, or half of a surrogate pair.
    #[error("line {line}: malformed \\uXXXX escape")]
    MalformedEscape {
        /// The line on which the setting begins, counted from 1.
        line: usize,
    },
}

/// Parses a whole text.
///
/// # Errors
/// When a `\u` escape is malformed.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, PropertiesError> {
    let mut properties = BTreeMap::new();
    for (line, logical) in logical_lines(text) {
        let (key, value) = split(&logical);
        let error = PropertiesError::MalformedEscape { line };
        properties.insert(unescape(key).ok_or(error)?, unescape(value).ok_or(error)?);
    }
    Ok(properties)
}

/// The value that `text` stands for behind `key=`; `None` when an escape is malformed.
#[must_use]
pub fn unescape_value(text: &str) -> Option<String> {
    unescape(text.trim_start_matches(is_blank))
}

/// Writes settings, one per line, escaped so that [`parse`] and Java read them back as they are.
#[must_use]
pub fn write(properties: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (key, value) in properties {
        escape(key, true, &mut text);
        text.push('=');
        escape(value, false, &mut text);
        text.push('\n');
    }
    text
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// Lines with their continuations joined, without blanks in front, comments and empty lines; each with the number
/// of its first line.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut logical: Vec<(usize, String)> = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (at, line) in text.split('\n').enumerate() {
        let line = line.trim_start_matches(is_blank);
        // A line of a backslash alone has begun nothing yet.
        let has_begun = open.as_ref().is_some_and(|(_, joined)| !joined.is_empty());
        if !has_begun && (line.is_empty() || line.starts_with(['#', '!'])) {
            open = None;
            continue;
        }
        let (number, mut joined) = open.take().unwrap_or((at + 1, String::new()));
        let backslashes = line.bytes().rev().take_while(|b| *b == b'\\').count();
        if backslashes % 2 == 1 {
            joined.push_str(&line[..line.len() - 1]);
            open = Some((number, joined));
        } else {
            joined.push_str(line);
            logical.push((number, joined));
        }
    }
    // A backslash at the very end of the text continues nothing.
    logical.extend(open.filter(|(_, line)| !line.is_empty()));
    logical
}

/// Key and value of a logical line, both still escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (matches!(c, '=' | ':') || is_blank(c));
        escaped = c == '\\' && !escaped;
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(is_blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, value.trim_start_matches(is_blank))
}

fn unescape(text: &str) -> Option<String> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    let mut buffer = [0u16; 2];
    while let Some(c) = chars.next() {
        let unit = match c {
            '\\' => match chars.next() {
                None => break,
                Some('t') => u16::from(b'\t'),
                Some('n') => u16::from(b'\n'),
                Some('r') => u16::from(b'\r'),
                Some('f') => 0x0c,
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let hex = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
                    u16::from_str_radix(&digits, 16).ok().filter(|_| hex)?
                }
                Some(other) => {
                    units.extend_from_slice(other.encode_utf16(&mut buffer));
                    continue;
                }
            },
            other => {
                units.extend_from_slice(other.encode_utf16(&mut buffer));
                continue;
            }
        };
        units.push(unit);
    }
    String::from_utf16(&units).ok()
}

/// Java's `saveConvert`: blanks are escaped everywhere in a key and at the start of a value.
fn escape(text: &str, is_key: bool, out: &mut String) {
    for (at, c) in text.char_indices() {
        match c {
            ' ' if is_key || at == 0 => out.push_str("\\ "),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\x0c' => out.push_str("\\f"),
            '\\' | '=' | ':' | '#' | '!' => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            other => {
                for unit in other.encode_utf16(&mut [0u16; 2]) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).expect("well formed").into_iter().collect()
    }

    fn one(text: &str) -> (String, String) {
        let pairs = pairs(text);
        assert_eq!(pairs.len(), 1, "{text:?} is one setting");
        pairs.into_iter().next().expect("there is one")
    }

    fn is(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn a_line_of_a_backslash_alone_begins_nothing() {
        for text in ["\\\n#comment\nu=1", "\\\n\nu=1", "\\\n!comment\n\\\nu=1", "\\\nu=1\n\\"] {
            let parsed = parse(text).expect("a properties text");
            assert_eq!(parsed, BTreeMap::from([("u".to_owned(), "1".to_owned())]), "{text:?}");
        }
        let joined = parse("a=1\\\n#2\n").expect("a properties text");
        assert_eq!(joined, BTreeMap::from([("a".to_owned(), "1#2".to_owned())]), "a value goes on");
    }

    #[test]
    fn the_three_separators() {
        for text in ["a=b", "a:b", "a b", "a = b", "  a\t:\tb", "a\x0c=b", "a  b"] {
            assert_eq!(one(text), is("a", "b"), "{text:?}");
        }
        assert_eq!(one("a==b"), is("a", "=b"));
        assert_eq!(one("a"), is("a", ""));
        assert_eq!(one("a="), is("a", ""));
        assert_eq!(one("=b"), is("", "b"));
        assert_eq!(one("listeners=PLAINTEXT://:9092"), is("listeners", "PLAINTEXT://:9092"));
    }

    #[test]
    fn comments_empty_lines_and_line_ends() {
        assert_eq!(
            pairs("# c\n  ! d\r\n\n\ra=1\rb=2\r\nc=3"),
            vec![is("a", "1"), is("b", "2"), is("c", "3")]
        );
        assert_eq!(one("a=b # no comment"), is("a", "b # no comment"));
        assert!(pairs("").is_empty());
        assert!(pairs("\\").is_empty());
    }

    #[test]
    fn blanks_behind_a_value_belong_to_it() {
        assert_eq!(one("a=b  \n"), is("a", "b  "));
    }

    #[test]
    fn continued_lines() {
        assert_eq!(one("a=1,\\\n   2,\\\n\t3"), is("a", "1,2,3"));
        assert_eq!(one("a=1\\\n# 2"), is("a", "1# 2"));
        assert_eq!(one("a=1\\\n\n"), is("a", "1"));
        assert_eq!(pairs("a=1\\\\\nb=2"), vec![is("a", "1\\"), is("b", "2")]);
        assert_eq!(one("a=1\\"), is("a", "1"));
    }

    #[test]
    fn escapes() {
        assert_eq!(one(r"a\=b\:c\ d=\t\n\r\f\q"), is("a=b:c d", "\t\n\r\x0cq"));
        assert_eq!(one(r"a=\u00e9\uD83D\uDE00"), is("a", "é😀"));
        assert_eq!(one(r"a=C:\\temp"), is("a", r"C:\temp"));
        assert_eq!(one("ä=ö"), is("ä", "ö"));
        for text in [r"a=\u12", r"a=\u12g4", r"a=\uD83D", r"a=\u+123"] {
            let refused = parse(&format!("x=1\n{text}"));
            assert_eq!(refused, Err(PropertiesError::MalformedEscape { line: 2 }), "{text}");
        }
    }

    #[test]
    fn the_last_of_a_repeated_key_wins() {
        assert_eq!(one("a=1\na=2"), is("a", "2"));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let odd = ["", " x ", "a=b", "a:b#c!", "é😀", "l1\nl2\t\\", "plain"];
        let properties: BTreeMap<String, String> =
            odd.iter().map(|text| (format!("k{text}"), (*text).to_owned())).collect();
        let text = write(&properties);
        assert!(text.is_ascii());
        assert_eq!(parse(&text), Ok(properties));
    }
}
