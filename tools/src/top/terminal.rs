//! The terminal while `ottla top` has it: another screen, no cursor, keys as they are pressed.
//!
//! What must hold: however it ends (a key, an error, a panic, SIGTERM, SIGINT, SIGHUP), the terminal is as it was
//! before, once and for all: nothing is drawn on it afterwards. Ctrl-C comes as a key here; a panic's words come when
//! the terminal is back, so that they can be read.

use std::io::{self, IsTerminal, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ottla_shards::last_words::before_a_signal_ends;
use ottla_shards::terminal::{takes_escapes, wants_colours};
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr, tcsetattr,
};

use super::screen::Style;
use crate::output::terminal_size;

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

/// How the terminal was, as long as it is taken. Whoever draws on it or gives it back has the lock.
#[derive(Default)]
struct Taken(Mutex<Option<Termios>>);

impl Taken {
    fn lock(&self) -> MutexGuard<'_, Option<Termios>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the terminal ours.
    fn take(&self) -> io::Result<()> {
        let before = tcgetattr(io::stdin())?;
        let mut keys = before.clone();
        keys.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        // A read returns after a tenth of a second, with a key or without.
        keys.special_codes[SpecialCodeIndex::VMIN] = 0;
        keys.special_codes[SpecialCodeIndex::VTIME] = 1;
        // From here on it is put back, even if only half of it is done.
        let mut taken = self.lock();
        *taken = Some(before);
        tcsetattr(io::stdin(), OptionalActions::Now, &keys)?;
        write(ENTER)
    }

    /// Writes on the terminal while it is ours.
    fn write(&self, text: &str) -> io::Result<()> {
        let taken = self.lock();
        if taken.is_some() { write(text) } else { Ok(()) }
    }

    /// Gives the terminal back if that has not been done. The modes come first: they go back even on a terminal that
    /// takes no output any more.
    fn give_back(&self) {
        let mut taken = self.lock();
        if let Some(before) = taken.take() {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
            let _ = write(LEAVE);
            // Keys that nobody has read are for nobody else.
            let _ = tcflush(io::stdin(), QueueSelector::IFlush);
        }
    }
}

/// A terminal that was taken, and is given back on drop.
pub struct Screen {
    taken: Arc<Taken>,
}

impl Screen {
    /// Takes the terminal; `None` where standard input or output is none, or one that takes text alone.
    ///
    /// # Errors
    /// The terminal's, and the system's where it lets nobody wait for signals.
    pub fn take() -> io::Result<Option<Screen>> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() || !takes_escapes() {
            return Ok(None);
        }
        let screen = Screen { taken: Arc::default() };
        let taken = Arc::clone(&screen.taken);
        before_a_signal_ends(move || taken.give_back())?;
        let (taken, told) = (Arc::clone(&screen.taken), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |panic| {
            taken.give_back();
            told(panic);
        }));
        screen.taken.take()?;
        Ok(Some(screen))
    }

    /// How the terminal is to be drawn on, at its size of this moment.
    #[must_use]
    pub fn style(&self) -> Style {
        let (columns, lines) = terminal_size(io::stdout());
        // The last line stays empty: a line break there would scroll.
        Style { columns, lines: lines.saturating_sub(1), colours: wants_colours() }
    }

    /// Shows a text.
    ///
    /// # Errors
    /// The terminal's.
    pub fn show(&self, text: &str) -> io::Result<()> {
        self.taken.write(&format!("{HOME}{}{CLEAR_BELOW}", text.replace('\n', CLEAR_LINE_BREAK)))
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
        self.taken.give_back();
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn keys_that_end_it() {
        for keys in [&b"q"[..], b"Q", b"\x03", b"\x04", b"\x1b", b"xq"] {
            assert!(is_end(keys), "{keys:?}");
        }
        for keys in [&b""[..], b"x", b"\x1b[A", b"\x1bq", b"\n"] {
            assert!(!is_end(keys), "{keys:?}");
        }
    }

    /// Runs as a process of its own on a terminal (see below): takes it and fails.
    #[test]
    #[ignore = "panics"]
    fn child() {
        let screen = Screen::take().expect("the terminal can be taken").expect("there is one");
        screen.show("drawn\n").expect("it can be drawn on");
        panic!("words of a panic");
    }

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_tells_its_words() {
        let me = std::env::current_exe().expect("tests are a file");
        let name = concat!(module_path!(), "::child");
        let name = name.split_once("::").expect("a crate and a path").1;
        let inner = format!("'{}' --exact {name} --ignored --nocapture", me.display());
        let line = format!("stty -g; {inner} 2>&1; echo; stty -g");
        let mut script = Command::new("script");
        script
            .args(["--quiet", "--command", &line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        // Its input stays open: at its end a key would come that ends everything.
        let mut child = match script.spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return eprintln!("script is not installed");
            }
            child => child.expect("it starts"),
        };
        let input = child.stdin.take();
        let output = child.wait_with_output().expect("it ends");
        drop(input);
        let text = String::from_utf8_lossy(&output.stdout);
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part:?} is not in {text:?}"));
        assert!(at(ENTER) < at("drawn") && at("drawn") < at(LEAVE) && at(LEAVE) < at("words of a panic"));
        assert_eq!(text.matches(LEAVE).count(), 1, "{text:?}");
        let modes = |line: Option<&str>| line.expect("stty prints a line").trim().to_owned();
        assert_eq!(modes(text.trim().lines().next()), modes(text.trim().lines().next_back()), "{text:?}");
    }
}
