//! The mesh under load: order, full rings in both directions, callers that give up, shards that sleep.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla::ids::ShardId;

use super::{Mesh, Seat, seats};
use crate::host::{self, LocalBoxFuture, ShardSpec};

/// Runs `body` on each of `shards` unpinned shards with its seat, and waits for all of them to be done before any
/// of them ends.
fn on_shards<Q, R, B, F>(shards: u16, capacity: usize, body: B)
where
    Q: Send + 'static,
    R: Send + 'static,
    B: Fn(Rc<Mesh<Q, R>>) -> F + Send + Clone + 'static,
    F: Future<Output = ()> + 'static,
{
    let seats: Vec<Option<Seat<Q, R>>> = seats(shards, capacity).into_iter().map(Some).collect();
    let seats = Arc::new(Mutex::new(seats));
    let done = Arc::new(AtomicU64::new(0));
    let specs = (0..shards).map(|shard| ShardSpec { shard: ShardId(shard), cpu: None }).collect();
    host::run_shards(specs, move |shard| {
        let (seats, done, body) = (Arc::clone(&seats), Arc::clone(&done), body.clone());
        async move {
            let seat = seats.lock().expect("no panic")[usize::from(shard.0)].take().expect("one per shard");
            body(seat.open()).await;
            done.fetch_add(1, Ordering::SeqCst);
            while done.load(Ordering::SeqCst) < u64::from(shards) {
                host::sleep(Duration::from_millis(1)).await;
            }
        }
    })
    .expect("the shards start");
}

fn ready<R: 'static>(answer: R) -> LocalBoxFuture<R> {
    Box::pin(std::future::ready(answer))
}

#[test]
fn a_call_to_the_own_shard_is_served_in_order_and_at_once() {
    host::run_local(async {
        let mesh: Rc<Mesh<u32, u32>> = seats(1, 1).remove(0).open();
        let seen = Rc::new(RefCell::new(Vec::new()));
        mesh.serve({
            let seen = Rc::clone(&seen);
            move |from, question| {
                assert_eq!(from, ShardId(0));
                seen.borrow_mut().push(question);
                Box::pin(async move {
                    if question == 0 {
                        host::sleep(Duration::from_millis(1)).await;
                    }
                    question + 100
                })
            }
        });
        let first = mesh.call(ShardId(0), 0);
        let second = mesh.call(ShardId(0), 1);
        assert_eq!(*seen.borrow(), [0, 1], "served when called, before any await");
        mesh.cast(ShardId(0), 2).await;
        assert_eq!(second.await, 101);
        assert_eq!(first.await, 100);
        assert_eq!(seen.borrow().len(), 3);
    });
}

#[test]
fn calls_of_one_shard_arrive_in_order_though_the_ring_is_small() {
    on_shards(2, 2, |mesh: Rc<Mesh<u64, u64>>| async move {
        let next = Cell::new(0);
        mesh.serve(move |_, question| {
            assert_eq!(next.replace(next.get() + 1), question);
            ready(question)
        });
        if mesh.shard() == ShardId(0) {
            let calls: Vec<_> = (0..1_000).map(|number| mesh.call(ShardId(1), number)).collect();
            for (number, call) in (0..).zip(calls) {
                assert_eq!(call.await, number);
            }
        }
    });
}

/// Every shard asks every other all the time, with many calls in progress and rings that hold next to nothing: the
/// rings are full in all directions at once. A lost wake-up or a circle of waiting shards would hang here.
#[test]
fn full_rings_in_all_directions_neither_lock_up_nor_lose_anything() {
    const SHARDS: u16 = 4;
    const CALLERS: u64 = 100;
    const CALLS: u64 = 3_000;
    on_shards(SHARDS, 4, |mesh: Rc<Mesh<u64, u64>>| async move {
        let me = u64::from(mesh.shard().0);
        mesh.serve(move |from, question| {
            assert_eq!(question >> 48, u64::from(from.0));
            // A part of the replies is late, in tasks of their own.
            if question % 64 == 0 {
                return Box::pin(async move {
                    host::yield_now().await;
                    question ^ me
                });
            }
            ready(question ^ me)
        });
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let mesh = Rc::clone(&mesh);
                host::spawn(async move {
                    for call in 0..CALLS {
                        let to = (me + 1 + (caller + call) % (u64::from(SHARDS) - 1)) % u64::from(SHARDS);
                        let question = me << 48 | caller << 32 | call;
                        let to = ShardId(u16::try_from(to).expect("a shard"));
                        assert_eq!(mesh.call(to, question).await, question ^ u64::from(to.0));
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await;
        }
    });
}

#[test]
fn casts_wait_for_room_and_all_arrive() {
    const CASTS: u64 = 100_000;
    on_shards(2, 8, |mesh: Rc<Mesh<u64, ()>>| async move {
        let arrived = Rc::new(Cell::new(0));
        mesh.serve({
            let arrived = Rc::clone(&arrived);
            move |_, number| {
                assert_eq!(arrived.get(), number);
                arrived.set(number + 1);
                ready(())
            }
        });
        let other = ShardId(1 - mesh.shard().0);
        for number in 0..CASTS {
            mesh.cast(other, number).await;
        }
        while arrived.get() < CASTS {
            host::sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn calls_that_were_given_up_free_their_numbers_and_drop_their_replies() {
    on_shards(2, 4, |mesh: Rc<Mesh<bool, Arc<()>>>| async move {
        let token = Arc::new(());
        mesh.serve({
            let token = Arc::clone(&token);
            move |_, late| {
                let token = Arc::clone(&token);
                Box::pin(async move {
                    if late {
                        host::sleep(Duration::from_millis(2)).await;
                    }
                    token
                })
            }
        });
        let other = ShardId(1 - mesh.shard().0);
        for number in 0..200 {
            let mut call = mesh.call(other, number % 2 == 0);
            if number % 3 != 0 {
                let _ = host::timeout(Duration::from_micros(50), &mut call).await;
            }
        }
        drop(mesh.call(other, true).await);
        while Arc::strong_count(&token) > 2 {
            host::sleep(Duration::from_millis(1)).await;
        }
    });
}

/// Shards that have parked between calls: each call finds the other side asleep.
#[test]
fn a_sleeping_shard_wakes_for_every_call() {
    on_shards(2, 4, |mesh: Rc<Mesh<u32, u32>>| async move {
        mesh.serve(|_, question| ready(question + 1));
        if mesh.shard() == ShardId(0) {
            for number in 0..200 {
                host::sleep(Duration::from_micros(u64::from(number % 7) * 50)).await;
                assert_eq!(mesh.call(ShardId(1), number).await, number + 1);
            }
        }
    });
}
