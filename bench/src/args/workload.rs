//! From a workload file in OpenMessaging's shape to the plan of a load: its keys become the flags of `end-to-end`, so
//! that there is one check of every value.

use clap::Parser;

use super::check::{bytes, refused, topic};
use super::plan::{Mode, TrafficPlan};
use super::{EndToEndArgs, WorkloadArgs};
use crate::backlog::BacklogPlan;
use crate::error::BenchError;
use crate::filler::Filler;
use crate::workload::{Driver, KeyDistributor, Workload};

/// Bytes of a backlog that --backlog may ask for.
const BACKLOG_BYTES_MAX: u64 = 1 << 50;
/// Keys that OpenMessaging's distributors choose among.
const KEYS: u32 = 10_000;
/// Settings of consumers that are flags here; all others have no effect on what is fetched.
const CONSUMER_FLAGS: [(&str, &str); 4] = [
    ("fetch.min.bytes", "--min-bytes"),
    ("fetch.max.wait.ms", "--max-wait-ms"),
    ("fetch.max.bytes", "--max-bytes"),
    ("max.partition.fetch.bytes", "--partition-max-bytes"),
];

/// The flags of `end-to-end`, to be made from words.
#[derive(Parser)]
#[command(no_binary_name = true)]
struct Words {
    #[command(flatten)]
    load: EndToEndArgs,
}

impl WorkloadArgs {
    /// Reads the files and checks what they say.
    pub(crate) fn plan(&self) -> Result<TrafficPlan, BenchError> {
        let mut workload = Workload::read(&self.workload)?;
        let driver = self.driver.as_deref().map(Driver::read).transpose()?.unwrap_or_default();
        let shown = self.workload.display();
        if let Some(backlog) = &self.backlog {
            workload.consumer_backlog_bytes = bytes("--backlog", backlog, 0..=BACKLOG_BYTES_MAX)?;
            if let Some(what) = workload.refusal_of_backlog() {
                return Err(refused("--backlog", backlog, what));
            }
        }
        let topic = self.topic_name(workload.topics)?;
        let words = self.words(&workload, &driver, topic);
        let words = Words::try_parse_from(&words).map_err(|error| {
            let text = error.to_string();
            refused("workload", shown, text.lines().next().unwrap_or_default())
        })?;
        let mut plan = words.load.plan(Mode::EndToEnd)?;
        plan.target.topics = workload.topics as usize;
        plan.target.partitions_name = "partitionsPerTopic";
        plan.target.topic_config = driver.topic_config;
        plan.target.replication_factor = i16::try_from(driver.replication_factor.max(1)).unwrap_or(i16::MAX);
        if let (Some(path), Some(producers)) = (&workload.payload_file, &mut plan.producers) {
            let whole = std::fs::read(path);
            let whole = whole.map_err(|error| refused("payloadFile", path.display(), error.to_string()))?;
            if whole.len() != workload.message_bytes as usize {
                let allowed =
                    format!("has {} bytes, and messageSize says {}", whole.len(), workload.message_bytes);
                return Err(refused("payloadFile", path.display(), allowed));
            }
            producers.filler = Filler::Lines(vec![whole].into());
            producers.payload = format!("the value of {}", path.display());
        }
        if let (true, Some(producers)) = (workload.use_randomized_payloads, &mut plan.producers) {
            let (values, part) = (workload.randomized_payload_pool_size, 1.0 - workload.random_bytes_ratio);
            producers.filler = Filler::drawn(part, values, workload.message_bytes as usize);
            producers.payload = format!("{values} random values of compressibility {part}");
        }
        if driver.reset {
            let note = "the driver's file says reset: true: no topic of an earlier run is deleted";
            plan.run.notes.push(note.to_owned());
        }
        if let Some(producers) = &mut plan.producers {
            producers.produce.topics = plan.target.topics;
        }
        if let Some(consumers) = &mut plan.consumers {
            consumers.subscriptions = workload.subscriptions_per_topic as usize;
        }
        plan.consumers = plan.consumers.filter(|_| workload.consumers() > 0);
        if workload.consumer_backlog_bytes > 0 {
            add_backlog(&mut plan, &workload);
        }
        Ok(plan)
    }

    /// What the names of the topics begin with, or the name of the only one.
    fn topic_name(&self, topics: u32) -> Result<String, BenchError> {
        let unique = || format!("ottla-bench-{:08x}", ottla_shards::host::random_u64() as u32);
        let name = self.topic.clone().unwrap_or_else(unique);
        // Several have their numbers behind it.
        let number = if topics > 1 { "-0000000" } else { "" };
        topic("--topic", &format!("{name}{number}"))?;
        Ok(name)
    }

