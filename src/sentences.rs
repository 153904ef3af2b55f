//! Sentences beside error codes: what a client wrote comes back in them, so that they are bounded here.
//!
//! Pure functions, owned by no shard. What must hold: no sentence is longer than a reply can carry, for a change that
//! was made must be told; and what one request makes an answer repeat is bounded, however often it names the same.

use std::borrow::Cow;

/// The most bytes of one sentence.
const SENTENCE_BYTES_MAX: usize = 4096;

/// The most bytes of sentences in one answer that has one for each of any number of partitions; those behind have their
/// error codes alone.
const SENTENCES_BYTES_MAX: usize = 1 << 20;

/// A sentence, cut where it is longer than anybody reads.
#[must_use]
pub fn cut(sentence: impl Into<Cow<'static, str>>) -> Cow<'static, str> {
    let mut sentence = sentence.into();
    if sentence.len() > SENTENCE_BYTES_MAX {
        let end = sentence.floor_char_boundary(SENTENCE_BYTES_MAX);
        let cut = sentence.to_mut();
        cut.truncate(end);
        cut.push('…');
    }
    sentence
}

/// The sentences of one answer.
#[derive(Debug)]
pub struct Sentences {
    left: usize,
}

impl Default for Sentences {
    fn default() -> Sentences {
        Sentences { left: SENTENCES_BYTES_MAX }
    }
}

impl Sentences {
    /// One more, made if there is still room.
    pub fn tell<S: Into<Cow<'static, str>>>(
        &mut self,
        sentence: impl FnOnce() -> S,
    ) -> Option<Cow<'static, str>> {
        if self.left == 0 {
            return None;
        }
        let told = cut(sentence());
        self.left = self.left.saturating_sub(told.len());
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_sentence_is_cut_between_characters() {
        assert_eq!(cut("as it is"), "as it is");
        let whole = "a".repeat(SENTENCE_BYTES_MAX);
        assert_eq!(cut(whole.clone()), whole);
        // The character that the limit goes through is left out.
        let long = format!("{}éé", &whole[1..]);
        assert_eq!(cut(long), format!("{}…", &whole[1..]));
    }

    #[test]
    fn an_answer_has_so_many_sentences() {
        let mut sentences = Sentences::default();
        let told = (0..1_000).filter_map(|_| sentences.tell(|| "x".repeat(30_000))).collect::<Vec<_>>();
        let bytes: usize = told.iter().map(|sentence| sentence.len()).sum();
        assert!(
            (SENTENCES_BYTES_MAX..SENTENCES_BYTES_MAX + SENTENCE_BYTES_MAX + 3).contains(&bytes),
            "{bytes}"
        );
        assert_eq!(sentences.tell(|| -> &str { unreachable!("there is no room for it") }), None);
    }
}
