//! Cleanings of whole logs in memory: single cases with known bytes, and a model that knows the last value of each key.

mod cases;
mod dirt;
mod model;
mod support;
