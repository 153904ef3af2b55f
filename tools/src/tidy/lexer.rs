//! Rust source as tokens, as far as the rules of tidy need it.
//!
//! The lexer knows where strings, characters, comments and lifetimes begin and end, so that a rule never mistakes
//! a word in a text for code. It does not check that the source is Rust: the compiler has done that.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A name or keyword; a raw name without its `r#`.
    Word,
    /// One character of punctuation.
    Mark,
    /// A string, character or number.
    Literal,
    /// A lifetime or label.
    Lifetime,
}

/// A token and the line it begins on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its characters.
    pub text: &'a str,
    /// Its line, counted from 1.
    pub line: usize,
}

impl Token<'_> {
    /// Whether this is the name or keyword `word`.
    #[must_use]
    pub fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text == word
    }

    /// Whether this is the punctuation `mark`.
    #[must_use]
    pub fn is_mark(&self, mark: char) -> bool {
        self.kind == Kind::Mark && self.text.starts_with(mark)
    }
}

/// The tokens of `source`, without comments and white space.
#[must_use]
pub fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { source, at: 0, line: 1 };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next_token() {
        tokens.push(token);
    }
    tokens
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.rest().chars().nth(ahead)
    }

    /// Moves over `bytes` bytes, which end between two characters, and counts their lines.
    fn advance(&mut self, bytes: usize) {
        let passed = &self.source[self.at..self.at + bytes];
        self.line += passed.matches('\n').count();
        self.at += bytes;
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let rest = self.rest();
            let blanks = rest.len() - rest.trim_start().len();
            self.advance(blanks);
            let rest = self.rest();
            if rest.starts_with("//") {
                self.advance(rest.find('\n').unwrap_or(rest.len()));
            } else if rest.starts_with("/*") {
                self.advance(block_comment_bytes(rest));
            } else if blanks == 0 {
                return;
            }
        }
    }

    fn next_token(&mut self) -> Option<Token<'a>> {
        self.skip_blanks_and_comments();
        let first = self.peek(0)?;
        let rest = self.rest();
        let (kind, bytes) = match first {
            '"' => (Kind::Literal, quoted_bytes(rest, '"')),
            '\'' => self.quote(),
            _ if first.is_ascii_digit() => (Kind::Literal, number_bytes(rest)),
            _ if is_word(first) => self.word(),
            _ => (Kind::Mark, first.len_utf8()),
        };
        let line = self.line;
        let mut text = &rest[..bytes];
        self.advance(bytes);
        if kind == Kind::Word {
            text = text.strip_prefix("r#").unwrap_or(text);
        }
        Some(Token { kind, text, line })
    }

    /// A character, or a lifetime.
    fn quote(&self) -> (Kind, usize) {
        let rest = self.rest();
        let is_character = self.peek(1) == Some('\\') || self.peek(2) == Some('\'');
        if is_character {
            (Kind::Literal, quoted_bytes(rest, '\''))
        } else {
            (Kind::Lifetime, 1 + word_bytes(&rest[1..]))
        }
    }

    /// A word, or a literal that begins with the letters of its kind, such as `b"…"` and `r#"…"#`.
    fn word(&self) -> (Kind, usize) {
        let rest = self.rest();
        let bytes = word_bytes(rest);
        let (prefix, behind) = rest.split_at(bytes);
        match prefix {
            "b" | "c" if behind.starts_with('"') => (Kind::Literal, bytes + quoted_bytes(behind, '"')),
            "b" if behind.starts_with('\'') => (Kind::Literal, bytes + quoted_bytes(behind, '\'')),
            "r" | "br" | "cr" => match raw_bytes(behind) {
                Some(raw) => (Kind::Literal, bytes + raw),
                None if prefix == "r" && behind.starts_with('#') => {
                    (Kind::Word, 2 + word_bytes(&behind[1..]))
                }
                None => (Kind::Word, bytes),
            },
            _ => (Kind::Word, bytes),
        }
    }
}

fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

fn word_bytes(text: &str) -> usize {
    text.find(|character| !is_word(character)).unwrap_or(text.len())
}

/// A number with its suffix; a point belongs to it only where a digit follows, so that ranges and methods do not.
fn number_bytes(text: &str) -> usize {
    let bytes = word_bytes(text);
    let mut behind = text[bytes..].chars();
    if behind.next() == Some('.') && behind.next().is_some_and(|next| next.is_ascii_digit()) {
        return bytes + 1 + word_bytes(&text[bytes + 1..]);
    }
    bytes
}

/// A text from its opening quote to the closing one, which no backslash precedes.
fn quoted_bytes(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if character == '\\' {
            escaped = true;
        } else if character == quote {
            return at + 1;
        }
    }
    text.len()
}

/// A raw string behind its letter; `None` where no such string begins.
fn raw_bytes(text: &str) -> Option<usize> {
    let hashes = text.len() - text.trim_start_matches('#').len();
    let inside = text[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let bytes = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(hashes + 1 + bytes)
}

/// A block comment with those inside it.
fn block_comment_bytes(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<&str> {
        tokens(source).into_iter().filter(|token| token.kind == Kind::Word).map(|token| token.text).collect()
    }

    #[test]
    fn texts_and_comments_are_no_code() {
        let source = r####"
            a /* b /* c */ " */ d // e "
            "f \" g" h 'i' j '\'' k b'l' m b"n\\" o r"p\" q r#"r " s"# t br##"u "# v"## w c"x" y
            r#type 'z: loop { break 'z } 'ä' end
        "####;
        let expected =
            ["a", "d", "h", "j", "k", "m", "o", "q", "t", "w", "y", "type", "loop", "break", "end"];
        assert_eq!(words(source), expected);
    }

    #[test]
    fn lines_are_counted_through_everything() {
        let source = "a\n/* \n */ b \"\n\n\" c\nr#\"\n\"# d // \n e";
        let lines: Vec<_> =
            tokens(source).iter().filter(|t| t.kind == Kind::Word).map(|t| (t.text, t.line)).collect();
        assert_eq!(lines, [("a", 1), ("b", 3), ("c", 5), ("d", 7), ("e", 8)]);
    }

    #[test]
    fn numbers_end_where_ranges_and_methods_begin() {
        let texts: Vec<_> = tokens("0..10 1.5e3f64 7.max(2) 0x_ff").iter().map(|t| t.text).collect();
        assert_eq!(texts, ["0", ".", ".", "10", "1.5e3f64", "7", ".", "max", "(", "2", ")", "0x_ff"]);
    }
}
