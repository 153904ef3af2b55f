//! Starts of generated logs.
