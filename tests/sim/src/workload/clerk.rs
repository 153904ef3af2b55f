//! A clerk: makes and deletes topics, changes and reads configurations, commits offsets, deletes records, asks.

use std::rc::Rc;

use ottla_shards::host::wall_ms;

use super::Topic;
use super::plan::{ClerkPlan, TopicPlan};
use super::seat::{Seat, place};
use crate::client::{CommittedOffset, OffsetQuery, Outcome};

/// Configuration keys that change nothing that the checker goes by, with values for them.
const CHANGED: [(&str, [&str; 3]); 2] =
    [("delete.retention.ms", ["1000", "86400000", "5"]), ("segment.jitter.ms", ["0", "10", "500"])];
/// Groups of one clerk.
const GROUPS: u64 = 2;

/// Works until the desk is closed.
pub async fn run(mut seat: Seat, number: usize, plan: ClerkPlan) {
    for topic in &plan.permanent {
        found(&mut seat, topic).await;
    }
    if !plan.permanent.is_empty() {
        seat.desk.is_founded.set(true);
    }
    let kinds = &plan.kinds;
    let weights = [
        kinds.list,
        kinds.create,
        kinds.delete,
        kinds.set_config,
        kinds.get_config,
        kinds.commit,
        kinds.get_committed,
        kinds.delete_records,
        kinds.producer_id,
        kinds.ends,
        kinds.by_time,
    ];
    let mut commits = 0;
    while !seat.desk.is_stopped() {
        seat.pause(plan.pause_ms_max).await;
        match seat.random.weighted(&weights) {
            0 => list(&mut seat, &plan).await,
            1 => create(&mut seat, &plan).await,
            2 => delete(&mut seat).await,
            kind => {
                let Some(spot) = seat.spot(true) else { continue };
                let (topic, partition) = (&*spot.0, spot.1);
                match kind {
                    3 | 4 => configure(&mut seat, topic, kind == 3).await,
                    5 | 6 => {
                        let group = format!("g{number}-{}", seat.random.within(0..GROUPS));
                        commits += 1;
                        let new = (kind == 5).then_some(commits);
                        commit(&mut seat, &group, (topic, partition), new).await;
                    }
                    7 => delete_records(&mut seat, (topic, partition)).await,
                    8 => drop(seat.producer_id().await),
                    9 => {
                        let query = *seat.random.pick(&[OffsetQuery::Latest, OffsetQuery::Earliest]);
                        seat.offset((topic, partition), query).await;
                    }
                    _ => by_time(&mut seat, (topic, partition)).await,
                }
            }
        }
    }
}

/// Makes a permanent topic, however often it takes.
async fn found(seat: &mut Seat, plan: &TopicPlan) {
    while !seat.desk.is_stopped() {
        match seat.create(&plan.new).await {
            Outcome::Ok(id) => return publish(seat, plan, id, true),
            Outcome::Refused(_) | Outcome::NotSent | Outcome::Unknown(_) | Outcome::Garbled(_) => {
                // It may be there all the same.
                let listed = seat.list().await.ok().unwrap_or_default();
                if let Some(seen) = listed.iter().find(|seen| seen.name == plan.new.name) {
                    return publish(seat, plan, seen.id, true);
                }
            }
        }
        seat.pause(50).await;
    }
}

fn publish(seat: &Seat, plan: &TopicPlan, id: ottla_wire::Uuid, is_permanent: bool) {
    let TopicPlan { new, batch_bytes_max, in_blocks } = plan.clone();
    let topic = Topic { id, new, is_permanent, batch_bytes_max, in_blocks };
    seat.desk.topics.borrow_mut().push(Rc::new(topic));
}

/// Lists topics, and takes up those that are there unexpectedly.
async fn list(seat: &mut Seat, plan: &ClerkPlan) {
    let Outcome::Ok(listed) = seat.list().await else { return };
    for seen in listed {
        let is_known = seat.topics().iter().any(|topic| topic.id == seen.id);
        if let Some(topic) = plan.fleeting.iter().find(|topic| topic.new.name == seen.name && !is_known) {
            seat.desk.count("topics found again");
            publish(seat, topic, seen.id, false);
        }
    }
}

async fn create(seat: &mut Seat, plan: &ClerkPlan) {
    let topic = seat.random.pick(&plan.fleeting).clone();
    if let Outcome::Ok(id) = seat.create(&topic.new).await {
        seat.desk.count("topics made");
        publish(seat, &topic, id, false);
    }
}

/// Deletes a topic; others may be at work with it, before and after.
async fn delete(seat: &mut Seat) {
    let Some((topic, _)) = seat.spot(false) else { return };
    let outcome = seat.delete(topic.id).await;
    if matches!(outcome, Outcome::Ok(())) {
        seat.desk.count("topics deleted");
    }
    // Sometimes the others hear of it late.
    if !seat.random.one_in(3) {
        seat.desk.topics.borrow_mut().retain(|other| other.id != topic.id);
    }
}

async fn configure(seat: &mut Seat, topic: &Topic, is_change: bool) {
    let (key, values) = *seat.random.pick(&CHANGED);
    if is_change {
        let value = *seat.random.pick(&values);
        seat.set_config(topic, key, value).await;
    } else {
        seat.config(topic, key).await;
    }
}

async fn commit(seat: &mut Seat, group: &str, spot: (&Topic, i32), new: Option<i64>) {
    if let Some(number) = new {
        let sure = seat.desk.history.checker().partition(place(spot.0, spot.1)).map_or(0, |it| it.sure_end());
        let commit = CommittedOffset { offset: sure, metadata: format!("commit {number}") };
        if seat.commit(group, spot, commit).await.ok().is_none() {
            seat.find_coordinator(group).await;
        }
    } else {
        seat.committed(group, spot).await;
    }
}

async fn delete_records(seat: &mut Seat, spot: (&Topic, i32)) {
    let sure = {
        let checker = seat.desk.history.checker();
        checker.partition(place(spot.0, spot.1)).map(|it| (it.sure_start(), it.sure_end()))
    };
    let Some((start, end)) = sure.filter(|(start, end)| start < end) else { return };
    // Mostly the older half goes, sometimes everything.
    let most = if seat.random.one_in(5) { end - start } else { (end - start) / 2 };
    let into = seat.random.within(0..u64::try_from(most).expect("the end is behind the start") + 1);
    seat.desk.count("deletions of records");
    seat.delete_records(spot, start + i64::try_from(into).expect("offsets fit")).await;
}

async fn by_time(seat: &mut Seat, spot: (&Topic, i32)) {
    let query = if seat.random.one_in(4) {
        OffsetQuery::Largest
    } else {
        OffsetQuery::At(wall_ms().0 - i64::try_from(seat.random.log_within(1..700_000)).expect("minutes"))
    };
    seat.offset(spot, query).await;
}
