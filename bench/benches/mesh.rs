//! What it costs to ask another shard: a call and its reply between two real shards, one at a time and many in flight.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ottla::ids::ShardId;
use ottla_shards::host;
use ottla_shards::mesh::{Mesh, Seat, seats};

use crate::suite::Suite;
use crate::worker::Worker;

/// Values that a ring holds in a broker.
const CAPACITY: usize = 256;

/// Two shards: the second answers, the first asks with so many calls in flight.
fn shards(in_flight: u64) -> Worker {
    let seats: Vec<Option<Seat<u64, u64>>> = seats(2, CAPACITY).into_iter().map(Some).collect();
    let (seats, done) = (Arc::new(Mutex::new(seats)), Arc::new(AtomicBool::new(false)));
    Worker::start(2, move |shard, orders| {
        let (seats, done) = (Arc::clone(&seats), Arc::clone(&done));
        async move {
            let seat = seats.lock().expect("no panic")[usize::from(shard.0)].take().expect("one per shard");
            let mesh = seat.open();
            mesh.serve(|_, question| Box::pin(std::future::ready(question + 1)));
            match orders {
                Some(orders) => {
                    orders.obey(async |times| ask(&mesh, times, in_flight).await).await;
                    done.store(true, Ordering::SeqCst);
                }
                None => {
                    while !done.load(Ordering::SeqCst) {
                        host::sleep(Duration::from_millis(20)).await;
                    }
                }
            }
        }
    })
}

async fn ask(mesh: &Rc<Mesh<u64, u64>>, times: u64, in_flight: u64) -> Duration {
    let begun = Instant::now();
    let mut asked = 0;
    while asked < times {
        let end = times.min(asked + in_flight);
        let calls: Vec<_> = (asked..end).map(|number| mesh.call(ShardId(1), number)).collect();
        for (number, call) in (asked..).zip(calls) {
            assert_eq!(call.await, number + 1);
        }
        asked = end;
    }
    begun.elapsed()
}

pub fn measure(suite: &mut Suite) {
    for (question, in_flight) in
        [("mesh round trip, one at a time", 1), ("mesh round trip, 64 at a time, each", 64)]
    {
        let mut shards = shards(in_flight);
        suite.time_many(question, |times| shards.run(times));
    }
}
