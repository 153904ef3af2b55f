//! What the environment says of the terminal that output goes to.
//!
//! Pure but for the environment. What must hold: a terminal that is `dumb` gets text alone, and nobody gets colours who
//! has set `NO_COLOR` to anything (no-color.org).

use std::env::var_os;
use std::ffi::OsStr;

/// Whether a terminal obeys sequences that move its cursor.
#[must_use]
pub fn takes_escapes() -> bool {
    obeys(var_os("TERM").as_deref())
}

/// Whether colours are wanted on a terminal.
#[must_use]
pub fn wants_colours() -> bool {
    takes_escapes() && !refuses(var_os("NO_COLOR").as_deref())
}

fn obeys(term: Option<&OsStr>) -> bool {
    term.is_none_or(|term| term != "dumb")
}

fn refuses(no_color: Option<&OsStr>) -> bool {
    no_color.is_some_and(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumb_terminals_and_a_word_against_colours_are_heard() {
        let word = |text: &'static str| Some(OsStr::new(text));
        assert!(obeys(None) && obeys(word("xterm-256color")) && !obeys(word("dumb")));
        assert!(refuses(word("1")) && !refuses(word("")) && !refuses(None));
    }
}
