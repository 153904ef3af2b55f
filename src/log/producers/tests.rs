//! What the producers of a partition are allowed.
