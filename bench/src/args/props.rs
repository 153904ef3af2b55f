//! Settings of a Kafka producer, from `--command-config`, `--producer-props` and the flags, in this order: later ones
//! win. Names, defaults and ranges are those of Kafka's `ProducerConfig`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use ottla::protocol::compression::Codec;

use super::ProducerArgs;
use super::check::{TIME_ALLOWED, bytes, refused, time, within};
use crate::batcher::BatchLimits;
use crate::error::BenchError;
use crate::producer::ProducerSettings;
use crate::tally::nanos;

/// Settings that are taken and change nothing here: nothing is retried, and records are bytes already.
const WITHOUT_EFFECT: [&str; 17] = [
    "bootstrap.servers",
    "client.dns.lookup",
    "client.id",
    "connections.max.idle.ms",
    "default.api.timeout.ms",
    "delivery.timeout.ms",
    "key.serializer",
    "max.block.ms",
    "metadata.max.age.ms",
    "metadata.max.idle.ms",
    "receive.buffer.bytes",
    "request.timeout.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "send.buffer.bytes",
    "value.serializer",
];
/// Those that change something.
const WITH_EFFECT: [&str; 9] = [
    "acks",
    "batch.size",
    "buffer.memory",
    "compression.type",
    "enable.idempotence",
    "linger.ms",
    "max.in.flight.requests.per.connection",
    "max.request.size",
    "partitioner.class",
];

/// What a broker remembers of an idempotent producer per partition bounds what may be in flight (KIP-98).
const IN_FLIGHT_IDEMPOTENT_MAX: u64 = 5;
/// Requests of one connection that wait for their answers.
const IN_FLIGHT: RangeInclusive<u64> = 1..=10_000;
/// Kafka's default for `socket.request.max.bytes`, which no request may pass.
const REQUEST_BYTES_MAX: u64 = 100 * 1024 * 1024;

impl ProducerArgs {
    /// The settings that these flags and what they point to make.
    pub(crate) fn settings(&self) -> Result<ProducerSettings, BenchError> {
        let props = self.props()?;
        let known = WITH_EFFECT.iter().chain(&WITHOUT_EFFECT);
        if let Some(unknown) = props.keys().find(|key| !known.clone().any(|name| name == key)) {
            let allowed = format!("this load generator has {}", WITH_EFFECT.join(", "));
            return Err(refused("--producer-props", unknown, allowed));
        }
        let (acks_text, said_acks) = (of(&props, "acks", "all"), self.said("acks"));
        let acks = acks(said_acks, acks_text)?;
        let said_idempotent = self.said("enable.idempotence");
        let idempotent = match of(&props, "enable.idempotence", "false") {
            "true" => true,
            "false" => false,
            other => return Err(refused(said_idempotent, other, "must be true or false")),
        };
        let said_in_flight = self.said("max.in.flight.requests.per.connection");
        let in_flight = of(&props, "max.in.flight.requests.per.connection", "5");
        let in_flight = number(said_in_flight, in_flight, IN_FLIGHT)?;
        if idempotent && acks != -1 {
            return Err(refused(said_acks, acks_text, format!("{said_idempotent} needs all")));
        }
        if idempotent && in_flight > IN_FLIGHT_IDEMPOTENT_MAX {
            let allowed = format!("{said_idempotent} allows at most {IN_FLIGHT_IDEMPOTENT_MAX}");
            return Err(refused(said_in_flight, in_flight, allowed));
        }
        let compression = of(&props, "compression.type", "none");
        let codec = Codec::from_name(compression).ok_or_else(|| {
            let allowed = "must be none, gzip, snappy, lz4 or zstd";
            refused(self.said("compression.type"), compression, allowed)
        })?;
        let batch = of(&props, "batch.size", "16384");
        let batch_bytes = bytes(self.said("batch.size"), batch, 0..=REQUEST_BYTES_MAX)?;
        let request = of(&props, "max.request.size", "1048576");
        let request_bytes = bytes("max.request.size", request, 1..=REQUEST_BYTES_MAX)?;
        let buffer = bytes("buffer.memory", of(&props, "buffer.memory", "33554432"), 1..=1 << 40)?;
        Ok(ProducerSettings {
            bootstrap: props.get("bootstrap.servers").cloned(),
            acks,
            in_flight: in_flight as usize,
            limits: BatchLimits {
                batch_bytes: batch_bytes as usize,
                linger_nanos: linger(self.said("linger.ms"), of(&props, "linger.ms", "5"))?,
                request_bytes: request_bytes as usize,
            },
            buffer_bytes: buffer as usize,
            codec,
            idempotent,
            round_robin: self.round_robin(&props)?,
        })
    }

