//! The workloads: one for each way in which a broker writes.
//!
//! Each begins with a broker that is set up, and keeps its moments only while it does what it is named after. A new one
//! is a function and its line in [`all`]. None may rest on how the broker lays its files out.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use ottla::protocol::compression::Codec;
use ottla_shards::host::sim::CrashModel;
use ottla_shards::host::spawn;

use super::hand::{Hand, Load};
use super::stage::{Setup, Stage};
use crate::check::Violation;
use crate::workload::Topic;

/// What a script says: it came to its end, or the broker did something wrong although nothing hindered it.
type Played = Result<(), Violation>;

/// A workload.
#[derive(Clone, Copy)]
pub struct Workload {
    /// What it is called on the command line.
    pub name: &'static str,
    /// How its broker is set up.
    pub setup: fn() -> Setup,
    /// Plays it.
    pub play: fn(&mut Stage) -> Played,
}

/// Every workload.
#[must_use]
pub fn all() -> Vec<Workload> {
    let of = |name, setup, play| Workload { name, setup, play };
    vec![
        of("first-start", standard, first_start),
        of("append", standard, append),
        of("roll", standard, roll),
        of("flush", standard, flush),
        of("truncate", standard, truncate),
        of("index", standard, index),
        of("snapshot", standard, snapshot),
        of("checkpoint", checkpointing, checkpoint),
        of("topic-create", standard, topic_create),
        of("topic-delete", hasty, topic_delete),
        of("topic-recreate", hasty, topic_recreate),
        of("delete-records", hasty, delete_records),
        of("retention", hasty, retention),
        of("clean", cleaning, clean),
        of("group-commit", standard, group_commit),
        of("producer-ids", standard, producer_ids),
        of("config", standard, config),
        of("clean-stop", standard, clean_stop),
        of("recovery", standard, recovery),
        of("log-dirs", three_dirs, log_dirs),
        of("many", one_shard, many),
    ]
}

/// Two shards, and whatever is usually large is small.
fn standard() -> Setup {
    let settings = vec![
        ("offsets.topic.num.partitions", "2".to_owned()),
        ("ottla.tail.cache.bytes", (1 << 20).to_string()),
    ];
    Setup { shards: 2, dirs: vec!["/d0"], settings }
}

/// Recovery points are written down as often as a broker does it: every second.
fn checkpointing() -> Setup {
    let mut setup = standard();
    setup.settings.push(("log.flush.offset.checkpoint.interval.ms", "1000".to_owned()));
    setup
}

/// What is to go goes soon.
fn hasty() -> Setup {
    let mut setup = standard();
    setup.settings.push(("log.retention.check.interval.ms", "50".to_owned()));
    setup.settings.push(("log.segment.delete.delay.ms", "60".to_owned()));
    setup
}

/// The cleaner looks for work all the time.
fn cleaning() -> Setup {
    let mut setup = hasty();
    setup.settings.push(("log.cleaner.backoff.ms", "40".to_owned()));
    setup
}

/// Three devices.
fn three_dirs() -> Setup {
    Setup { dirs: vec!["/d0", "/d1", "/d2"], ..standard() }
}

/// One shard for everything.
fn one_shard() -> Setup {
    Setup { shards: 1, ..standard() }
}

const SMALL: Load = Load::of(1, 60);
const MIDDLE: Load = Load::of(5, 700);
const LARGE: Load = Load::of(3, 40_000);
/// A third of the smallest segment.
const HUGE: Load = Load::of(7, 50_000);
/// The smallest segment that Kafka allows, in bytes.
const SEGMENT_BYTES: &str = "1048576";

const fn with(codec: Codec, load: Load) -> Load {
    Load { codec, ..load }
}

/// Lets several actors work at once.
async fn together<F: Future<Output = ()> + 'static>(actors: impl IntoIterator<Item = F>) {
    let actors: Vec<_> = actors.into_iter().map(spawn).collect();
    for actor in actors {
        actor.await;
    }
}

fn pass_ms(stage: &mut Stage, ms: u64) {
    stage.pass(Duration::from_millis(ms));
}

fn first_start(stage: &mut Stage) -> Played {
    stage.keep(true);
    stage.start()?;
    pass_ms(stage, 100);
    Ok(())
}

