//! The one live line of a load, on standard error where that is a terminal.

use std::io::{self, IsTerminal, Write};

/// The line.
pub(crate) struct Screen<'w>(Option<&'w mut dyn Write>);

impl<'w> Screen<'w> {
    /// Shows a line on `stderr` if that is a terminal and somebody wants to see it.
    pub(crate) fn on(stderr: &'w mut io::Stderr, quiet: bool) -> Self {
        if stderr.is_terminal() && !quiet { Self(Some(stderr)) } else { Self(None) }
    }

    /// Shows it on this.
    #[cfg(test)]
    pub(crate) fn to(out: &'w mut dyn Write) -> Self {
        Self(Some(out))
    }

    /// Puts a line in place of the one before.
    pub(crate) fn show(&mut self, line: &str) {
        self.write(&format!("\r\x1b[K{line}"));
    }

    /// Takes the line away.
    pub(crate) fn clear(&mut self) {
        self.write("\r\x1b[K");
    }

    /// A terminal that went away is no reason to end the load, only to show no more.
    fn write(&mut self, text: &str) {
        if let Some(out) = &mut self.0
            && out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err()
        {
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_replaces_the_one_before_and_goes_at_the_end() {
        let mut written = Vec::new();
        let mut screen = Screen(Some(&mut written));
        screen.show("1 s");
        screen.show("2 s");
        screen.clear();
        assert_eq!(written, b"\r\x1b[K1 s\r\x1b[K2 s\r\x1b[K");
    }
}