    /// The flags that stand for what the files say.
    fn words(&self, workload: &Workload, driver: &Driver, topic: String) -> Vec<String> {
        let mut words = Vec::new();
        let mut flag = |name: &str, value: String| words.extend([name.to_owned(), value]);
        flag("--topic", topic);
        flag("--partitions", workload.partitions_per_topic.to_string());
        flag("--record-size", workload.message_bytes.to_string());
        flag("--clients", workload.producers().to_string());
        flag("--consumers", workload.consumers_per_subscription.max(1).to_string());
        let random = if workload.use_randomized_payloads { workload.random_bytes_ratio } else { 0.0 };
        flag("--compressibility", (1.0 - random).to_string());
        flag("--throughput", workload.producer_rate.map_or_else(|| "-1".to_owned(), |rate| rate.to_string()));
        flag(
            "--keys",
            match workload.key_distributor {
                KeyDistributor::None => "none".to_owned(),
                KeyDistributor::RoundRobin => format!("sequential:{KEYS}"),
                KeyDistributor::Random => format!("uniform:{KEYS}"),
            },
        );
        let minutes = |minutes: u32| format!("{minutes}m");
        flag("--duration", self.duration.clone().unwrap_or_else(|| minutes(workload.test_duration_minutes)));
        flag("--warmup", self.warmup.clone().unwrap_or_else(|| minutes(workload.warmup_duration_minutes)));
        self.threads.iter().for_each(|threads| flag("--threads", threads.to_string()));
        let optional = [("--bootstrap-server", &self.bootstrap_server), ("--client-cpus", &self.client_cpus)];
        for (name, value) in optional {
            value.iter().for_each(|value| flag(name, value.clone()));
        }
        for (name, path) in [("--json", &self.json), ("--hgrm", &self.hgrm), ("--report", &self.report)] {
            path.iter().for_each(|path| flag(name, path.display().to_string()));
        }
        for (key, value) in driver.common_config.iter().chain(&driver.consumer_config) {
            if let Some((_, name)) = CONSUMER_FLAGS.iter().find(|(known, _)| known == key) {
                flag(name, value.clone());
            }
        }
        if self.quiet {
            words.push("--quiet".to_owned());
        }
        let props = driver.common_config.iter().chain(&driver.producer_config);
        let props: Vec<String> = props.map(|(key, value)| format!("{key}={value}")).collect();
        if !props.is_empty() {
            words.push("--producer-props".to_owned());
            words.extend(props);
        }
        words
    }
}

