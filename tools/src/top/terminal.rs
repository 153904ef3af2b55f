//! The terminal while `ottla top` has it: another screen, no cursor, keys as they are pressed.
//!
//! What must hold: however it ends (a key, Ctrl-C, an error, a panic), the terminal is as it was before. Ctrl-C comes
//! as a key here, so that no signal can end the process in between.

use std::io::{self, IsTerminal, Read, Write};
use std::time::{Duration, Instant};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

use super::screen::Style;

/// Another screen, cleared, without a cursor and without wrapping; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// To the upper left corner; and what is right of and below the text is cleared.
const HOME: &str = "\x1b[H";
const CLEAR_LINE_BREAK: &str = "\x1b[K\r\n";
const CLEAR_BELOW: &str = "\x1b[J";
/// Keys that end it: q, Q, and Ctrl-C and Ctrl-D as they come without the terminal's own handling.
const END_KEYS: &[u8] = b"qQ\x03\x04";
/// Escape alone ends it too; with something behind it, it is another key.
const ESCAPE: &[u8] = b"\x1b";

/// Whether keys that came together want the end.
fn is_end(keys: &[u8]) -> bool {
    keys == ESCAPE || (!keys.starts_with(ESCAPE) && keys.iter().any(|key| END_KEYS.contains(key)))
}

/// A terminal that was taken, and is given back on drop.
pub struct Screen {
    before: Termios,
}

impl Screen {
    /// Takes the terminal; `None` where standard input or output is none.
    ///
    /// # Errors
    /// The terminal's.
    pub fn take() -> io::Result<Option<Screen>> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(io::stdin())?;
        let mut keys = before.clone();
        keys.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        // A read returns after a tenth of a second, with a key or without.
        keys.special_codes[SpecialCodeIndex::VMIN] = 0;
        keys.special_codes[SpecialCodeIndex::VTIME] = 1;
        tcsetattr(io::stdin(), OptionalActions::Now, &keys)?;
        let screen = Screen { before };
        write(ENTER)?;
        Ok(Some(screen))
    }

    /// How the terminal is to be drawn on, at its size of this moment.
    #[must_use]
    pub fn style(&self) -> Style {
        let size = tcgetwinsize(io::stdout()).map_or((80, 24), |size| (size.ws_col, size.ws_row));
        let (columns, lines) = if size.0 == 0 || size.1 == 0 { (80, 24) } else { size };
        // The last line stays empty: a line break there would scroll.
        Style { columns: usize::from(columns), lines: usize::from(lines).saturating_sub(1), colours: true }
    }

    /// Shows a text.
    ///
    /// # Errors
    /// The terminal's.
    pub fn show(&self, text: &str) -> io::Result<()> {
        write(&format!("{HOME}{}{CLEAR_BELOW}", text.replace('\n', CLEAR_LINE_BREAK)))
    }

    /// Waits for so long; true when a key wants the end.
    ///
    /// # Errors
    /// The terminal's.
    pub fn wait(&self, duration: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + duration;
        let mut keys = [0; 16];
        loop {
            let pressed = match io::stdin().read(&mut keys) {
                Ok(pressed) => pressed,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) => return Err(error),
            };
            if is_end(&keys[..pressed]) {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = write(LEAVE);
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::is_end;

    #[test]
    fn keys_that_end_it() {
        for keys in [&b"q"[..], b"Q", b"\x03", b"\x04", b"\x1b", b"xq"] {
            assert!(is_end(keys), "{keys:?}");
        }
        for keys in [&b""[..], b"x", b"\x1b[A", b"\x1bq", b"\n"] {
            assert!(!is_end(keys), "{keys:?}");
        }
    }
}
