//! What ends a load before its time: a signal, or an output that takes no more lines.
//!
//! Whoever gets the signals says so with [`Interrupt::take`]; the watching thread looks a few times a second and ends
//! the load in order, so that everything that was measured until then is printed and written. What must hold: the
//! first word counts; a signal that comes when no load runs, or after another one, is not taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// A process that a signal ends has this plus the signal's number as its exit code.
const SIGNAL_CODE: u8 = 128;
/// The exit code of a load that could not print its lines.
const UNPRINTED_CODE: u8 = 1;

/// Whether the loads of this process are to end, shared with whoever waits for signals.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// A load has begun.
    begun: AtomicBool,
    /// The exit code that follows; 0 for none.
    code: AtomicU8,
}

impl Interrupt {
    /// Takes a signal for the end of the load; false where there is none to be ended, or it ends already: then the
    /// signal is to do what signals do.
    #[must_use]
    pub fn take(&self, signal: i32) -> bool {
        let number = u8::try_from(signal).ok().filter(|number| *number < SIGNAL_CODE);
        self.0.begun.load(Ordering::SeqCst) && number.is_some_and(|number| self.end(SIGNAL_CODE + number))
    }

    /// From now on a signal ends a load.
    pub(crate) fn begin(&self) {
        self.0.begun.store(true, Ordering::SeqCst);
    }

    /// The lines of the load can be printed no more.
    pub(crate) fn unprinted(&self) {
        self.end(UNPRINTED_CODE);
    }

    /// The exit code of a load that was ended before its time; `None` for one that was not.
    pub(crate) fn code(&self) -> Option<u8> {
        Some(self.0.code.load(Ordering::SeqCst)).filter(|code| *code > 0)
    }

    /// Whether a signal came.
    pub(crate) fn is_signal(&self) -> bool {
        self.code().is_some_and(|code| code >= SIGNAL_CODE)
    }

    fn end(&self, code: u8) -> bool {
        self.0.code.compare_exchange(0, code, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_of_a_load_is_taken_and_no_other() {
        let interrupt = Interrupt::default();
        assert!(!interrupt.take(2), "nothing runs");
        assert_eq!(interrupt.code(), None);
        interrupt.begin();
        assert!(interrupt.clone().take(15) && interrupt.is_signal());
        assert!(!interrupt.take(2), "the second");
        interrupt.unprinted();
        assert_eq!(interrupt.code(), Some(143));
    }
}
