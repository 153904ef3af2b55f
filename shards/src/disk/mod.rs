//! placeholder while the parts land
pub mod names;
pub mod offsets_file;