fn append(stage: &mut Stage) -> Played {
    stage.start()?;
    let topic = stage.act("founder", |mut hand| async move { hand.topic("t", 3, &[]).await })?;
    stage.keep(true);
    stage.act("producers", |hand| async move {
        together((0..3).map(|partition| {
            let (mut hand, topic) = (hand.another(&format!("producer {partition}")), Rc::clone(&topic));
            async move {
                hand.pipeline(&topic, partition, &[SMALL, SMALL, MIDDLE]).await;
                hand.produce(&topic, partition, with(Codec::Lz4, LARGE)).await;
                hand.pipeline(&topic, partition, &[LARGE, SMALL]).await;
                hand.produce(&topic, partition, with(Codec::Zstd, MIDDLE)).await;
                for _ in 0..4 {
                    hand.produce(&topic, partition, SMALL).await;
                }
            }
        }))
        .await;
    })?;
    pass_ms(stage, 50);
    Ok(())
}

fn roll(stage: &mut Stage) -> Played {
    stage.start()?;
    let configs = [("segment.bytes", SEGMENT_BYTES)];
    let topic = stage.act("founder", move |mut hand| async move { hand.topic("t", 2, &configs).await })?;
    stage.keep(true);
    stage.act("producers", |hand| async move {
        together((0..2).map(|partition| {
            let (mut hand, topic) = (hand.another(&format!("producer {partition}")), Rc::clone(&topic));
            async move {
                for _ in 0..3 {
                    hand.pipeline(&topic, partition, &[HUGE, HUGE, SMALL]).await;
                    hand.produce(&topic, partition, MIDDLE).await;
                }
            }
        }))
        .await;
    })?;
    pass_ms(stage, 50);
    Ok(())
}

fn flush(stage: &mut Stage) -> Played {
    stage.start()?;
    let topics = stage.act("founder", |mut hand| async move {
        let counted = hand.topic("counted", 2, &[("flush.messages", "6")]).await;
        let timed = hand.topic("timed", 1, &[("flush.messages", "1000"), ("flush.ms", "30")]).await;
        let strict = hand.topic("strict", 1, &[]).await;
        [counted, timed, strict]
    })?;
    stage.keep(true);
    stage.act("producers", |hand| async move {
        together(topics.into_iter().map(|topic| {
            let mut hand = hand.another(&topic.new.name);
            async move {
                for round in 0..6 {
                    hand.pipeline(&topic, round % topic.new.partitions, &[SMALL, MIDDLE, SMALL]).await;
                    hand.seat.pause(20).await;
                }
            }
        }))
        .await;
    })?;
    pass_ms(stage, 60);
    Ok(())
}

/// A crash tears the tails of logs; the moments are those of the recovery that cuts them.
fn truncate(stage: &mut Stage) -> Played {
    stage.start()?;
    stage.act("producer", |mut hand| async move {
        let strict = hand.topic("strict", 2, &[]).await;
        let relaxed = hand.topic("relaxed", 2, &[("flush.messages", "100000")]).await;
        hand.become_idempotent().await;
        for topic in [&strict, &relaxed] {
            for partition in 0..2 {
                hand.pipeline(topic, partition, &[SMALL, MIDDLE, SMALL, MIDDLE]).await;
            }
        }
        let mut plain = hand.another("unanswered");
        for partition in 0..2 {
            plain.unanswered(&strict, partition, &[MIDDLE, LARGE, SMALL]).await;
            plain.unanswered(&relaxed, partition, &[MIDDLE, LARGE, SMALL]).await;
        }
        plain.seat.pause(1).await;
    })?;
    stage.power_cut(CrashModel::Torn512);
    stage.keep(true);
    stage.start()?;
    pass_ms(stage, 50);
    Ok(())
}

fn index(stage: &mut Stage) -> Played {
    stage.start()?;
    let configs = [("index.interval.bytes", "1"), ("segment.index.bytes", "80")];
    let topic = stage.act("founder", move |mut hand| async move { hand.topic("t", 1, &configs).await })?;
    stage.keep(true);
    stage.act("producer", |mut hand| async move {
        for round in 0..30 {
            let load = Load { age_ms: 10_000 - round * 100, ..SMALL };
            hand.pipeline(&topic, 0, &[load, load]).await;
        }
    })?;
    pass_ms(stage, 50);
    Ok(())
}

