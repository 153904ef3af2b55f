//! One direction between two shards: a bounded ring, and the sender's list of what did not fit.
//!
//! The sender that finds the ring full raises a flag, fences, and tries once more; the receiver that has taken values
//! fences and looks at the flag. Whichever fence comes first, either the sender sees the room or the receiver sees
//! the flag and rings: the list never waits for room that is there.
//!
//! Invariant: values come out in the order in which they were sent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rtrb::{Consumer, Producer, PushError, RingBuffer};

/// The sending end.
pub(super) struct Outlet<T> {
    ring: Producer<T>,
    list: VecDeque<T>,
    /// Values sent so far, those in the list included.
    sent: u64,
    room_wanted: Arc<AtomicBool>,
}

/// The receiving end.
pub(super) struct Inlet<T> {
    ring: Consumer<T>,
    /// Whether values were taken since the flag was looked at.
    taken: bool,
    room_wanted: Arc<AtomicBool>,
}

/// Both ends of a lane whose ring holds `capacity` values.
pub(super) fn lane<T>(capacity: usize) -> (Outlet<T>, Inlet<T>) {
    let (producer, consumer) = RingBuffer::new(capacity);
    let room_wanted = Arc::new(AtomicBool::new(false));
    let outlet =
        Outlet { ring: producer, list: VecDeque::new(), sent: 0, room_wanted: Arc::clone(&room_wanted) };
    (outlet, Inlet { ring: consumer, taken: false, room_wanted })
}

impl<T> Outlet<T> {
    /// Sends a value, into the ring or behind what waits for it; returns its place among all that were sent.
    pub(super) fn send(&mut self, value: T) -> u64 {
        self.sent += 1;
        if self.list.is_empty() {
            match self.ring.push(value) {
                Ok(()) => return self.sent,
                Err(PushError::Full(value)) => self.list.push_back(value),
            }
            self.flush();
        } else {
            self.list.push_back(value);
        }
        self.sent
    }

    /// Whether the value of this place has entered the ring.
    pub(super) fn has_entered(&self, place: u64) -> bool {
        place + self.list.len() as u64 <= self.sent
    }

    /// Values that the receiver has not taken.
    pub(super) fn waiting(&self) -> usize {
        self.ring.buffer().capacity() - self.ring.slots() + self.list.len()
    }

    /// Moves what fits from the list into the ring; returns whether anything did. While something is left, the
    /// receiver knows that room is wanted.
    pub(super) fn flush(&mut self) -> bool {
        let mut moved = self.fill();
        if !self.list.is_empty() {
            self.room_wanted.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            moved |= self.fill();
        }
        moved
    }

    fn fill(&mut self) -> bool {
        let before = self.list.len();
        while let Some(value) = self.list.pop_front() {
            if let Err(PushError::Full(value)) = self.ring.push(value) {
                self.list.push_front(value);
                break;
            }
        }
        self.list.len() < before
    }
}

impl<T> Inlet<T> {
    /// The next value.
    pub(super) fn take(&mut self) -> Option<T> {
        let value = self.ring.pop().ok();
        self.taken |= value.is_some();
        value
    }

    /// Whether the sender waits for the room that was made since the last call; it is to be rung then.
    pub(super) fn room_is_wanted(&mut self) -> bool {
        if !std::mem::take(&mut self.taken) {
            return false;
        }
        fence(Ordering::SeqCst);
        self.room_wanted.load(Ordering::Relaxed) && self.room_wanted.swap(false, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_do_not_fit_wait_in_order_and_room_is_asked_for() {
        let (mut outlet, mut inlet) = lane(2);
        assert_eq!(outlet.waiting(), 0);
        let places: Vec<u64> = (0..5).map(|value| outlet.send(value)).collect();
        assert_eq!(places, [1, 2, 3, 4, 5]);
        assert!(outlet.has_entered(2));
        assert!(!outlet.has_entered(3));
        assert!(!inlet.room_is_wanted(), "no room was made yet");
        assert_eq!(inlet.take(), Some(0));
        assert!(inlet.room_is_wanted());
        assert!(!inlet.room_is_wanted());
        assert!(outlet.flush());
        assert!(outlet.has_entered(3));
        let mut rest = vec![];
        while let Some(value) = inlet.take() {
            rest.push(value);
            outlet.flush();
        }
        assert_eq!(rest, [1, 2, 3, 4]);
        assert!(outlet.has_entered(5));
    }

    #[test]
    fn a_value_never_overtakes_the_list() {
        let (mut outlet, mut inlet) = lane(1);
        outlet.send(1);
        outlet.send(2);
        assert_eq!(inlet.take(), Some(1));
        outlet.send(3);
        outlet.flush();
        assert_eq!(inlet.take(), Some(2));
        outlet.flush();
        assert_eq!(inlet.take(), Some(3));
    }
}