/// Makes the load one that builds a backlog and drains it.
fn add_backlog(plan: &mut TrafficPlan, workload: &Workload) {
    plan.backlog = Some(BacklogPlan {
        bytes: workload.consumer_backlog_bytes,
        record_bytes: u64::from(workload.message_bytes),
        subscriptions: u64::from(workload.subscriptions_per_topic),
        drain_ratio: workload.backlog_drain_ratio,
        begin: plan.run.warmup,
        after: plan.run.duration.expect("it was made with one"),
    });
    if let Some(producers) = &mut plan.producers {
        producers.produce.end = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::Pace;
    use crate::tally::nanos;
    use std::time::Duration;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        workload: WorkloadArgs,
    }

    const LOAD: &str = "topics: 1\npartitionsPerTopic: 12\nmessageSize: 200\nkeyDistributor: KEY_ROUND_ROBIN\n\
                        useRandomizedPayloads: true\nrandomBytesRatio: 0.5\nrandomizedPayloadPoolSize: 10\n\
                        subscriptionsPerTopic: 2\nconsumerPerSubscription: 3\nproducersPerTopic: 4\n\
                        producerRate: 5000\ntestDurationMinutes: 3\nwarmupDurationMinutes: 1\n";
    const DRIVER: &str = "name: Kafka\nreplicationFactor: 1\nreset: true\ntopicConfig: |\n  flush.messages=1\n\
                          commonConfig: |\n  bootstrap.servers=broker:9092\n\
                          producerConfig: |\n  acks=all\n  linger.ms=1\n  batch.size=131072\n\
                          consumerConfig: |\n  fetch.min.bytes=10\n  enable.auto.commit=false\n";

    fn plan(load: &str, flags: &str) -> Result<TrafficPlan, BenchError> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (file, driver) = (directory.path().join("load.yaml"), directory.path().join("driver.yaml"));
        std::fs::write(&file, load).expect("a file");
        std::fs::write(&driver, DRIVER).expect("a file");
        let line = format!("bench {} --driver {} {flags}", file.display(), driver.display());
        Command::try_parse_from(line.split_whitespace()).expect("the flags exist").workload.plan()
    }

    #[test]
    fn a_workload_and_its_driver_are_a_plan() {
        let load = plan(LOAD, "").expect("allowed");
        assert_eq!((load.target.bootstrap.as_str(), load.target.partitions), ("broker:9092", Some(12)));
        assert_eq!(load.target.topic_config, [("flush.messages".to_owned(), "1".to_owned())]);
        let producers = load.producers.expect("it produces").produce;
        assert_eq!((producers.clients, producers.record_bytes, producers.settings.acks), (4, 200, -1));
        assert_eq!(
            (producers.settings.limits.linger_nanos, producers.settings.limits.batch_bytes),
            (1_000_000, 131_072)
        );
        assert_eq!(producers.pace, Pace::Steady(5_000));
        assert_eq!(producers.end.map(nanos), Some(nanos(Duration::from_secs(240))));
        let consumers = load.consumers.expect("it consumes");
        assert_eq!((consumers.clients, consumers.subscriptions, consumers.fetch.min_bytes), (3, 2, 10));
        let short = plan(LOAD, "--duration 2s --warmup 0s --bootstrap-server a:1").expect("allowed");
        assert_eq!((short.run.end(), short.target.bootstrap.as_str()), (Some(Duration::from_secs(2)), "a:1"));
    }

    #[test]
    fn random_values_are_as_many_as_the_pool_has_and_nothing_is_reset() {
        let load = plan(LOAD, "").expect("allowed");
        let producers = load.producers.expect("it produces");
        assert!(matches!(producers.filler, Filler::Drawn(_, 10)), "{:?}", producers.filler);
        assert_eq!(producers.payload, "10 random values of compressibility 0.5");
        let zeros = plan(&LOAD.replace("useRandomizedPayloads: true", "useRandomizedPayloads: false"), "");
        let zeros = zeros.expect("allowed").producers.expect("it produces").filler;
        assert!(matches!(zeros, Filler::Pool(_)), "{zeros:?}");
        assert_eq!(
            load.run.notes,
            ["the driver's file says reset: true: no topic of an earlier run is deleted"]
        );
    }

    #[test]
    fn topics_share_the_rate_and_have_names_of_their_own() {
        let three = LOAD.replace("topics: 1", "topics: 3");
        let load = plan(&three, "--topic load").expect("allowed");
        assert_eq!(load.target.names(), ["load-0000000", "load-0000001", "load-0000002"]);
        let producers = load.producers.expect("it produces").produce;
        assert_eq!((producers.clients, producers.topics, producers.pace), (12, 3, Pace::Steady(5_000)));
        let consumers = load.consumers.expect("it consumes");
        assert_eq!((consumers.clients, consumers.subscriptions), (3, 2));
        let names = |flags: &str| plan(&three, flags).expect("allowed").target.names();
        assert_ne!(names(""), names(""), "each run has topics of its own");
        assert_eq!(plan(LOAD, "--topic load").expect("allowed").target.names(), ["load"]);
    }

    #[test]
    fn a_backlog_decides_the_end() {
        let text = format!("{LOAD}consumerBacklogSizeGB: 3\nbacklogDrainRatio: 0.9\n");
        let load = plan(&text, "").expect("allowed");
        let expected = BacklogPlan {
            bytes: 3 << 30,
            record_bytes: 200,
            subscriptions: 2,
            drain_ratio: 0.9,
            begin: Duration::from_secs(60),
            after: Duration::from_secs(180),
        };
        assert_eq!(load.backlog, Some(expected));
        assert_eq!(load.producers.expect("it produces").produce.end, None);
        let small = plan(&text, "--backlog 64k").expect("allowed").backlog.map(|backlog| backlog.bytes);
        assert_eq!(small, Some(65_536));
        let none = plan(&text, "--backlog 0").expect("allowed");
        assert_eq!((none.backlog, none.run.end()), (None, none.producers.and_then(|p| p.produce.end)));
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let error = |text: &str| plan(text, "").expect_err("refused").to_string();
        let long = format!("--topic {}", "x".repeat(242));
        assert_eq!(plan(LOAD, &long).expect("one may be so long").target.topic.len(), 242);
        let long = plan(&LOAD.replace("topics: 1", "topics: 2"), &long).expect_err("too long").to_string();
        assert!(long.starts_with("--topic ") && long.contains("must be 1 to 249"), "{long}");
        let backlog = error(&format!("{LOAD}consumerBacklogSizeGB: x\n"));
        assert!(backlog.ends_with("consumerBacklogSizeGB \"x\": must be a whole number of 0 to 2147483647"));
        let no_rate = LOAD.replace("producerRate: 5000", "producerRate: 0");
        let backlog = plan(&no_rate, "--backlog 4m").expect_err("no rate").to_string();
        assert!(backlog.starts_with("--backlog 4m: needs a producerRate of 1 or more"), "{backlog}");
        let backlog = plan(LOAD, "--backlog much").expect_err("no number").to_string();
        assert!(backlog.starts_with("--backlog \"much\": must be 0 to "), "{backlog}");
        let none = plan(&LOAD.replace("subscriptionsPerTopic: 2", "subscriptionsPerTopic: 0"), "");
        assert!(none.expect("allowed").consumers.is_none());
        let none = plan(&LOAD.replace("Subscription: 3", "Subscription: 0"), "");
        assert!(none.expect("allowed").consumers.is_none());
    }
}
