//! A source file as the rules look at it: its tokens, which of them are tests, and its functions.

use super::lexer::{Kind, Token, tokens};

/// One Rust file.
#[derive(Debug)]
pub struct Source<'a> {
    /// Its path from the root of the repository, with slashes.
    pub path: &'a str,
    /// Its characters.
    pub text: &'a str,
    /// Its tokens.
    pub tokens: Vec<Token<'a>>,
    /// Per token, whether it belongs to a test.
    pub is_test: Vec<bool>,
    /// The files and folders that the file declares as modules for tests alone, as paths without an ending.
    pub test_modules: Vec<String>,
}

/// A function with a body, wherever it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// `path::Type::name`, or `path::name` outside an `impl` or trait.
    pub name: String,
    /// The line of its `fn`, counted from 1.
    pub line: usize,
    /// Lines from its `fn` to its last brace.
    pub lines: usize,
    /// Its parameters without `self`.
    pub parameters: usize,
    /// Whether it belongs to a test.
    pub is_test: bool,
}

impl<'a> Source<'a> {
    /// Reads a file; `is_test` says that all of it is for tests.
    #[must_use]
    pub fn new(path: &'a str, text: &'a str, is_test: bool) -> Source<'a> {
        let tokens = tokens(text);
        let mut source =
            Source { path, text, is_test: vec![is_test; tokens.len()], tokens, test_modules: Vec::new() };
        source.mark_tests();
        source
    }

    /// Marks the items behind `#[test]` and `#[cfg(test)]`.
    fn mark_tests(&mut self) {
        let mut at = 0;
        while at < self.tokens.len() {
            let Some(attribute) = Attribute::at(&self.tokens, at) else {
                at += 1;
                continue;
            };
            if attribute.is_for_tests(&self.tokens) {
                let end = if attribute.is_inner {
                    self.tokens.len() - 1
                } else {
                    item_end(&self.tokens, attribute.end + 1)
                };
                self.is_test[at..=end].fill(true);
                self.test_modules.extend(module_path(self.path, &self.tokens[attribute.end + 1..=end]));
            }
            at = attribute.end + 1;
        }
    }

    /// The tokens that are no test, with their positions.
    pub fn code(&self) -> impl Iterator<Item = (usize, &Token<'a>)> {
        self.tokens.iter().enumerate().filter(|(at, _)| !self.is_test[*at])
    }

    /// Whether the tokens from `at` on are these words and marks.
    #[must_use]
    pub fn follows(&self, at: usize, texts: &[&str]) -> bool {
        let here = self.tokens.get(at..at + texts.len()).unwrap_or_default();
        here.len() == texts.len()
            && here.iter().zip(texts).all(|(token, text)| token.kind != Kind::Literal && token.text == *text)
    }

    /// Every function with a body, in order.
    #[must_use]
    pub fn functions(&self) -> Vec<Function> {
        let mut functions = Vec::new();
        let mut owners: Vec<(usize, String)> = Vec::new();
        for (at, token) in self.tokens.iter().enumerate() {
            owners.retain(|(end, _)| at <= *end);
            if token.is_word("impl") || token.is_word("trait") {
                owners.extend(owner(&self.tokens, at));
            } else if token.is_word("fn")
                && let Some(function) = self.function(at, owners.last().map(|(_, name)| name.as_str()))
            {
                functions.push(function);
            }
        }
        functions
    }

    fn function(&self, at: usize, owner: Option<&str>) -> Option<Function> {
        let name = self.tokens.get(at + 1).filter(|token| token.kind == Kind::Word)?;
        let open = (at + 2..self.tokens.len())
            .scan(0_i32, |angles, here| {
                *angles += angle(&self.tokens, here);
                Some((here, *angles))
            })
            .find(|(here, angles)| *angles == 0 && self.tokens[*here].is_mark('('))
            .map(|(here, _)| here)?;
        let close = closing(&self.tokens, open);
        let body = body_start(&self.tokens, close + 1)?;
        let end = closing(&self.tokens, body);
        let owner = owner.map(|owner| format!("{owner}::")).unwrap_or_default();
        Some(Function {
            name: format!("{}::{owner}{}", self.path, name.text),
            line: self.tokens[at].line,
            lines: self.tokens[end].line - self.tokens[at].line + 1,
            parameters: parameters(&self.tokens[open + 1..close]),
            is_test: self.is_test[at],
        })
    }
}

