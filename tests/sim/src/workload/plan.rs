//! What a seed draws before anything runs: topics, actors, and how often who does what.

use ottla::protocol::compression::Codec;

use crate::client::{Acks, NewTopic};
use crate::random::Random;

/// What a plan may draw.
#[derive(Clone, Copy, Debug)]
pub struct PlanOptions {
    /// Topics with `cleanup.policy=compact`.
    pub compaction: bool,
    /// Topics with `flush.messages` above 1.
    pub relaxed: bool,
    /// Topics whose records go by age or size.
    pub retention: bool,
}

impl Default for PlanOptions {
    fn default() -> PlanOptions {
        PlanOptions { compaction: true, relaxed: true, retention: true }
    }
}

/// A topic of the plan.
#[derive(Clone, Debug)]
pub struct TopicPlan {
    /// How it is made.
    pub new: NewTopic,
    /// The most bytes of a batch: half a segment at most.
    pub batch_bytes_max: u64,
    /// Every batch fills whole blocks of the disk, so that each begins where a torn write may have ended.
    pub in_blocks: bool,
}

/// One producer.
#[derive(Clone, Debug)]
pub struct ProducerPlan {
    /// It numbers its batches and sends again what is unknown.
    pub is_idempotent: bool,
    /// What it waits for.
    pub acks: Acks,
    /// How it compresses.
    pub codec: Codec,
    /// Batches in flight at once.
    pub in_flight_max: u64,
    /// The most records of a batch.
    pub records_max: u64,
    /// The most bytes of a record's value.
    pub value_bytes_max: u64,
    /// The longest pause between two rounds, in milliseconds.
    pub pause_ms_max: u64,
    /// In thousandths: how often it takes a topic that may be deleted.
    pub fleeting_per_mille: u32,
}

/// One reader.
#[derive(Clone, Debug)]
pub struct ReaderPlan {
    /// Weights of where it begins: at the start, in the middle, at the end, by time.
    pub beginnings: [u32; 4],
    /// The most bytes of a fetch.
    pub bytes_max: u64,
    /// The longest wait that it asks of the broker, in milliseconds.
    pub wait_ms_max: u64,
    /// The longest pause between two fetches, in milliseconds.
    pub pause_ms_max: u64,
}

/// How often a clerk does what, as weights.
#[derive(Clone, Debug, Default)]
pub struct Kinds {
    /// Lists topics.
    pub list: u32,
    /// Makes a topic that may be deleted. The first clerk alone does.
    pub create: u32,
    /// Deletes one. The first clerk alone does.
    pub delete: u32,
    /// Sets a configuration.
    pub set_config: u32,
    /// Reads one.
    pub get_config: u32,
    /// Commits an offset.
    pub commit: u32,
    /// Reads one.
    pub get_committed: u32,
    /// Deletes records.
    pub delete_records: u32,
    /// Takes a producer id.
    pub producer_id: u32,
    /// Asks for the ends of a log.
    pub ends: u32,
    /// Asks for an offset by time.
    pub by_time: u32,
}

/// One clerk: whoever does neither produce nor read.
#[derive(Clone, Debug)]
pub struct ClerkPlan {
    /// What it does.
    pub kinds: Kinds,
    /// The longest pause between two operations, in milliseconds.
    pub pause_ms_max: u64,
    /// Topics that it may make and delete.
    pub fleeting: Vec<TopicPlan>,
    /// Topics that it makes first.
    pub permanent: Vec<TopicPlan>,
}

/// Everything that a seed's client does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The producers.
    pub producers: Vec<ProducerPlan>,
    /// The readers.
    pub readers: Vec<ReaderPlan>,
    /// The clerks; the first makes the topics.
    pub clerks: Vec<ClerkPlan>,
}

impl Plan {
    /// Draws a plan.
    #[must_use]
    pub fn draw(random: &mut Random, options: PlanOptions) -> Plan {
        let permanent: Vec<TopicPlan> =
            (0..random.within(1..4)).map(|number| topic(random, &format!("p{number}"), options)).collect();
        let fleeting: Vec<TopicPlan> =
            (0..random.within(1..4)).map(|number| topic(random, &format!("f{number}"), options)).collect();
        let producers = (0..random.within(1..5)).map(|_| producer(random)).collect();
        let readers = (0..random.within(1..4)).map(|_| reader(random)).collect();
        let mut clerks = vec![ClerkPlan { permanent, fleeting, ..clerk(random, true) }];
        clerks.extend((0..random.within(0..3)).map(|_| clerk(random, false)));
        Plan { producers, readers, clerks }
    }
}

/// A weight that is zero in two seeds of five.
fn swarm(random: &mut Random, most: u32) -> u32 {
    if random.within(0..5) < 2 {
        0
    } else {
        u32::try_from(random.within(1..u64::from(most) + 1)).expect("small")
    }
}

