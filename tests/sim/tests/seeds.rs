//! Seeds: a handful of whole ones, and the promise that a seed is a function of itself.

use std::process::Command;

use ottla_sim::run::{RunOptions, run_seed};

/// What the binary says of a seed: its fingerprint and how many events it had.
fn told(seed: u64) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sim")).args(["--seed", &seed.to_string()]).output();
    let output = output.expect("the binary was built with this test");
    let text = String::from_utf8(output.stdout).expect("it prints text");
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn twins_have_the_same_fingerprint() {
    for seed in [1, 3, 8] {
        let (one, other) = (told(seed), told(seed));
        assert!(one.contains("fingerprint"), "{one}");
        assert_eq!(one, other);
        // And one that was run after others in the same process.
        let result = run_seed(seed, RunOptions::default());
        let fingerprint = format!("{:016x}", result.fingerprint);
        assert!(one.contains(&fingerprint), "{one}: {fingerprint} in a process that has run others");
    }
}

#[test]
fn a_handful_of_seeds() {
    let mut operations = 0;
    for seed in 100..140 {
        let result = run_seed(seed, RunOptions::default());
        let failed = result.failure.map(|failure| format!("{}\n{}", failure.violation, failure.story));
        assert_eq!(failed, None, "make sim SEED={seed}");
        operations += result.operations;
    }
    assert!(operations > 4_000, "{operations} operations are no load");
}