/// An attribute by its first and last token.
struct Attribute {
    start: usize,
    end: usize,
    is_inner: bool,
}

impl Attribute {
    fn at(tokens: &[Token<'_>], at: usize) -> Option<Attribute> {
        let is_inner = tokens.get(at + 1)?.is_mark('!');
        let open = at + 1 + usize::from(is_inner);
        if !tokens[at].is_mark('#') || !tokens.get(open)?.is_mark('[') {
            return None;
        }
        Some(Attribute { start: open + 1, end: closing(tokens, open), is_inner })
    }

    /// Whether what it stands at is compiled for tests alone.
    fn is_for_tests(&self, tokens: &[Token<'_>]) -> bool {
        let inside = &tokens[self.start..self.end];
        let has = |word| inside.iter().any(|token| token.is_word(word));
        match inside {
            [only] => only.is_word("test"),
            [first, ..] => first.is_word("cfg") && has("test") && !has("not"),
            [] => false,
        }
    }
}

/// The bracket that closes the one at `open`; the last token where none does.
fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_i32;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        depth += bracket(token);
        if depth == 0 {
            return at;
        }
    }
    tokens.len() - 1
}

/// 1 for a bracket that opens, -1 for one that closes.
fn bracket(token: &Token<'_>) -> i32 {
    match token.text {
        _ if token.kind != Kind::Mark => 0,
        "(" | "[" | "{" => 1,
        ")" | "]" | "}" => -1,
        _ => 0,
    }
}

