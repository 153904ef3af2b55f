//! A reader: from the start, from the middle, from the end, from a time; then on and on until it has had enough.

use ottla::errors::ErrorCode;
use ottla_shards::host::wall_ms;

use super::Topic;
use super::plan::ReaderPlan;
use super::seat::{Portion, Seat, place};
use crate::client::{OffsetQuery, Outcome};

/// The longest that one reading lasts, in fetches.
const FETCHES_MAX: u64 = 40;

/// Reads until the desk is closed.
pub async fn run(mut seat: Seat, plan: ReaderPlan) {
    while !seat.desk.is_stopped() {
        seat.pause(plan.pause_ms_max).await;
        let is_permanent = !seat.random.one_in(4);
        let Some((topic, partition)) = seat.spot(is_permanent) else { continue };
        let Some(from) = beginning(&mut seat, &plan, (&topic, partition)).await else { continue };
        follow(&mut seat, &plan, (&topic, partition), from).await;
    }
}

/// Where a reading begins.
async fn beginning(seat: &mut Seat, plan: &ReaderPlan, spot: (&Topic, i32)) -> Option<i64> {
    let (topic, partition) = spot;
    let sure = {
        let checker = seat.desk.history.checker();
        checker.partition(place(topic, partition)).map_or(0..0, |it| it.sure_start()..it.sure_end())
    };
    let choice = seat.random.weighted(&plan.beginnings);
    let asked = match choice {
        1 => {
            seat.desk.count("readings from the middle");
            let length = u64::try_from(sure.end - sure.start).unwrap_or(0);
            let into = seat.random.within(0..length + 1);
            return Some(sure.start + i64::try_from(into).expect("offsets are positive"));
        }
        // Only a name can be asked for offsets.
        _ if !topic.is_permanent => return Some(sure.start),
        2 => OffsetQuery::Latest,
        3 => {
            let ago = i64::try_from(seat.random.log_within(1..20_000)).expect("small");
            OffsetQuery::At(wall_ms().0 - ago)
        }
        _ => OffsetQuery::Earliest,
    };
    let names = ["readings from the start", "", "readings from the end", "readings from a time"];
    seat.desk.count(names[choice]);
    seat.offset(spot, asked).await.ok().map(|found| found.offset.max(sure.start))
}

/// Fetches on from an offset.
async fn follow(seat: &mut Seat, plan: &ReaderPlan, spot: (&Topic, i32), from: i64) {
    let mut next = from;
    for _ in 0..seat.random.log_within(1..FETCHES_MAX) {
        if seat.desk.is_stopped() {
            return;
        }
        let portion = Portion {
            bytes_max: i32::try_from(seat.random.log_within(1..plan.bytes_max + 1)).expect("a megabyte"),
            wait_ms: i32::try_from(seat.random.within(0..plan.wait_ms_max + 1)).expect("short"),
        };
        match seat.fetch(spot, next, portion).await {
            Outcome::Ok(seen) => {
                seat.desk.count(if seen.records.is_empty() { "empty fetches" } else { "fetches" });
                next = next.max(seen.batches_end);
            }
            Outcome::Refused(ErrorCode::OffsetOutOfRange) => {
                seat.desk.count("fetches out of range");
                return;
            }
            Outcome::Refused(_) | Outcome::NotSent | Outcome::Unknown(_) | Outcome::Garbled(_) => return,
        }
        seat.pause(plan.pause_ms_max).await;
    }
}
