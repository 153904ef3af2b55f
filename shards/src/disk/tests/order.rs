//! Group commit and waiting: many appends share a write, and every waiter is woken.

use std::rc::Rc;
use std::time::Duration;

use ottla::ids::{FilePosition, Offset};
use ottla::log::LogConfig;

use super::support::*;
use crate::disk::DiskSettings;
use crate::host::sync::Notify;
use crate::host::{self, run_local};

#[test]
fn appends_of_one_turn_share_a_write() {
    let root = directory(false);
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let partition = broker.create(&name(0), LogConfig::default()).await;
        let tasks: Vec<_> = (0..50_u64)
            .map(|at| {
                let partition = Rc::clone(&partition);
                host::spawn(async move {
                    let appended = append(&partition, &batch(at, 20)).await.expect("an append");
                    partition.wait_acknowledged(appended.end).await.expect("an acknowledgement");
                    partition.offsets().durable_end
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await, Offset(50), "the first write took all of them");
        }
    });
}

#[test]
fn a_long_poll_over_many_partitions_is_woken_once() {
    let root = directory(false);
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let mut partitions = Vec::new();
        for at in 0..20 {
            partitions.push(broker.create(&name(at), LogConfig::default()).await);
        }
        let notify = Rc::new(Notify::new());
        let places: Vec<_> =
            partitions.iter().map(|partition| partition.subscribe(Offset(0), &notify)).collect();
        let woken = host::spawn({
            let notify = Rc::clone(&notify);
            async move { notify.notified().await }
        });
        host::yield_now().await;
        append(&partitions[7], &batch(1, 10)).await.expect("an append");
        woken.await;
        assert_eq!(partitions[7].offsets().high_watermark, Offset(1));
        drop(places);
        let known = partitions[7].subscribe(Offset(0), &notify);
        notify.notified().await;
        drop(known);
    });
}

#[test]
fn a_topic_that_is_no_longer_relaxed_is_written_at_once() {
    let root = directory(false);
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let relaxed = LogConfig { flush_messages: i64::MAX, ..LogConfig::default() };
        let partition = broker.create(&name(0), relaxed).await;
        produce(&partition, &batch(1, 10)).await;
        assert_eq!(partition.offsets().durable_end, Offset(0));
        partition.set_config(LogConfig::default());
        assert_eq!(partition.offsets().high_watermark, Offset(1), "a high watermark never goes back");
        partition.wait_durable(Offset(1)).await.expect("a flush");
    });
}

#[test]
fn a_relaxed_log_is_written_at_once_for_whoever_wants_it_on_disk() {
    let root = directory(false);
    run_local(async move {
        let hours = DiskSettings { relaxed_flush: Duration::from_secs(7_200), ..DiskSettings::default() };
        let broker = Broker::start_with(root.path(), hours).await;
        let relaxed = LogConfig { flush_messages: i64::MAX, ..LogConfig::default() };
        let partition = broker.create(&name(0), relaxed).await;
        let mut end = Offset(0);
        for at in 0..20 {
            // All but the first come while a write is on its way, or is about to be.
            end = append(&partition, &batch(at, 10)).await.expect("an append").end;
            partition.hasten(end);
        }
        let written = host::timeout(Duration::from_secs(60), partition.wait_durable(end)).await;
        written.expect("nobody waits for hours").expect("a flush");
        append(&partition, &batch(20, 10)).await.expect("an append");
        host::sleep(Duration::from_millis(20)).await;
        assert_eq!(partition.offsets().durable_end, end, "what nobody wants waits");
    });
}

#[test]
fn busy_partitions_zero_ahead_and_lose_nothing_by_it() {
    let root = directory(false);
    let base = root.path().to_owned();
    run_local(async move {
        let broker = Broker::start(&base).await;
        let partition = broker.create(&name(0), LogConfig::default()).await;
        let mut zeroed = 0;
        for at in 0..3_000 {
            produce(&partition, &batch(at, 900)).await;
            zeroed = zeroed.max(broker.disk.zeroed.bytes());
        }
        assert!(zeroed > 0, "a busy partition is zeroed ahead");
        let segment = &files(&base.join("topic-0"), ".log")[0];
        let length = std::fs::metadata(segment).expect("a segment").len();
        assert!(length > partition.bytes() + 4096);
        partition.close().await.expect("a close");
        assert_eq!(std::fs::metadata(segment).expect("a segment").len(), partition.bytes());
        broker.dir.finish_clean().await.expect("a clean shutdown");
        abandon(partition).await;
    });
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let partition = broker.load(&name(0), LogConfig::default()).await;
        let batches = consume(&partition, 0, 100_000).await;
        assert_eq!(batches.len(), 3_000);
        for (at, found) in batches.iter().enumerate() {
            assert!(*found == stored(&batch(at as u64, 900), at as i64, -1), "batch {at}");
        }
    });
}

#[test]
fn a_flush_does_not_overtake_zeros_on_their_way_to_its_blocks() {
    let root = directory(false);
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let partition = broker.create(&name(0), LogConfig::default()).await;
        let hold = |piece| partition.state.borrow_mut().active().zero.hold_for_test(piece);
        hold(Some(FilePosition(4096)..FilePosition(8192)));
        produce(&partition, &batch(1, 1_000)).await;
        append(&partition, &batch(2, 4_000)).await.expect("an append");
        let waiting = host::spawn(partition.wait_durable(Offset(2)));
        host::sleep(Duration::from_millis(30)).await;
        assert_eq!(partition.offsets().durable_end, Offset(1), "the second batch reaches into the zeros");
        hold(None);
        partition.progress.notify_all();
        waiting.await.expect("a flush");
    });
}
