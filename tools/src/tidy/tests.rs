//! The rules see what they are for: a clean tree has no violation, and each planted one is the only one found.

use super::*;

const MANIFEST: &str = "[workspace.dependencies]\nbytes = \"1\"\nlibc = { version = \"0.2\" }\n
[dependencies]\nbytes.workspace = true\n";
const MEMBER: &str = "[target.'cfg(unix)'.dependencies]\nlibc = { workspace = true }\n";
const CORE: &str = r#"//! A core.

use std::{fmt, time::Duration};

/// Not `unsafe`, no std::fs and no todo!() outside this comment.
pub fn decide(a: u8, b: u8, c: u8, d: u8, e: u8) -> &'static str {
    "async fn unwrap() { std::net::tcp().await.unwrap(); todo!() }"
}

#[cfg(test)]
mod tests {
    #[test]
    fn may_unwrap() {
        Some(1).unwrap();
    }
}
"#;

fn clean() -> Tree {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    Tree::from([
        file("Cargo.toml", MANIFEST),
        file("shards/Cargo.toml", MEMBER),
        file("src/core.rs", CORE),
        file(
            "shards/src/io.rs",
            "//! May do what it must.\n\nasync unsafe fn f() {\n    std::fs::x().await\n}\n",
        ),
        file("src/protocol/wire/build.rs", "//! Writes.\n\nfn main() {\n    std::fs::write()\n}\n"),
        file("tests/x/main.rs", "//! Tests.\n\nfn f() {\n    g().unwrap();\n}\n"),
        file(RATCHET, "# Exceptions.\n"),
    ])
}

fn function(lines: usize) -> String {
    format!("fn long() {{\n{}}}\n", "    a();\n".repeat(lines - 2))
}

/// The clean tree with `text` put behind the file at `path`, which it makes where there is none.
fn planted(path: &str, text: &str) -> Tree {
    let mut tree = clean();
    let is_rust = path.ends_with(".rs");
    let head = if is_rust { "//! New.\n\n" } else { "" };
    tree.entry(path.to_owned()).or_insert_with(|| head.to_owned()).push_str(text);
    tree
}

/// The rules that the tree breaks.
fn broken(tree: &Tree) -> Vec<&'static str> {
    check(tree).into_iter().map(|violation| violation.rule).collect()
}

#[test]
fn a_clean_tree_is_clean() {
    assert_eq!(check(&clean()), []);
}

#[test]
fn each_planted_violation_is_found_and_nothing_else() {
    let long_line = format!("// {}\n", "x".repeat(118));
    let long_file = "// line\n".repeat(798);
    let cases = [
        ("purity", "src/core.rs", "use std::fs;\n"),
        ("purity", "src/core.rs", "use std::{collections::BTreeMap, net::IpAddr};\n"),
        ("purity", "src/core.rs", "use ::std::thread::{self, JoinHandle};\n"),
        ("purity", "src/core.rs", "fn f() {\n    std::env::var()\n}\n"),
        ("purity", "src/core.rs", "use std::time::{Duration, Instant};\n"),
        ("purity", "src/core.rs", "use std::time::SystemTime;\n"),
        ("purity", "src/core.rs", "async fn f() {}\n"),
        ("purity", "src/core.rs", "fn f() {\n    g().await\n}\n"),
        ("purity", "src/core.rs", "use tokio::sync;\n"),
        ("purity", "src/core.rs", "use glommio::io;\n"),
        ("purity", "src/deep/er.rs", "use libc::c_int;\n"),
        ("purity", "src/deep/er.rs", "use io_uring::IoUring;\n"),
        ("unsafe", "src/core.rs", "unsafe fn f() {}\n"),
        ("unsafe", "tests/x/main.rs", "fn g() {\n    unsafe { h() }\n}\n"),
        ("unfinished", "src/core.rs", "fn f() {\n    todo!()\n}\n"),
        ("unfinished", "shards/src/io.rs", "fn f() {\n    unimplemented!(\"x\")\n}\n"),
        ("unfinished", "tests/x/main.rs", "fn g() {\n    dbg!(1);\n}\n"),
        ("unwrap", "src/core.rs", "fn f() {\n    g().unwrap();\n}\n"),
        ("unwrap", "shards/src/io.rs", "fn f() {\n    g().map(Option::unwrap);\n}\n"),
        ("unwrap", "src/core.rs", "#[cfg(not(test))]\nfn f() {\n    g().unwrap();\n}\n"),
        ("function size", "src/core.rs", "fn f(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8) {}\n"),
        ("tab", "src/core.rs", "//\tx\n"),
        ("line length", "src/core.rs", &long_line),
        ("end of file", "src/core.rs", "// x"),
        ("end of file", "Makefile", "all:\n\n"),
        ("absolute path", "README.md", concat!("see /", "home/x\n")),
        ("absolute path", "src/core.rs", concat!("// in \"/", "work/x\"\n")),
        ("file length", "src/deep/long.rs", &long_file),
        ("ratchet", RATCHET, "src/core.rs::gone 80 lines\n"),
        ("ratchet", RATCHET, "src/core.rs::decide 6 parameters\n"),
        ("ratchet", RATCHET, "what is this\n"),
    ];
    for (rule, path, text) in cases {
        assert_eq!(broken(&planted(path, text)), [rule], "{path}: {text}");
    }
}

