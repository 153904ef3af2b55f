//! Record batches inside a message: bytes that are here, or bytes that are put in on the way out.

use std::borrow::Cow;

/// The value of a field of type `records`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records<'a> {
    /// The bytes of the batches.
    Inline(Cow<'a, [u8]>),
    /// That many bytes follow here and come from elsewhere: a reply names them and does not copy them. Only the writer
    /// knows this form; decoding gives [`Records::Inline`].
    Splice {
        /// How many bytes will be put in.
        bytes: u32,
    },
}

impl Records<'_> {
    /// How many bytes of batches there are.
    pub fn len(&self) -> usize {
        match self {
            Records::Inline(bytes) => bytes.len(),
            Records::Splice { bytes } => *bytes as usize,
        }
    }

    /// True when there are no batches.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