/// 1 for an angle bracket that opens, -1 for one that closes, 0 for the head of an arrow.
fn angle(tokens: &[Token<'_>], at: usize) -> i32 {
    let is_arrow = at > 0 && (tokens[at - 1].is_mark('-') || tokens[at - 1].is_mark('='));
    match tokens[at].text {
        _ if tokens[at].kind != Kind::Mark => 0,
        "<" => 1,
        ">" if !is_arrow => -1,
        _ => 0,
    }
}

/// The last token of the item that begins at `at`: its semicolon, or the brace that closes its first.
fn item_end(tokens: &[Token<'_>], mut at: usize) -> usize {
    while at < tokens.len() {
        if let Some(attribute) = Attribute::at(tokens, at) {
            at = attribute.end + 1;
        } else if tokens[at].is_mark('{') {
            return closing(tokens, at);
        } else if tokens[at].is_mark(';') {
            return at;
        } else if bracket(&tokens[at]) > 0 {
            at = closing(tokens, at) + 1;
        } else {
            at += 1;
        }
    }
    tokens.len() - 1
}

/// The path without ending of the file that `mod name;` in the file `path` stands for.
fn module_path(path: &str, item: &[Token<'_>]) -> Option<String> {
    let [.., keyword, name, end] = item else { return None };
    if !keyword.is_word("mod") || !end.is_mark(';') {
        return None;
    }
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    match stem {
        "mod" | "lib" | "main" => Some(format!("{folder}/{}", name.text)),
        _ => Some(format!("{folder}/{stem}/{}", name.text)),
    }
}

/// Where the body of the signature that goes on at `at` begins; `None` where it ends without one.
fn body_start(tokens: &[Token<'_>], mut at: usize) -> Option<usize> {
    loop {
        let token = tokens.get(at)?;
        if token.is_mark('{') {
            return Some(at);
        }
        if token.is_mark(';') || token.is_mark('}') {
            return None;
        }
        at = if bracket(token) > 0 { closing(tokens, at) + 1 } else { at + 1 };
    }
}

/// How many parameters stand between the parentheses, without `self`.
fn parameters(tokens: &[Token<'_>]) -> usize {
    let (mut depth, mut count, mut is_empty) = (0, 0, true);
    for (at, token) in tokens.iter().enumerate() {
        depth += bracket(token) + angle(tokens, at);
        if depth == 0 && token.is_mark(',') {
            is_empty = true;
        } else if is_empty {
            is_empty = false;
            count += 1;
        }
    }
    let first = tokens.split(|token| token.is_mark(',') || token.is_mark(':')).next().unwrap_or_default();
    let has_self = first.iter().any(|token| token.is_word("self"));
    count - usize::from(has_self)
}

/// The type or trait that the block at `at` is for, with the block's last token; `None` for `impl` in a type.
fn owner(tokens: &[Token<'_>], at: usize) -> Option<(usize, String)> {
    let is_item = at == 0
        || ["}", ";", "]", "{", "unsafe", "pub", ")", "default"].contains(&tokens[at - 1].text)
        || tokens[at - 1].is_mark('!');
    if !is_item {
        return None;
    }
    let body = body_start(tokens, at + 1)?;
    let mut name = None;
    let mut angles = 0;
    for here in at + 1..body {
        angles += angle(tokens, here);
        let token = &tokens[here];
        if angles == 0 && token.is_word("where") {
            break;
        }
        if angles == 0 && token.kind == Kind::Word && !["for", "dyn", "mut", "const"].contains(&token.text) {
            if name.is_some() && tokens[at].is_word("trait") {
                break;
            }
            name = Some(token.text.to_owned());
        }
    }
    Some((closing(tokens, body), name?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions(text: &str) -> Vec<(String, usize, usize, bool)> {
        Source::new("a.rs", text, false)
            .functions()
            .into_iter()
            .map(|f| (f.name, f.lines, f.parameters, f.is_test))
            .collect()
    }

    #[test]
    fn functions_are_found_with_their_owners_lines_and_parameters() {
        let text = "
            fn free() {}
            impl<T: Fn(u8) -> u8> Trait<T> for some::Type<'_, T> where T: Copy {
                fn with_self(&mut self, a: Map<u8, Vec<u8>>, (b, c): (u8, u8)) -> impl Fn(u8, u8) {
                    fn inner<F: Fn(u8) -> u8>(f: F, g: [u8; 3],) {}
                }
                const fn none(self: Box<Self>) {}
            }
            trait Shape: Other + Sized {
                fn declared(&self, a: u8);
                fn given<'a>(&'a self) where Self: Copy { let f: fn(u8, u8) = two; }
            }
            fn takes(f: impl Fn(u8, u8) -> u8, x: u8) {}
        ";
        let expected = [
            ("a.rs::free", 1, 0),
            ("a.rs::Type::with_self", 3, 2),
            ("a.rs::Type::inner", 1, 2),
            ("a.rs::Type::none", 1, 0),
            ("a.rs::Shape::given", 1, 0),
            ("a.rs::takes", 1, 2),
        ];
        let expected: Vec<_> = expected.iter().map(|(n, l, p)| ((*n).to_owned(), *l, *p, false)).collect();
        assert_eq!(functions(text), expected);
    }

    #[test]
    fn tests_are_told_from_code() {
        let text = "
            fn code() {}
            #[test] fn one() {}
            #[cfg(test)] #[allow(x)] pub(super) mod named;
            #[cfg(all(test, unix))] mod inline { fn two() {} }
            #[cfg(not(test))] fn more_code() {}
            #[cfg(test)] use a::{b, c};
            fn last() {}
        ";
        let names: Vec<_> = functions(text).into_iter().map(|f| (f.0, f.3)).collect();
        let expected = [("code", false), ("one", true), ("two", true), ("more_code", false), ("last", false)];
        assert_eq!(names, expected.map(|(name, is_test)| (format!("a.rs::{name}"), is_test)));
        let at = |path| Source::new(path, text, false).test_modules;
        assert_eq!(at("x/lib.rs"), ["x/named"]);
        assert_eq!(at("x/y/mod.rs"), ["x/y/named"]);
        assert_eq!(at("x/y.rs"), ["x/y/named"]);
        assert!(Source::new("a.rs", "#![cfg(test)] fn f() {}", false).functions()[0].is_test);
    }
}