fn snapshot(stage: &mut Stage) -> Played {
    stage.start()?;
    let configs = [("segment.bytes", SEGMENT_BYTES)];
    let topic = stage.act("founder", move |mut hand| async move { hand.topic("t", 1, &configs).await })?;
    stage.keep(true);
    for round in 0..2 {
        let topic = Rc::clone(&topic);
        stage.act(&format!("producers {round}"), move |hand| async move {
            together((0..2).map(|number| {
                let (mut hand, topic) = (hand.another(&format!("producer {number}")), Rc::clone(&topic));
                async move {
                    hand.become_idempotent().await;
                    for _ in 0..2 {
                        hand.pipeline(&topic, 0, &[SMALL, HUGE, SMALL]).await;
                    }
                }
            }))
            .await;
        })?;
        stage.stop()?;
        stage.start()?;
    }
    Ok(())
}

fn checkpoint(stage: &mut Stage) -> Played {
    stage.start()?;
    let configs = [("segment.bytes", SEGMENT_BYTES)];
    let topic = stage.act("founder", move |mut hand| async move { hand.topic("t", 2, &configs).await })?;
    stage.keep(true);
    stage.act("producer", |mut hand| async move {
        hand.become_idempotent().await;
        for round in 0..10 {
            hand.pipeline(&topic, round % 2, &[SMALL, if round % 3 == 0 { HUGE } else { MIDDLE }]).await;
            for _ in 0..3 {
                hand.produce(&topic, (round + 1) % 2, SMALL).await;
                hand.seat.pause(150).await;
            }
            hand.delete_records(&topic, round % 2, i64::from(round)).await;
        }
    })?;
    pass_ms(stage, 1_200);
    Ok(())
}

fn topic_create(stage: &mut Stage) -> Played {
    stage.start()?;
    stage.keep(true);
    stage.act("clerks", |hand| async move {
        together((0..2).map(|number| {
            let mut hand = hand.another(&format!("clerk {number}"));
            async move {
                for round in 0..3 {
                    let name = format!("t{number}-{round}");
                    let topic = hand.topic(&name, 1 + round, &[("retention.ms", "-1")]).await;
                    hand.produce(&topic, round, SMALL).await;
                }
            }
        }))
        .await;
    })
}

fn topic_delete(stage: &mut Stage) -> Played {
    stage.start()?;
    let topics = stage.act("founder", |mut hand| async move {
        let mut topics: Vec<Rc<Topic>> = Vec::new();
        for name in ["a", "b", "c", "stays"] {
            let topic = hand.topic(name, 2, &[("segment.bytes", SEGMENT_BYTES)]).await;
            hand.pipeline(&topic, 0, &[HUGE, HUGE, HUGE, HUGE]).await;
            hand.produce(&topic, 1, SMALL).await;
            topics.push(topic);
        }
        topics
    })?;
    stage.keep(true);
    stage.act("clerk", |mut hand| async move {
        for topic in &topics[..3] {
            hand.delete(topic).await;
            hand.produce(&topics[3], 0, SMALL).await;
        }
    })?;
    pass_ms(stage, 400);
    Ok(())
}

fn topic_recreate(stage: &mut Stage) -> Played {
    stage.start()?;
    stage.keep(true);
    stage.act("clerk", |mut hand| async move {
        for life in 0..4 {
            let topic = hand.topic("again", 2, &[]).await;
            hand.pipeline(&topic, 0, &[MIDDLE, SMALL]).await;
            hand.produce(&topic, life % 2, SMALL).await;
            if life < 3 {
                // What is written down of this topic must not be taken for what is said of the next one of its name.
                hand.delete_records(&topic, 0, 5).await;
                hand.delete(&topic).await;
            }
            hand.seat.pause(if life % 2 == 0 { 0 } else { 100 }).await;
        }
    })?;
    pass_ms(stage, 200);
    Ok(())
}

