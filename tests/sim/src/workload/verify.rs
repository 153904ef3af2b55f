//! The reckoning: with nothing to hinder the broker, everything that exists for sure is read and written once more.

use std::rc::Rc;
use std::time::Duration;

use ottla::errors::ErrorCode;
use ottla::protocol::compression::Codec;
use ottla_shards::host::{now, sleep, wall_ms};

use super::seat::{Seat, place};
use super::{Desk, Topic};
use crate::check::{Invariant, Violation};
use crate::client::{Acks, Outcome};
use crate::random::Random;
use crate::records::{BatchSpec, IDENTITY_BYTES, RecordSpec};

/// How long a healthy broker may take to do any one thing, loading and recovery included.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads everything that exists for sure; with `write`, appends one record to each partition too. Whatever cannot be
/// done within its time is a violation in the history.
pub async fn verify(desk: &Rc<Desk>, random: &Random, write: bool) {
    let mut seat = Seat::new(desk, random, "verifier");
    if insist(&mut seat, "list topics", async |seat| done(seat.list().await)).await.is_none() {
        return;
    }
    let sure: Vec<Topic> = {
        let checker = desk.history.checker();
        let topic = |(id, new): (_, &crate::client::NewTopic)| Topic {
            id,
            new: new.clone(),
            is_permanent: false,
            batch_bytes_max: 0,
            in_blocks: false,
        };
        checker.topics().sure().map(topic).collect()
    };
    for topic in &sure {
        for partition in 0..topic.new.partitions {
            let read = async |seat: &mut Seat| done(seat.read_back((topic, partition)).await);
            if insist(&mut seat, "read", read).await.is_none() {
                return;
            }
            if write && append(&mut seat, topic, partition).await.is_none() {
                return;
            }
        }
    }
    if write {
        insist(&mut seat, "take a producer id", async |seat| done(seat.producer_id().await)).await;
    }
}

/// What is done is done; a refusal or an unknown fate is tried again.
fn done<T>(outcome: Outcome<T>) -> Option<()> {
    outcome.ok().map(drop)
}

/// Tries until it succeeds; says that the broker is stuck when it never does.
async fn insist(
    seat: &mut Seat,
    what: &str,
    mut attempt: impl AsyncFnMut(&mut Seat) -> Option<()>,
) -> Option<()> {
    let deadline = now().after(PATIENCE);
    while now() < deadline {
        if attempt(seat).await.is_some() {
            return Some(());
        }
        if seat.desk.history.violation().is_some() {
            return None;
        }
        sleep(Duration::from_millis(20)).await;
    }
    let detail = format!("for {PATIENCE:?} the broker did not {what}");
    seat.desk.history.blame(Violation::new(Invariant::Stuck, detail));
    None
}

/// Appends a record of its own.
async fn append(seat: &mut Seat, topic: &Topic, partition: i32) -> Option<()> {
    let timestamp = wall_ms().0;
    insist(seat, &format!("append to {}", place(topic, partition)), async |seat: &mut Seat| {
        let record = RecordSpec { key: Some(0), value_bytes: Some(IDENTITY_BYTES), timestamp };
        let records = vec![record];
        let batch = |id| BatchSpec { id, producer: None, codec: Codec::None, records };
        let batch = seat.desk.history.new_batch(batch);
        let outcomes = seat.produce((topic, partition), Acks::All, &[batch]).await;
        match outcomes.into_iter().next().expect("one batch, one outcome") {
            Outcome::Ok(_) => Some(()),
            // The wall clock went back: the topic takes no records of what is its future.
            Outcome::Refused(ErrorCode::InvalidTimestamp) => Some(()),
            Outcome::Refused(_) | Outcome::NotSent | Outcome::Unknown(_) | Outcome::Garbled(_) => None,
        }
    })
    .await
}
