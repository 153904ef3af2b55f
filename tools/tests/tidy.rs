//! Tidy over this repository.

use std::path::Path;

use ottla_tools::tidy;

#[test]
fn the_tree_is_tidy() {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tools are a folder of the repository");
    let tree = tidy::load(root).expect("the repository can be read");
    assert!(
        tree.contains_key("src/lib.rs") && tree.contains_key("shards/src/lib.rs"),
        "this is the repository"
    );
    let violations = tidy::check(&tree);
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} violations\n{}\n", lines.len(), lines.join("\n"));
}
