//! A YAML file that is one mapping of plain keys to plain values, with the line of each: workloads, drivers.
//!
//! What must hold: whatever else YAML can say (lists, nested mappings, aliases, several documents, a key twice) is
//! refused with its line and never skipped.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As YAML has it, quotes and indentation gone.
    pub value: String,
    /// Where its key stands, from 1.
    pub line: usize,
    is_plain: bool,
}

impl Entry {
    /// Whether it says that there is no value.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.is_plain && matches!(self.value.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

/// The keys of a file that nobody took yet, in its order.
#[derive(Clone, Debug, Default)]
pub struct Mapping(Vec<(String, Entry)>);

/// A line and what is wrong there.
pub type Refusal = (usize, String);

impl Mapping {
    /// Reads a file.
    ///
    /// # Errors
    /// The line and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let mut events = Events(Parser::new_from_str(text));
        let mut mapping = Self::default();
        let none = |line| Err((line, "no keys with values".to_owned()));
        match events.next()? {
            (Event::MappingStart(..), _) => {}
            (Event::StreamEnd, line) => return none(line),
            (Event::Scalar(..) | Event::SequenceStart(..) | Event::Alias(_), line) => return none(line),
            (other, line) => return Err((line, format!("{other:?} cannot stand there"))),
        }
        loop {
            let (key, line) = match events.next()? {
                (Event::Scalar(key, ..), line) => (key.into_owned(), line),
                (Event::MappingEnd, _) => break,
                (_, line) => return Err((line, "a key must be a plain word".to_owned())),
            };
            if mapping.0.iter().any(|(other, _)| *other == key) {
                return Err((line, format!("{key:?} is there twice")));
            }
            let (Event::Scalar(value, style, ..), _) = events.next()? else {
                return Err((line, format!("{key:?} must have a plain value, not a list or mapping")));
            };
            let is_plain = style == ScalarStyle::Plain;
            mapping.0.push((key, Entry { value: value.into_owned(), line, is_plain }));
        }
        match events.next()? {
            (Event::StreamEnd, _) => Ok(mapping),
            (_, line) => Err((line, "a second document: one file describes one thing".to_owned())),
        }
    }

    /// Takes out a key's value.
    pub fn take(&mut self, key: &str) -> Option<Entry> {
        let place = self.0.iter().position(|(other, _)| other == key)?;
        Some(self.0.remove(place).1)
    }

    /// The first key that is left, and its line.
    #[must_use]
    pub fn first(&self) -> Option<(&str, usize)> {
        self.0.first().map(|(key, entry)| (key.as_str(), entry.line))
    }
}

/// The parser's events, without those that only frame the others.
struct Events<'t>(Parser<'t, saphyr_parser::StrInput<'t>>);

impl<'t> Events<'t> {
    fn next(&mut self) -> Result<(Event<'t>, usize), Refusal> {
        loop {
            let next = self.0.next_event();
            let (event, Span { start, .. }) = match next {
                None => return Ok((Event::StreamEnd, 1)),
                Some(Err(error)) => return Err((error.marker().line(), error.info().to_owned())),
                Some(Ok(event)) => event,
            };
            match event {
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                event => return Ok((event, start.line())),
            }
        }
    }
}