    fn round_robin(&self, props: &BTreeMap<String, String>) -> Result<bool, BenchError> {
        if let Some(class) = props.get("partitioner.class") {
            return match class.rsplit('.').next() {
                Some("RoundRobinPartitioner") => Ok(true),
                _ => {
                    Err(refused("partitioner.class", class, "RoundRobinPartitioner is the one that there is"))
                }
            };
        }
        match self.partitioner.as_str() {
            "sticky" => Ok(false),
            "round-robin" => Ok(true),
            other => Err(refused("--partitioner", other, "must be sticky or round-robin")),
        }
    }

    /// All settings by their names; those of flags last.
    fn props(&self) -> Result<BTreeMap<String, String>, BenchError> {
        let mut props = BTreeMap::new();
        if let Some(path) = &self.command_config {
            props.extend(from_file(path)?);
        }
        for pair in &self.producer_props {
            let pair = split(pair).ok_or_else(|| refused("--producer-props", pair, "must be key=value"))?;
            props.extend([pair]);
        }
        let given = self.flags().into_iter().filter_map(|(name, _, value)| Some((name.to_owned(), value?)));
        props.extend(given);
        Ok(props)
    }

    /// The settings that have flags of their own: name, flag, and what was given with it.
    fn flags(&self) -> [(&'static str, &'static str, Option<String>); 6] {
        let in_flight = self.in_flight.map(|n| n.to_string());
        let idempotent = self.idempotent.then(|| "true".to_owned());
        [
            ("acks", "--acks", self.acks.clone()),
            ("linger.ms", "--linger", self.linger.clone()),
            ("batch.size", "--batch-size", self.batch_size.clone()),
            ("compression.type", "--compression", self.compression.clone()),
            ("max.in.flight.requests.per.connection", "--in-flight", in_flight),
            ("enable.idempotence", "--idempotent", idempotent),
        ]
    }

    /// What a setting is called where it was given: its flag, or its name.
    fn said(&self, name: &'static str) -> &'static str {
        let given = self.flags().into_iter().find(|(of, _, value)| *of == name && value.is_some());
        given.map_or(name, |(_, flag, _)| flag)
    }
}

fn of<'p>(props: &'p BTreeMap<String, String>, name: &str, default: &'p str) -> &'p str {
    props.get(name).map_or(default, String::as_str)
}

fn acks(said: &str, text: &str) -> Result<i16, BenchError> {
    match text {
        "0" => Ok(0),
        "1" => Ok(1),
        "all" | "-1" => Ok(-1),
        _ => Err(refused(said, text, "must be 0, 1 or all")),
    }
}

/// `linger.ms` as a number of milliseconds, or as a time with its unit.
fn linger(said: &str, text: &str) -> Result<u64, BenchError> {
    let with_unit =
        if text.ends_with(|c: char| c.is_ascii_digit()) { format!("{text}ms") } else { text.to_owned() };
    let wrong = |_| refused(said, format!("{text:?}"), TIME_ALLOWED);
    time(said, &with_unit).map(nanos).map_err(wrong)
}

fn number(flag: &str, text: &str, range: RangeInclusive<u64>) -> Result<u64, BenchError> {
    let allowed = || format!("must be {} to {}", range.start(), range.end());
    let value = text.parse().map_err(|_| refused(flag, text, allowed()))?;
    within(flag, value, range)
}

fn from_file(path: &Path) -> Result<BTreeMap<String, String>, BenchError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| refused("--command-config", &shown, error.to_string()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!']));
    let pair = |line| {
        split(line).ok_or_else(|| refused("--command-config", &shown, format!("{line:?} is no key=value")))
    };
    lines.map(pair).collect()
}

fn split(pair: &str) -> Option<(String, String)> {
    let (key, value) = pair.split_once('=')?;
    Some((key.trim().to_owned(), value.trim().to_owned())).filter(|(key, _)| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        producer: ProducerArgs,
    }

    fn settings(line: &str) -> Result<ProducerSettings, BenchError> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        Command::try_parse_from(words).expect("the flags exist").producer.settings()
    }

