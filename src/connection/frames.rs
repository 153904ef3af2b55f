//! Bytes as they arrive, split into frames: a 32-bit length, big-endian, and that many bytes.
//!
//! Invariant: the memory held for an unfinished frame follows the bytes that have arrived, never the length that was
//! claimed: at most [`GROWTH`] times what has arrived, or [`FIRST_BYTES`], and never more than the frame's length.

use std::fmt;

use bytes::{Bytes, BytesMut};

/// The first reservation for an unfinished frame, in bytes.
const FIRST_BYTES: usize = 16 << 10;
/// How many times the arrived bytes the reservation may be.
const GROWTH: usize = 4;
/// Bytes of the length before each frame.
const LENGTH_BYTES: usize = 4;

const _: () = assert!(GROWTH >= 2);

/// A length that ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The length is below zero.
    Negative {
        /// The length as it was sent.
        length: i32,
    },
    /// The length is above `socket.request.max.bytes`.
    TooLarge {
        /// The length as it was sent.
        length: i32,
        /// The limit that it broke.
        limit: usize,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Negative { length } => write!(f, "a frame of {length} bytes was announced"),
            FrameError::TooLarge { length, limit } => {
                write!(f, "a frame of {length} bytes was announced; socket.request.max.bytes allows {limit}")
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// The splitter of one connection.
#[derive(Debug)]
pub struct Frames {
    limit: usize,
    /// The bytes of a length that has not arrived whole.
    length: [u8; LENGTH_BYTES],
    length_bytes: usize,
    /// The unfinished frame: its length, and what has arrived of it.
    unfinished: Option<(usize, BytesMut)>,
}

impl Frames {
    /// A splitter that refuses frames above `limit` bytes (`socket.request.max.bytes`).
    #[must_use]
    pub fn new(limit: usize) -> Frames {
        Frames { limit, length: [0; LENGTH_BYTES], length_bytes: 0, unfinished: None }
    }

    /// Takes bytes off the front of `input` until a frame is whole or the input is used up. Call it until it returns
    /// `None`. A frame comes without its length, and may be empty.
    ///
    /// # Errors
    /// After an error the stream cannot be split further.
    pub fn take(&mut self, input: &mut &[u8]) -> Result<Option<Bytes>, FrameError> {
        if let Some((need, arrived)) = &mut self.unfinished {
            let step = (*need - arrived.len()).min(input.len());
            let (now, rest) = input.split_at(step);
            reserve(arrived, *need, step);
            arrived.extend_from_slice(now);
            *input = rest;
            return Ok(self.take_finished());
        }
        let Some(need) = self.take_length(input)? else { return Ok(None) };
        if input.len() >= need {
            let (frame, rest) = input.split_at(need);
            *input = rest;
            return Ok(Some(Bytes::copy_from_slice(frame)));
        }
        let mut arrived = BytesMut::new();
        reserve(&mut arrived, need, input.len());
        arrived.extend_from_slice(input);
        *input = &[];
        self.unfinished = Some((need, arrived));
        Ok(None)
    }

    /// The length of the next frame, when all of its four bytes have arrived.
    fn take_length(&mut self, input: &mut &[u8]) -> Result<Option<usize>, FrameError> {
        let step = (LENGTH_BYTES - self.length_bytes).min(input.len());
        let (now, rest) = input.split_at(step);
        self.length[self.length_bytes..self.length_bytes + step].copy_from_slice(now);
        self.length_bytes += step;
        *input = rest;
        if self.length_bytes < LENGTH_BYTES {
            return Ok(None);
        }
        self.length_bytes = 0;
        let length = i32::from_be_bytes(self.length);
        let need = usize::try_from(length).map_err(|_| FrameError::Negative { length })?;
        if need > self.limit {
            return Err(FrameError::TooLarge { length, limit: self.limit });
        }
        Ok(Some(need))
    }

    /// Where the rest of an unfinished frame may be received directly: a buffer with spare capacity, and how many
    /// bytes of it belong to the frame at most. The capacity never passes what the frame needs. `None` when no frame
    /// is unfinished. Append to the buffer, never more than that many bytes, then call [`Frames::take_finished`].
    pub fn spare(&mut self) -> Option<(&mut BytesMut, usize)> {
        let (need, arrived) = self.unfinished.as_mut()?;
        reserve(arrived, *need, 1);
        let room = (*need - arrived.len()).min(arrived.capacity() - arrived.len());
        Some((arrived, room))
    }

    /// The frame that was unfinished, if all of it has arrived.
    pub fn take_finished(&mut self) -> Option<Bytes> {
        let (need, arrived) = self.unfinished.as_ref()?;
        assert!(arrived.len() <= *need, "a frame gets no more than its bytes");
        if arrived.len() < *need {
            return None;
        }
        let (_, frame) = self.unfinished.take()?;
        Some(frame.freeze())
    }

    /// Whether part of a frame or of its length has arrived.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        self.unfinished.is_some() || self.length_bytes > 0
    }

    /// Bytes of the unfinished frame that have not arrived.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.unfinished.as_ref().map_or(0, |(need, arrived)| need - arrived.len())
    }

    /// Bytes of memory held for the unfinished frame.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.unfinished.as_ref().map_or(0, |(_, arrived)| arrived.capacity())
    }

    /// Bytes of memory that receiving up to `bytes` more of the unfinished frame would add.
    #[must_use]
    pub fn memory_to_grow(&self) -> usize {
        let Some((need, arrived)) = &self.unfinished else { return 0 };
        if arrived.len() < arrived.capacity() {
            return 0;
        }
        next_capacity(*need, arrived.len(), 1) - arrived.capacity()
    }
}

