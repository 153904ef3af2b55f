//! Kafka's ids of 128 bits, and how Kafka prints them.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Characters of a printed id: 16 bytes in base64 without padding.
const PRINTED: usize = 22;

/// A 128-bit id as Kafka writes it: 16 bytes, printed as unpadded URL-safe base64.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// The id that stands for none.
    pub const ZERO: Uuid = Uuid([0; 16]);

    /// True for the id that stands for none.
    pub fn is_zero(&self) -> bool {
        *self == Uuid::ZERO
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        let mut text = [0u8; PRINTED];
        for (i, c) in text.iter_mut().enumerate() {
            // 128 bits fill 21 characters and the upper two bits of the last one.
            let six = if i < PRINTED - 1 { bits >> (122 - 6 * i) } else { bits << 4 };
            *c = ALPHABET[(six & 63) as usize];
        }
        f.pad(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an id has 22 characters of URL-safe base64")]
pub struct UuidError;

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Uuid, UuidError> {
        let text = text.as_bytes();
        if text.len() != PRINTED {
            return Err(UuidError);
        }
        let mut bits = 0u128;
        for (i, c) in text.iter().enumerate() {
            let six = ALPHABET.iter().position(|a| a == c).ok_or(UuidError)? as u128;
            if i < PRINTED - 1 {
                bits = bits << 6 | six;
            } else if six & 15 == 0 {
                bits = bits << 2 | six >> 4;
            } else {
                return Err(UuidError);
            }
        }
        Ok(Uuid(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_kafka_prints() {
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        let mut one = [0; 16];
        one[15] = 1;
        // Kafka's Uuid.ONE_UUID (METADATA_TOPIC_ID).
        assert_eq!(Uuid(one).to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(Uuid([0xff; 16]).to_string(), "_____________________w");
    }

    #[test]
    fn text_and_back() {
        let id = Uuid([0x3f, 0x80, 7, 9, 200, 1, 2, 3, 4, 5, 6, 7, 8, 9, 250, 251]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAB".parse::<Uuid>(), Err(UuidError));
        assert_eq!("short".parse::<Uuid>(), Err(UuidError));
        assert_eq!("AAAAAAAAAAAAAAAAAAAA+A".parse::<Uuid>(), Err(UuidError));
    }
}