fn topic(random: &mut Random, name: &str, options: PlanOptions) -> TopicPlan {
    let mut configs = Vec::new();
    let mut set = |key: &str, value: String| configs.push((key.to_owned(), value));
    let segment_bytes: u64 = 1 << random.within(13..20);
    set("internal.segment.bytes", segment_bytes.to_string());
    set("index.interval.bytes", random.pick(&["64", "512", "4096"]).to_string());
    set("file.delete.delay.ms", random.pick(&["0", "100", "2000"]).to_string());
    if random.one_in(6) {
        set("segment.ms", random.within(200..3000).to_string());
    }
    if random.one_in(6) {
        set("segment.index.bytes", random.within(24..400).to_string());
    }
    if random.one_in(8) {
        set("compression.type", random.pick(&["zstd", "lz4", "gzip", "snappy", "uncompressed"]).to_string());
    }
    if options.relaxed && random.one_in(6) {
        set("flush.messages", random.pick(&["10", "1000", "9223372036854775807"]).to_string());
        if random.one_in(2) {
            set("flush.ms", random.within(1..1500).to_string());
        }
    }
    if options.compaction && random.one_in(6) {
        set("cleanup.policy", random.pick(&["compact", "compact,delete"]).to_string());
        set("min.cleanable.dirty.ratio", "0.01".to_owned());
    } else if options.retention && random.one_in(4) {
        if random.one_in(2) {
            set("retention.bytes", (segment_bytes * random.within(1..5)).to_string());
        } else {
            set("retention.ms", random.within(500..5000).to_string());
        }
    }
    let partitions = i32::try_from(random.within(1..4)).expect("few");
    let new = NewTopic { name: name.to_owned(), partitions, configs };
    TopicPlan { new, batch_bytes_max: (segment_bytes / 2).min(200 << 10), in_blocks: random.one_in(8) }
}

fn producer(random: &mut Random) -> ProducerPlan {
    let codecs = [Codec::None, Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    let is_idempotent = random.within(0..3) > 0;
    let acks = match random.weighted(&[8, 3, 1]) {
        0 => Acks::All,
        1 if !is_idempotent => Acks::Leader,
        2 if !is_idempotent => Acks::None,
        _ => Acks::All,
    };
    ProducerPlan {
        is_idempotent,
        acks,
        codec: *random.pick(&codecs),
        in_flight_max: random.within(1..6),
        records_max: random.log_within(1..200),
        value_bytes_max: random.log_within(9..100_000),
        pause_ms_max: random.log_within(1..60),
        fleeting_per_mille: *random.pick(&[0, 100, 500]),
    }
}

fn reader(random: &mut Random) -> ReaderPlan {
    ReaderPlan {
        beginnings: [1 + swarm(random, 3), swarm(random, 3), swarm(random, 5), swarm(random, 3)],
        bytes_max: random.log_within(1..1 << 20),
        wait_ms_max: random.log_within(1..600),
        pause_ms_max: random.log_within(1..80),
    }
}

fn clerk(random: &mut Random, is_first: bool) -> ClerkPlan {
    let lives = if is_first { [swarm(random, 4), swarm(random, 3)] } else { [0, 0] };
    let kinds = Kinds {
        list: 1 + swarm(random, 3),
        create: lives[0],
        delete: lives[1],
        set_config: swarm(random, 2),
        get_config: swarm(random, 2),
        commit: swarm(random, 6),
        get_committed: swarm(random, 3),
        delete_records: swarm(random, 2),
        producer_id: swarm(random, 3),
        ends: swarm(random, 4),
        by_time: swarm(random, 4),
    };
    let pause_ms_max = random.log_within(2..120);
    ClerkPlan { kinds, pause_ms_max, fleeting: Vec::new(), permanent: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_and_a_seed_is_a_plan() {
        let draw = |seed| format!("{:?}", Plan::draw(&mut Random::new(seed), PlanOptions::default()));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn every_kind_is_off_in_some_seeds_and_on_in_others() {
        let plans: Vec<Plan> =
            (0..100).map(|seed| Plan::draw(&mut Random::new(seed), PlanOptions::default())).collect();
        let kinds: [fn(&Kinds) -> u32; 5] = [
            |kinds| kinds.create,
            |kinds| kinds.delete,
            |kinds| kinds.commit,
            |kinds| kinds.delete_records,
            |kinds| kinds.by_time,
        ];
        for kind in kinds {
            let on = plans.iter().filter(|plan| kind(&plan.clerks[0].kinds) > 0).count();
            assert!((20..90).contains(&on), "{on}");
        }
        let with = |key: &str| {
            let has = |topic: &TopicPlan| topic.new.configs.iter().any(|(name, _)| name == key);
            plans.iter().filter(|plan| plan.clerks[0].permanent.iter().any(has)).count()
        };
        for key in ["flush.messages", "cleanup.policy", "retention.ms", "retention.bytes", "segment.ms"] {
            assert!((5..80).contains(&with(key)), "{key}: {}", with(key));
        }
        let without = PlanOptions { compaction: false, relaxed: false, retention: false };
        let plain = format!("{:?}", Plan::draw(&mut Random::new(3), without));
        assert!(!plain.contains("cleanup.policy") && !plain.contains("flush.messages"));
    }
}