/// The capacity to give a frame of `need` bytes when `step` more arrive behind the `arrived` ones.
fn next_capacity(need: usize, arrived: usize, step: usize) -> usize {
    let followed = (arrived * GROWTH).max(FIRST_BYTES).max(arrived + step);
    followed.min(need)
}

/// Makes room for `step` more bytes, and some, without passing `need`.
fn reserve(arrived: &mut BytesMut, need: usize, step: usize) {
    if arrived.len() + step <= arrived.capacity() || arrived.len() == need {
        return;
    }
    // Not `BytesMut::reserve`: that may double the capacity beyond what the frame needs.
    let mut larger = BytesMut::with_capacity(next_capacity(need, arrived.len(), step));
    larger.extend_from_slice(arrived);
    *arrived = larger;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(payload: &[u8]) -> Vec<u8> {
        let length = i32::try_from(payload.len()).expect("short");
        [&length.to_be_bytes()[..], payload].concat()
    }

    fn all(frames: &mut Frames, mut input: &[u8]) -> Result<Vec<Bytes>, FrameError> {
        let mut whole = Vec::new();
        loop {
            match frames.take(&mut input)? {
                Some(frame) => whole.push(frame),
                None if input.is_empty() => return Ok(whole),
                None => {}
            }
        }
    }

    #[test]
    fn several_frames_in_one_receive_come_out_in_order() {
        let mut frames = Frames::new(100);
        let input = [framed(b"one"), framed(b""), framed(b"three"), vec![0, 0]].concat();
        assert_eq!(all(&mut frames, &input), Ok(vec!["one".into(), Bytes::new(), "three".into()]));
        assert!(frames.is_mid_frame());
        assert_eq!(all(&mut frames, &[0, 1, b'x']), Ok(vec!["x".into()]));
        assert!(!frames.is_mid_frame());
    }

    #[test]
    fn hostile_lengths_are_refused() {
        let mut frames = Frames::new(100);
        let negative = FrameError::Negative { length: -1 };
        assert_eq!(all(&mut frames, &[0xFF; 4]), Err(negative));
        let mut frames = Frames::new(100);
        assert_eq!(
            all(&mut frames, &101i32.to_be_bytes()),
            Err(FrameError::TooLarge { length: 101, limit: 100 })
        );
        let mut frames = Frames::new(100);
        assert_eq!(all(&mut frames, &framed(&[7; 100])), Ok(vec![Bytes::from(vec![7; 100])]));
    }

    #[test]
    fn memory_follows_the_bytes_that_arrived_and_not_the_claim() {
        let mut frames = Frames::new(100 << 20);
        assert_eq!(all(&mut frames, &(100i32 << 20).to_be_bytes()), Ok(vec![]));
        assert!(frames.memory() <= FIRST_BYTES);
        let mut arrived = 0;
        while arrived < 1 << 20 {
            assert_eq!(all(&mut frames, &[1; 1000]), Ok(vec![]));
            arrived += 1000;
            assert!(
                frames.memory() <= (arrived * GROWTH).max(FIRST_BYTES),
                "{} for {arrived}",
                frames.memory()
            );
        }
    }

    #[test]
    fn a_frame_never_holds_more_than_its_length() {
        let mut frames = Frames::new(1 << 20);
        let whole = framed(&[5; 70_000]);
        assert_eq!(all(&mut frames, &whole[..60_000]), Ok(vec![]));
        assert!(frames.memory() <= 70_000);
        let (buffer, room) = frames.spare().expect("a frame is unfinished");
        assert!(room > 0);
        let rest = &whole[60_000..];
        buffer.extend_from_slice(&rest[..room]);
        assert_eq!(frames.take_finished(), (room == rest.len()).then(|| Bytes::from(vec![5; 70_000])));
    }

    #[test]
    fn growth_is_announced_before_it_happens() {
        let mut frames = Frames::new(1 << 20);
        assert_eq!(all(&mut frames, &framed(&[0; 200_000])[..FIRST_BYTES + 4]), Ok(vec![]));
        assert_eq!(frames.memory(), FIRST_BYTES);
        let growth = frames.memory_to_grow();
        let _ = frames.spare();
        assert_eq!(frames.memory(), FIRST_BYTES + growth);
        assert_eq!(frames.memory_to_grow(), 0);
    }

    proptest! {
        #[test]
        fn any_cut_of_the_stream_gives_the_same_frames(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40_000), 1..6),
            cuts in proptest::collection::vec((1usize..50_000, any::<bool>()), 1..40),
        ) {
            let stream: Vec<u8> = payloads.iter().flat_map(|payload| framed(payload)).collect();
            let mut frames = Frames::new(40_000);
            let mut whole = Vec::new();
            let mut rest = &stream[..];
            let mut cuts = cuts.into_iter().cycle();
            while !rest.is_empty() {
                let (step, direct) = cuts.next().expect("endless");
                let step = step.min(rest.len());
                let taken = match frames.spare() {
                    Some((buffer, room)) if direct => {
                        let step = step.min(room);
                        buffer.extend_from_slice(&rest[..step]);
                        whole.extend(frames.take_finished());
                        step
                    }
                    Some(_) | None => {
                        whole.extend(all(&mut frames, &rest[..step]).expect("within the limit"));
                        step
                    }
                };
                rest = &rest[taken..];
            }
            prop_assert_eq!(whole, payloads.into_iter().map(Bytes::from).collect::<Vec<_>>());
            prop_assert!(!frames.is_mid_frame());
        }
    }
}
