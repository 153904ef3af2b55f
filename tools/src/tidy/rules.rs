//! The rules that look at one file.

use super::Violation;
use super::lexer::{Kind, Token};
use super::source::Source;

/// The most lines of a file.
const FILE_LINES_MAX: usize = 800;
/// The most characters of a line; the formatter breaks code earlier, but not text.
const LINE_CHARS_MAX: usize = 120;

/// Files that are tables and may be longer; whoever adds one says in the commit why it is a table.
const LONG_FILES: &[&str] = &[];

/// The part of the tree that decides and does not do.
const PURE: &str = "src/";
/// Build scripts run before there is anything to be pure.
const IMPURE: &[&str] = &["src/protocol/wire/build.rs"];
/// What a pure core cannot name: runtimes, the operating system, the clock.
const IMPURE_WORDS: &[&str] =
    &["glommio", "tokio", "libc", "io_uring", "async", "await", "Instant", "SystemTime"];
/// The modules of `std` that reach outside the process.
const IMPURE_MODULES: &[&str] = &["net", "fs", "thread", "env", "process", "os"];

/// The home of `unsafe`.
const UNSAFE: &str = "shards/";
/// Files elsewhere that cannot do without: an allocator that counts for a test is an unsafe trait.
const UNSAFE_FILES: &[&str] = &["tests/wire/allocations.rs"];

/// The rules on text: whatever a file is, and whatever stands in it.
pub(super) fn of_text(path: &str, text: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    if !text.ends_with('\n') || text.ends_with("\n\n") {
        let message = "a file ends with one line break";
        violations.push(Violation::new(path, text.lines().count(), "end of file", message));
    }
    let is_rust = path.ends_with(".rs");
    for (line, text) in (1..).zip(text.lines()) {
        let mut violation = |rule, message: &str| violations.push(Violation::new(path, line, rule, message));
        if let Some(home) = home_of_a_machine(text) {
            violation("absolute path", &format!("{home} is a place on one machine"));
        }
        if is_rust && text.contains('\t') {
            violation("tab", "indent with spaces, and write a tab in a text as \\t");
        }
        if is_rust && text.chars().count() > LINE_CHARS_MAX {
            violation("line length", &format!("a line has at most {LINE_CHARS_MAX} characters"));
        }
    }
    violations
}

/// A path that begins in somebody's own folder.
fn home_of_a_machine(line: &str) -> Option<String> {
    for folder in ["work", "home", "root", "Users", "farm"] {
        let path = format!("/{folder}/");
        for (at, _) in line.match_indices(&path) {
            let before = line[..at].chars().next_back();
            let begins = before.is_none_or(|before| !(before.is_alphanumeric() || "._-})/".contains(before)));
            if begins {
                return Some(path);
            }
        }
    }
    None
}

/// The rules on Rust.
pub(super) fn of_source(source: &Source<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    violations.extend(module_docs(source));
    violations.extend(file_length(source));
    violations.extend(purity(source));
    violations.extend(safety(source));
    violations.extend(unfinished(source));
    violations.extend(unwraps(source));
    violations
}

fn module_docs(source: &Source<'_>) -> Option<Violation> {
    let message = "a file begins with //! and what it is, who owns it and what must hold";
    (!source.text.starts_with("//! ")).then(|| Violation::new(source.path, 1, "module docs", message))
}

fn file_length(source: &Source<'_>) -> Option<Violation> {
    let lines = source.text.lines().count();
    if lines < FILE_LINES_MAX || LONG_FILES.contains(&source.path) {
        return None;
    }
    let message = format!("{lines} lines: split it by what it decides, below {FILE_LINES_MAX}");
    Some(Violation::new(source.path, lines, "file length", message))
}

fn purity(source: &Source<'_>) -> Vec<Violation> {
    if !source.path.starts_with(PURE) || IMPURE.contains(&source.path) {
        return Vec::new();
    }
    let mut found: Vec<&Token<'_>> = Vec::new();
    for (at, token) in source.tokens.iter().enumerate() {
        if token.kind == Kind::Word && IMPURE_WORDS.contains(&token.text) {
            found.push(token);
        } else if source.follows(at, &["std", ":", ":"]) {
            let heads = heads_of_path(source, at + 3);
            found.extend(heads.into_iter().filter(|head| IMPURE_MODULES.contains(&head.text)));
        }
    }
    let violation = |token: &Token<'_>| {
        let message = format!("`{}` has no place where things are only decided", token.text);
        Violation::new(source.path, token.line, "purity", message)
    };
    found.into_iter().map(violation).collect()
}

/// The words that a path goes on with at `at`: one, or those of a group in braces.
fn heads_of_path<'a, 'b>(source: &'b Source<'a>, at: usize) -> Vec<&'b Token<'a>> {
    let tokens = &source.tokens;
    if !tokens.get(at).is_some_and(|token| token.is_mark('{')) {
        return tokens.get(at).into_iter().collect();
    }
    let (mut heads, mut depth) = (Vec::new(), 0);
    for (here, token) in tokens.iter().enumerate().skip(at) {
        if token.is_mark('{') {
            depth += 1;
        } else if token.is_mark('}') {
            depth -= 1;
        }
        if depth == 0 {
            break;
        }
        if depth == 1
            && token.kind == Kind::Word
            && (tokens[here - 1].is_mark('{') || tokens[here - 1].is_mark(','))
        {
            heads.push(token);
        }
    }
    heads
}

fn safety(source: &Source<'_>) -> Vec<Violation> {
    let is_home = source.path.starts_with(UNSAFE) || UNSAFE_FILES.contains(&source.path);
    let found = source.tokens.iter().filter(|token| token.is_word("unsafe") && !is_home);
    let message = format!("unsafe code has its home under {UNSAFE}");
    found.map(|token| Violation::new(source.path, token.line, "unsafe", message.clone())).collect()
}

fn unfinished(source: &Source<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (at, token) in source.tokens.iter().enumerate() {
        for name in ["todo", "unimplemented", "dbg"] {
            if source.follows(at, &[name, "!"]) {
                let message = format!("{name}! is for unfinished work");
                violations.push(Violation::new(source.path, token.line, "unfinished", message));
            }
        }
    }
    violations
}

fn unwraps(source: &Source<'_>) -> Vec<Violation> {
    let is_unwrap = |at: usize| source.follows(at, &[".", "unwrap"]) || source.follows(at, &[":", "unwrap"]);
    let message = "say why it holds with expect, or return an error";
    source
        .code()
        .filter(|(at, _)| is_unwrap(*at))
        .map(|(_, token)| Violation::new(source.path, token.line, "unwrap", message))
        .collect()
}