    #[test]
    fn without_flags_the_settings_are_kafkas() {
        let kafka = settings("").expect("defaults are allowed");
        assert_eq!((kafka.acks, kafka.in_flight, kafka.codec), (-1, 5, Codec::None));
        assert_eq!((kafka.limits.batch_bytes, kafka.limits.linger_nanos), (16_384, 5_000_000));
        assert_eq!((kafka.limits.request_bytes, kafka.buffer_bytes), (1 << 20, 32 << 20));
    }

    #[test]
    fn flags_win_over_props_and_props_over_the_file() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("producer.properties");
        let text = "# a producer\nacks = 1\nlinger.ms=7\nbatch.size=1000\nkey.serializer=a.b.C\n";
        std::fs::write(&path, text).expect("a file");
        let line =
            format!("--command-config {} --producer-props linger.ms=9 acks=0 --acks all", path.display());
        let settings = settings(&line).expect("allowed");
        assert_eq!((settings.acks, settings.limits.linger_nanos), (-1, 9_000_000));
        assert_eq!(settings.limits.batch_bytes, 1_000);
        assert_eq!(super::tests::settings("--command-property acks=1").expect("Kafka's newer name").acks, 1);
    }

    #[test]
    fn times_of_linger_may_have_units() {
        for (text, nanos) in [("0", 0), ("3", 3_000_000), ("250us", 250_000), ("1s", 1_000_000_000)] {
            let settings = settings(&format!("--linger {text}")).expect("allowed");
            assert_eq!(settings.limits.linger_nanos, nanos, "{text}");
        }
    }

    #[test]
    fn every_refusal_is_one_line_with_flag_value_and_what_is_allowed() {
        let refusals = [
            ("--in-flight 0", "--in-flight 0: must be 1 to 10000"),
            ("--in-flight 6 --idempotent", "--in-flight 6: --idempotent allows at most 5"),
            ("--acks 1 --idempotent", "--acks 1: --idempotent needs all"),
            ("--acks 2", "--acks 2: must be 0, 1 or all"),
            ("--compression brotli", "--compression brotli: must be none, gzip, snappy, lz4 or zstd"),
            ("--partitioner any", "--partitioner any: must be sticky or round-robin"),
            ("--producer-props acks", "--producer-props acks: must be key=value"),
            ("--producer-props enable.idempotence=1", "enable.idempotence 1: must be true or false"),
            ("--producer-props acks=1 enable.idempotence=true", "acks 1: enable.idempotence needs all"),
            ("--producer-props acks=1 --idempotent", "acks 1: --idempotent needs all"),
            (
                "--producer-props compression.type=a",
                "compression.type a: must be none, gzip, snappy, lz4 or zstd",
            ),
            ("--batch-size 1x", "--batch-size \"1x\": must be 0 to 104857600 bytes, as 1024 or 64k"),
        ];
        for (line, text) in refusals {
            assert_eq!(settings(line).expect_err(line).to_string(), text);
        }
        let foreign = "--producer-props default.api.timeout.ms=1000 delivery.timeout.ms=5000";
        assert!(settings(foreign).is_ok(), "what Kafka's clients have and this one has no use for");
        let unknown =
            settings("--producer-props acks=1 transactional.id=t").expect_err("not here").to_string();
        assert!(unknown.starts_with("--producer-props transactional.id: this load generator has acks, "));
        let missing = settings("--command-config /nowhere/x").expect_err("no file").to_string();
        assert!(missing.starts_with("--command-config /nowhere/x: ") && missing.lines().count() == 1);
    }

    #[test]
    fn kafkas_round_robin_is_known_by_its_class() {
        let class = "org.apache.kafka.clients.producer.RoundRobinPartitioner";
        let line = format!("--producer-props partitioner.class={class}");
        assert!(settings(&line).expect("allowed").round_robin);
        assert!(settings("--partitioner round-robin").expect("allowed").round_robin);
        assert!(!settings("").expect("allowed").round_robin);
        assert!(settings("--producer-props partitioner.class=my.Own").is_err());
    }
}
