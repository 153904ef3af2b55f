//! The one live line of a load, on standard error where that is a terminal.
//!
//! What must hold: it is one line of the terminal, however narrow that is, so that the next one takes its place.

use std::io::{self, IsTerminal, Write};

use ottla_shards::terminal::takes_escapes;
use ottla_tools::output::{cut_to, terminal_size};

/// The line.
pub(crate) struct Screen<'w> {
    /// Where it is shown; `None` for nowhere.
    out: Option<&'w mut dyn Write>,
    /// How wide that is at this moment.
    columns: fn() -> usize,
}

impl<'w> Screen<'w> {
    /// Shows a line on `stderr` if that is a terminal and somebody wants to see it.
    pub(crate) fn on(stderr: &'w mut io::Stderr, quiet: bool) -> Self {
        let is_shown = stderr.is_terminal() && takes_escapes() && !quiet;
        let out: Option<&'w mut dyn Write> = if is_shown { Some(stderr) } else { None };
        Self { out, columns: || terminal_size(io::stderr()).0 }
    }

    /// Shows it on this.
    #[cfg(test)]
    pub(crate) fn to(out: &'w mut dyn Write) -> Self {
        Self { out: Some(out), columns: || 1_000 }
    }

    /// Puts a line in place of the one before.
    pub(crate) fn show(&mut self, line: &str) {
        // A line that fills its last column is at the beginning of the next one on some terminals.
        let line = cut_to(line, (self.columns)().saturating_sub(1));
        self.write(&format!("\r\x1b[K{line}"));
    }

    /// Takes the line away.
    pub(crate) fn clear(&mut self) {
        self.write("\r\x1b[K");
    }

    /// A terminal that went away is no reason to end the load, only to show no more.
    fn write(&mut self, text: &str) {
        if let Some(out) = &mut self.out
            && out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err()
        {
            self.out = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_replaces_the_one_before_and_goes_at_the_end() {
        let mut written = Vec::new();
        let mut screen = Screen { out: Some(&mut written), columns: || 4 };
        screen.show("1 s and more than fits");
        screen.show("2 s");
        screen.clear();
        assert_eq!(written, b"\r\x1b[K1 s\r\x1b[K2 s\r\x1b[K");
    }
}
