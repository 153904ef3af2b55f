//! Calls between shards: typed, bounded, in order per pair of shards, values moved and never serialised.
//!
//! Each ordered pair of shards has two rings, one for requests and one for replies. Whoever finds a ring full keeps
//! the value in a list of its own, in order, and is told when there is room; nobody ever waits while holding what
//! another shard waits for:
//!
//! - a shard's pump takes requests and replies out of its rings without waiting for anything, so every ring drains
//!   as long as its shard runs;
//! - a reply is put into its ring or its list at once, so serving never waits for the caller;
//! - therefore full rings in both directions cannot hold each other up.
//!
//! What is bounded: the rings by their capacity; the list of a caller by its calls in progress, whose requests it
//! holds anyway; the list of a server by the calls in progress of its callers. The number of calls in progress is the
//! callers' matter: each of them awaits its reply.
//!
//! Wake-ups are not lost: see [`Bell`](crate::host::Bell) for the rings and [`lane`] for the room.
//!
//! Owner: a [`Mesh`] lives on the shard that opened its [`Seat`]. Nothing is on disk.

mod call;
mod lane;
#[cfg(test)]
mod tests;

use std::cell::{Cell, OnceCell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use ottla::ids::ShardId;

use crate::host::sync::Notify;
use crate::host::{self, Bell, Doorbell, LocalBoxFuture};

pub use call::Call;
use call::Calls;
use lane::{Inlet, Outlet};

/// Requests served in one go before the shard's other tasks get their turn.
const SERVED_PER_TURN: usize = 32;

/// A request on its way: what is asked, and the caller's number for the reply (`None`: no reply is wanted).
struct Request<Q> {
    call: Option<u32>,
    question: Q,
}

/// A reply on its way, with the caller's number.
struct Reply<R> {
    call: u32,
    answer: R,
}

/// The four ring ends that one shard has towards another.
struct Peer<Q, R> {
    requests_out: Outlet<Request<Q>>,
    requests_in: Inlet<Request<Q>>,
    replies_out: Outlet<Reply<R>>,
    replies_in: Inlet<Reply<R>>,
}

/// One shard's place in a mesh, before the shard runs; it may cross threads once, to its shard.
pub struct Seat<Q, R> {
    me: ShardId,
    /// By shard; `None` at the own place.
    peers: Vec<Option<Peer<Q, R>>>,
    bells: Arc<[OnceLock<Bell>]>,
}

/// The seats of a mesh of `shards` shards, by shard. `capacity`: values that each ring holds.
#[must_use]
pub fn seats<Q, R>(shards: u16, capacity: usize) -> Vec<Seat<Q, R>> {
    assert!(capacity > 0, "a ring holds at least one value");
    let bells: Arc<[OnceLock<Bell>]> = (0..shards).map(|_| OnceLock::new()).collect();
    let mut seats: Vec<Seat<Q, R>> = Vec::with_capacity(usize::from(shards));
    for me in 0..shards {
        let mut peers = Vec::with_capacity(usize::from(shards));
        for other in &mut seats {
            let (here, there) = pair(capacity);
            peers.push(Some(here));
            other.peers.push(Some(there));
        }
        peers.push(None);
        seats.push(Seat { me: ShardId(me), peers, bells: Arc::clone(&bells) });
    }
    seats
}

/// Both ends of the four rings between two shards.
fn pair<Q, R>(capacity: usize) -> (Peer<Q, R>, Peer<Q, R>) {
    let (requests_ab, requests_from_a) = lane::lane(capacity);
    let (requests_ba, requests_from_b) = lane::lane(capacity);
    let (replies_ab, replies_from_a) = lane::lane(capacity);
    let (replies_ba, replies_from_b) = lane::lane(capacity);
    let at_a = Peer {
        requests_out: requests_ab,
        requests_in: requests_from_b,
        replies_out: replies_ab,
        replies_in: replies_from_b,
    };
    let at_b = Peer {
        requests_out: requests_ba,
        requests_in: requests_from_a,
        replies_out: replies_ba,
        replies_in: replies_from_a,
    };
    (at_a, at_b)
}

/// What serves a shard's requests.
type Handler<Q, R> = Box<dyn Fn(ShardId, Q) -> LocalBoxFuture<R>>;

/// A shard's end of the mesh.
pub struct Mesh<Q, R> {
    me: ShardId,
    peers: Vec<Option<RefCell<Peer<Q, R>>>>,
    bells: Arc<[OnceLock<Bell>]>,
    calls: Rc<Calls<R>>,
    handler: OnceCell<Handler<Q, R>>,
    /// Told whenever values of a list have entered their ring.
    entered: Notify,
    /// Where the next turn begins to serve, so that all peers get theirs.
    turn: Cell<usize>,
    /// Requests to other shards so far.
    asked: Cell<u64>,
}

impl<Q: 'static, R: 'static> Seat<Q, R> {
    /// Takes the seat, on the shard that it belongs to. Nothing is served before [`Mesh::serve`].
    #[must_use]
    pub fn open(self) -> Rc<Mesh<Q, R>> {
        assert_eq!(self.me, host::shard_id(), "a seat is taken by its own shard");
        Rc::new(Mesh {
            me: self.me,
            peers: self.peers.into_iter().map(|peer| peer.map(RefCell::new)).collect(),
            bells: self.bells,
            calls: Rc::default(),
            handler: OnceCell::new(),
            entered: Notify::new(),
            turn: Cell::new(0),
            asked: Cell::new(0),
        })
    }

    /// The shard whose seat this is.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.me
    }
}