fn delete_records(stage: &mut Stage) -> Played {
    stage.start()?;
    let configs = [("segment.bytes", SEGMENT_BYTES)];
    let topic = stage.act("founder", move |mut hand| async move {
        let topic = hand.topic("t", 2, &configs).await;
        for partition in 0..2 {
            hand.pipeline(&topic, partition, &[HUGE; 4]).await;
            hand.pipeline(&topic, partition, &[HUGE; 4]).await;
        }
        topic
    })?;
    stage.keep(true);
    stage.act("clerk", |mut hand| async move {
        for before in [3, 25, 26, 50] {
            hand.delete_records(&topic, 0, before).await;
            hand.produce(&topic, 0, SMALL).await;
            hand.seat.pause(80).await;
        }
        hand.delete_records(&topic, 1, -1).await;
        hand.produce(&topic, 1, SMALL).await;
    })?;
    pass_ms(stage, 300);
    Ok(())
}

fn retention(stage: &mut Stage) -> Played {
    stage.start()?;
    let topics = stage.act("founder", |mut hand| async move {
        let segment = ("segment.bytes", SEGMENT_BYTES);
        let by_size = hand.topic("size", 1, &[segment, ("retention.bytes", "1500000")]).await;
        let by_age = hand.topic("age", 1, &[segment, ("retention.ms", "3600000")]).await;
        (by_size, by_age)
    })?;
    stage.keep(true);
    stage.act("producer", |mut hand| async move {
        for round in 0..4 {
            let old = Load { age_ms: 7_200_000, ..HUGE };
            hand.pipeline(&topics.0, 0, &[HUGE, HUGE, HUGE]).await;
            hand.pipeline(&topics.1, 0, &[if round < 3 { old } else { HUGE }; 2]).await;
            hand.seat.pause(100).await;
        }
    })?;
    pass_ms(stage, 300);
    Ok(())
}

/// The cleaner swaps segments while more is appended.
fn clean(stage: &mut Stage) -> Played {
    const KEYED: Load = Load { is_keyed: true, ..HUGE };
    stage.start()?;
    let topics = stage.act("founder", |mut hand| async move {
        let compacted = [("segment.bytes", SEGMENT_BYTES), ("min.cleanable.dirty.ratio", "0.01")];
        let plain = [&compacted[..], &[("cleanup.policy", "compact")]].concat();
        let brief =
            [&compacted[..], &[("cleanup.policy", "compact"), ("delete.retention.ms", "50")]].concat();
        [hand.topic("plain", 1, &plain).await, hand.topic("brief", 1, &brief).await]
    })?;
    stage.keep(true);
    stage.act("producers", |hand| async move {
        together(topics.into_iter().map(|topic| {
            let mut hand = hand.another(&topic.new.name);
            async move {
                hand.become_idempotent().await;
                for _ in 0..4 {
                    hand.pipeline(&topic, 0, &[KEYED, KEYED, KEYED, Load { records: 2, ..KEYED }]).await;
                    hand.seat.pause(150).await;
                }
            }
        }))
        .await;
    })?;
    pass_ms(stage, 400);
    Ok(())
}

fn group_commit(stage: &mut Stage) -> Played {
    stage.start()?;
    let topic = stage.act("founder", |mut hand| async move {
        let topic = hand.topic("t", 2, &[]).await;
        hand.pipeline(&topic, 0, &[MIDDLE, MIDDLE]).await;
        topic
    })?;
    stage.keep(true);
    stage.act("consumers", |hand| async move {
        together((0..3).map(|number| {
            let (mut hand, topic) = (hand.another(&format!("consumer {number}")), Rc::clone(&topic));
            async move {
                let group = format!("g{number}");
                for offset in 0..6 {
                    hand.commit(&group, &topic, 0, offset).await;
                    hand.commit(&group, &topic, 1, 0).await;
                }
            }
        }))
        .await;
    })
}

