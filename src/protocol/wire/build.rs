//! Turns the schemas into Rust at build time; nothing that is generated is kept in the tree.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=schemas");
    println!("cargo:rerun-if-changed=build.rs");
    let options = ottla_codegen::Options { arbitrary: env::var_os("CARGO_FEATURE_ARBITRARY").is_some() };
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for build scripts"));
    let text = ottla_codegen::generate(&here.join("schemas"), options);
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it for build scripts"));
    // A new file, and not the old one with other bytes: copies of a target directory may share it by hard links.
    let (new, messages) = (out.join("messages.rs.new"), out.join("messages.rs"));
    fs::write(&new, text).expect("the output directory is writable");
    fs::rename(&new, &messages).expect("the output directory is writable");
}
