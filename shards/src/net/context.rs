//! What a request's handler knows about its connection.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use ottla::time::Monotonic;

use crate::host::sync::Notify;

/// One connection, as its requests see it.
pub struct ConnectionContext {
    id: u64,
    listener: usize,
    peer: SocketAddr,
    local: SocketAddr,
    closed: Cell<bool>,
    /// Replies stand behind one that has not been made.
    held_up: Cell<bool>,
    hurried: Notify,
    muted_until: Cell<Monotonic>,
    ready: Cell<Monotonic>,
    session: RefCell<Option<Rc<dyn Any>>>,
}

impl ConnectionContext {
    pub(super) fn new(id: u64, listener: usize, peer: SocketAddr, local: SocketAddr) -> ConnectionContext {
        ConnectionContext {
            id,
            listener,
            peer,
            local,
            closed: Cell::new(false),
            held_up: Cell::new(false),
            hurried: Notify::new(),
            muted_until: Cell::new(Monotonic::ZERO),
            ready: Cell::new(Monotonic::ZERO),
            session: RefCell::new(None),
        }
    }

    /// The connection's number, unique on its shard.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Which of the broker's listeners accepted it, as given to the acceptor.
    #[must_use]
    pub fn listener(&self) -> usize {
        self.listener
    }

    /// The client's address.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The address that the client connected to.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Whether the connection has ended: answers go nowhere.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Whether an answer that only waits for something to happen is wanted now: the connection has ended, or replies to
    /// what its client asked for later wait behind this one, in the memory that there is for all replies.
    #[must_use]
    pub fn is_hurried(&self) -> bool {
        self.closed.get() || self.held_up.get()
    }

    /// Waits until what is waited for is wanted as it is.
    pub async fn hurried(&self) {
        while !self.is_hurried() {
            self.hurried.notified().await;
        }
    }

    pub(super) fn set_closed(&self) {
        self.closed.set(true);
        self.hurried.notify_all();
    }

    pub(super) fn set_held_up(&self, held_up: bool) {
        self.held_up.set(held_up);
        if held_up {
            self.hurried.notify_all();
        }
    }

    /// Reads no further request before `deadline`: how a throttled client is held off while its reply, which tells
    /// it so, leaves at once (KIP-219).
    pub fn mute_until(&self, deadline: Monotonic) {
        self.muted_until.set(self.muted_until.get().max(deadline));
    }

    pub(super) fn muted_until(&self) -> Monotonic {
        self.muted_until.get()
    }

    /// When the bytes of the request that is being handed out were there. Of meaning before the handler's first wait
    /// alone.
    #[must_use]
    pub fn ready(&self) -> Monotonic {
        self.ready.get()
    }

    pub(super) fn set_ready(&self, ready: Monotonic) {
        self.ready.set(ready);
    }

    /// What the handler keeps for this connection: the client's name, its principal. Made by `make` when it is first
    /// asked for.
    ///
    /// # Panics
    /// When asked for two types: a connection has one session.
    pub fn session<T: 'static>(&self, make: impl FnOnce() -> T) -> Rc<T> {
        let mut session = self.session.borrow_mut();
        let session = session.get_or_insert_with(|| Rc::new(make()));
        Rc::downcast(Rc::clone(session)).expect("a connection's session is of one type")
    }
}