fn producer_ids(stage: &mut Stage) -> Played {
    /// The ids of a block, less a few.
    const MOST_OF_A_BLOCK: u32 = 990;
    stage.start()?;
    let takes = |count: u32| {
        move |mut hand: Hand| async move {
            for _ in 0..count {
                hand.become_idempotent().await;
            }
        }
    };
    stage.act("first", takes(MOST_OF_A_BLOCK))?;
    stage.keep(true);
    stage.act("over the end", takes(25))?;
    stage.kill();
    stage.start()?;
    stage.act("after a kill", takes(3))?;
    stage.stop()?;
    stage.start()?;
    stage.act("after a stop", takes(3))
}

fn config(stage: &mut Stage) -> Played {
    stage.start()?;
    let topics = stage.act("founder", |mut hand| async move {
        [hand.topic("a", 1, &[("segment.jitter.ms", "5")]).await, hand.topic("b", 2, &[]).await]
    })?;
    stage.keep(true);
    stage.act("clerks", |hand| async move {
        together(topics.into_iter().map(|topic| {
            let mut hand = hand.another(&topic.new.name);
            async move {
                for round in 0..5 {
                    hand.configure(&topic, "segment.jitter.ms", &(10 + round).to_string()).await;
                    hand.produce(&topic, 0, SMALL).await;
                    hand.configure(&topic, "max.message.bytes", &(2_000_000 + round).to_string()).await;
                }
            }
        }))
        .await;
    })
}

/// Something of everything, for what follows it.
async fn furnish(mut hand: Hand) -> [Rc<Topic>; 3] {
    let rolling = hand.topic("rolling", 2, &[("segment.bytes", SEGMENT_BYTES)]).await;
    let plain = hand.topic("plain", 2, &[]).await;
    let relaxed = hand.topic("relaxed", 1, &[("flush.messages", "50")]).await;
    hand.produce(&plain, 0, with(Codec::Gzip, MIDDLE)).await;
    hand.become_idempotent().await;
    for partition in 0..2 {
        hand.pipeline(&rolling, partition, &[HUGE, SMALL, HUGE, HUGE, SMALL]).await;
        hand.pipeline(&plain, partition, &[SMALL, LARGE]).await;
    }
    hand.pipeline(&relaxed, 0, &[SMALL, MIDDLE]).await;
    hand.commit("g", &rolling, 1, 4).await;
    hand.delete_records(&rolling, 0, 2).await;
    [rolling, plain, relaxed]
}

fn clean_stop(stage: &mut Stage) -> Played {
    stage.start()?;
    let topics = stage.act("furnisher", furnish)?;
    stage.keep(true);
    stage.stop()?;
    stage.start()?;
    stage.act("producer", |mut hand| async move {
        hand.produce(&topics[0], 0, SMALL).await;
        hand.produce(&topics[1], 1, SMALL).await;
    })?;
    stage.stop()
}

fn recovery(stage: &mut Stage) -> Played {
    stage.start()?;
    stage.act("furnisher", furnish)?;
    stage.kill();
    stage.keep(true);
    stage.start()?;
    pass_ms(stage, 50);
    Ok(())
}

fn log_dirs(stage: &mut Stage) -> Played {
    stage.start()?;
    let first = stage.act("founder", |mut hand| async move { hand.topic("first", 4, &[]).await })?;
    stage.keep(true);
    stage.act("producer", |mut hand| async move {
        let second = hand.topic("second", 3, &[]).await;
        for partition in 0..3 {
            hand.pipeline(&first, partition, &[SMALL, MIDDLE]).await;
            hand.produce(&second, partition, SMALL).await;
        }
        hand.delete(&second).await;
        hand.produce(&first, 3, SMALL).await;
    })?;
    stage.stop()
}

/// More partitions on a shard than it treats one by one.
fn many(stage: &mut Stage) -> Played {
    const PARTITIONS: i32 = 104;
    stage.start()?;
    let topic = stage.act("founder", |mut hand| async move {
        let topic = hand.topic("many", PARTITIONS, &[]).await;
        for partition in 0..PARTITIONS {
            hand.produce(&topic, partition, SMALL).await;
        }
        topic
    })?;
    stage.kill();
    stage.keep(true);
    stage.start()?;
    stage.act("producer", |mut hand| async move {
        for partition in 0..PARTITIONS {
            hand.unanswered(&topic, partition, &[SMALL]).await;
        }
        hand.produce(&topic, 0, SMALL).await;
    })?;
    stage.stop()
}