impl<Q: 'static, R: 'static> Mesh<Q, R> {
    /// The shard whose end this is.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.me
    }

    /// Shards in the mesh, this one with them.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.peers.len()
    }

    /// Requests that were put to other shards so far.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked.get()
    }

    /// Requests and replies to other shards that these have not taken.
    #[must_use]
    pub fn queued(&self) -> usize {
        let waiting = |(_, peer): (ShardId, &RefCell<Peer<Q, R>>)| {
            let peer = peer.borrow();
            peer.requests_out.waiting() + peer.replies_out.waiting()
        };
        self.others().map(waiting).sum()
    }

    /// Begins to serve the requests of the other shards, and those that come; once per mesh.
    ///
    /// Requests of one shard reach `handler` in the order in which they were called. The returned future is polled at
    /// once, before the next request is looked at; if it is not ready then, it goes on as a task of its own.
    pub fn serve(self: &Rc<Self>, handler: impl Fn(ShardId, Q) -> LocalBoxFuture<R> + 'static) {
        let set = self.handler.set(Box::new(handler));
        assert!(set.is_ok(), "a mesh has one handler");
        let doorbell = Doorbell::new();
        let set = self.bells[usize::from(self.me.0)].set(doorbell.bell());
        assert!(set.is_ok(), "a seat is opened once");
        // Whoever has sent before the bell was there has not rung: the pump looks once by itself.
        fence(Ordering::SeqCst);
        host::spawn_detached(pump(Rc::clone(self), doorbell));
    }

    /// Asks shard `to`, and resolves to its reply. The request is on its way when this returns, behind those that
    /// were called before; dropping the future gives up on the reply alone. A call to the own shard is served at
    /// once, without a ring.
    ///
    /// A shard that has ended does not reply.
    pub fn call(self: &Rc<Self>, to: ShardId, question: Q) -> Call<R> {
        let number = self.calls.begin();
        self.send(to, Request { call: Some(number), question });
        Call::new(Rc::clone(&self.calls), number)
    }

    /// Tells shard `to` something; nothing comes back. The request is on its way when this returns, behind those that
    /// were called before; the future resolves when it has entered the ring, which a sender of many awaits.
    pub fn cast(self: &Rc<Self>, to: ShardId, question: Q) -> impl Future<Output = ()> + use<Q, R> {
        let place = self.send(to, Request { call: None, question });
        let mesh = Rc::clone(self);
        async move {
            let Some(place) = place else { return };
            while !mesh.peer(to).borrow().requests_out.has_entered(place) {
                mesh.entered.notified().await;
            }
        }
    }

    fn peer(&self, shard: ShardId) -> &RefCell<Peer<Q, R>> {
        let peer = self.peers.get(usize::from(shard.0)).and_then(Option::as_ref);
        peer.expect("another shard of this mesh")
    }

    /// The request's place in its lane; `None` when it was served here.
    fn send(self: &Rc<Self>, to: ShardId, request: Request<Q>) -> Option<u64> {
        if to == self.me {
            self.serve_one(self.me, request);
            return None;
        }
        self.asked.set(self.asked.get() + 1);
        let place = self.peer(to).borrow_mut().requests_out.send(request);
        self.ring(to);
        Some(place)
    }

    fn ring(&self, shard: ShardId) {
        fence(Ordering::SeqCst);
        if let Some(bell) = self.bells[usize::from(shard.0)].get() {
            bell.ring();
        }
    }

    /// Hands one request to the handler; it is polled here, and goes on elsewhere if it has to.
    fn serve_one(self: &Rc<Self>, from: ShardId, request: Request<Q>) {
        let handler = self.handler.get().expect("serve is called before the first request");
        let mut future = handler(from, request.question);
        match poll_once(future.as_mut()) {
            Poll::Ready(answer) => self.reply(from, request.call, answer),
            Poll::Pending => {
                let mesh = Rc::clone(self);
                host::spawn_detached(async move {
                    let answer = future.await;
                    mesh.reply(from, request.call, answer);
                });
            }
        }
    }

    fn reply(&self, to: ShardId, call: Option<u32>, answer: R) {
        let Some(call) = call else { return };
        if to == self.me {
            self.calls.finish(call, answer);
            return;
        }
        self.peer(to).borrow_mut().replies_out.send(Reply { call, answer });
        self.ring(to);
    }

    /// Empties the reply rings and serves some requests. Returns whether requests are left.
    fn turn(self: &Rc<Self>) -> bool {
        for (shard, peer) in self.others() {
            while let Some(reply) = take(peer, |peer| peer.replies_in.take()) {
                self.calls.finish(reply.call, reply.answer);
            }
            self.settle(shard, peer);
        }
        let shards = self.peers.len();
        let begin = self.turn.get();
        self.turn.set((begin + 1) % shards);
        let mut left = SERVED_PER_TURN;
        for place in (begin..shards).chain(0..begin) {
            let Some(peer) = &self.peers[place] else { continue };
            let shard = ShardId(u16::try_from(place).expect("shards are numbered by u16"));
            while left > 0 {
                let Some(request) = take(peer, |peer| peer.requests_in.take()) else { break };
                left -= 1;
                self.serve_one(shard, request);
            }
            self.settle(shard, peer);
        }
        left == 0
    }

    fn others(&self) -> impl Iterator<Item = (ShardId, &RefCell<Peer<Q, R>>)> {
        let numbered = (0u16..).zip(&self.peers);
        numbered.filter_map(|(shard, peer)| Some((ShardId(shard), peer.as_ref()?)))
    }

    /// Moves listed values into their rings, and tells the peer of new values and of room that it waits for.
    fn settle(&self, shard: ShardId, peer: &RefCell<Peer<Q, R>>) {
        let mut peer = peer.borrow_mut();
        let requests = peer.requests_out.flush();
        let replies = peer.replies_out.flush();
        let room = peer.requests_in.room_is_wanted() | peer.replies_in.room_is_wanted();
        drop(peer);
        if requests {
            self.entered.notify_all();
        }
        if requests || replies || room {
            self.ring(shard);
        }
    }
}

/// Takes one value with the borrow ended before it is used.
fn take<Q, R, T>(peer: &RefCell<Peer<Q, R>>, from: impl FnOnce(&mut Peer<Q, R>) -> Option<T>) -> Option<T> {
    from(&mut peer.borrow_mut())
}

/// Polls a future whose next poll comes from elsewhere.
fn poll_once<T>(future: Pin<&mut (dyn Future<Output = T> + 'static)>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The task that turns a shard's end of the mesh.
async fn pump<Q: 'static, R: 'static>(mesh: Rc<Mesh<Q, R>>, doorbell: Doorbell) {
    loop {
        while mesh.turn() {
            host::yield_now().await;
        }
        doorbell.rung().await;
    }
}