#[test]
fn a_file_begins_with_what_it_is() {
    let mut tree = clean();
    tree.insert("src/bare.rs".to_owned(), "fn f() {}\n".to_owned());
    assert_eq!(broken(&tree), ["module docs"]);
}

#[test]
fn the_ratchet_only_turns_one_way() {
    // Enough short functions to keep the share of long ones low.
    let short = "fn short() {}\n".repeat(20);
    let tree = |lines, exceptions: &str| {
        let mut tree = planted("src/deep/long.rs", &format!("{short}{}", function(lines)));
        tree.insert(RATCHET.to_owned(), format!("# Exceptions.\n{exceptions}"));
        broken(&tree)
    };
    let exception = "src/deep/long.rs::long 80 lines\n";
    assert_eq!(tree(70, ""), [""; 0]);
    assert_eq!(tree(71, ""), ["function size"]);
    assert_eq!(tree(80, exception), [""; 0]);
    assert_eq!(tree(81, exception), ["function size"]);
    assert_eq!(tree(79, exception), ["ratchet"]);
    assert_eq!(tree(70, exception), ["ratchet"]);
    assert_eq!(tree(80, &exception.repeat(2)), ["ratchet"]);
    assert_eq!(tree(80, "src/deep/long.rs::long 80 parameters\n"), ["function size", "ratchet"]);
}

#[test]
fn one_function_in_ten_may_be_long() {
    let tree = |short: usize, long: &str| {
        let text = format!("{}{long}", "fn short() {}\n".repeat(short));
        // The clean tree has three functions that count.
        broken(&planted("src/deep/long.rs", &text))
    };
    assert_eq!(tree(6, &function(41)), [""; 0]);
    assert_eq!(tree(5, &function(41)), ["function share"]);
    assert_eq!(tree(5, &function(40)), [""; 0]);
    let in_test = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function(41));
    assert_eq!(tree(0, &in_test), [""; 0]);
}

#[test]
fn modules_for_tests_are_followed_into_their_files() {
    let unwrap = "fn f() {\n    g().unwrap();\n}\n";
    let mut tree = planted("src/deep/mod.rs", "#[cfg(test)]\nmod fixtures;\nmod other;\n");
    for path in ["src/deep/fixtures.rs", "src/deep/fixtures/more.rs", "src/deep/other/tests.rs"] {
        tree.insert(path.to_owned(), format!("//! Test.\n\n{unwrap}"));
    }
    assert_eq!(check(&tree), []);
    tree.insert("src/deep/other.rs".to_owned(), format!("//! Code.\n\n{unwrap}"));
    assert_eq!(broken(&tree), ["unwrap"]);
}

#[test]
fn a_dependency_is_taken_or_goes() {
    let mut tree = clean();
    tree.remove("shards/Cargo.toml");
    let violations = check(&tree);
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert_eq!((violations[0].rule, violations[0].line), ("dependencies", 3));
    // Its own declaration of the same name is not the workspace's.
    tree.insert("tools/Cargo.toml".to_owned(), "[dependencies]\nlibc = \"0.2\"\n".to_owned());
    assert_eq!(broken(&tree), ["dependencies"]);
    tree.insert("tools/Cargo.toml".to_owned(), "[dev-dependencies]\nlibc.workspace = true\n".to_owned());
    assert_eq!(check(&tree), []);
}

#[test]
fn folders_of_the_tree_are_no_absolute_paths() {
    for fine in ["../home/x", "$(pwd)/work/x", "a/root/b", "/var/lib/x", "{root}/home/x"] {
        assert_eq!(check(&planted("README.md", &format!("{fine}\n"))), [], "{fine}");
    }
}
