//! The clients that users already have, against a broker of two shards: kcat, Python's confluent-kafka, Kafka's own
//! Java tools and librdkafka through the `rdkafka` crate.
//!
//! `make clients` installs the ones that do not come with cargo; a test without its client says so and ends.

mod dump;
mod kafka_tools;
mod kcat_and_python;
mod librdkafka;
mod round_trip;
mod segments;
