//! Accepting connections, within limits, and giving them away.
//!
//! Runs on the shard that listens. An accepted connection carries a guard that counts it until it is dropped, on
//! whichever shard that is.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use ottla::metrics::{Counter, ShardMetrics};
use ottla::time::Monotonic;

use crate::host::sync::Notify;
use crate::host::{self, Listener, StreamSeed};

/// How long to wait before the next attempt when descriptors or memory have run out.
const SHORTAGE_WAIT: Duration = Duration::from_millis(100);
/// Lines about one kind of trouble come no more often than this.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// Connections after which the table of addresses is swept.
const SWEEP_EVERY: usize = 1024;
/// Connections that are taken before the shard's other tasks have a turn.
const ACCEPTED_IN_A_ROW: usize = 16;

/// How many connections are taken; shared by all listeners of the process.
#[derive(Clone, Debug)]
pub struct AcceptLimits {
    /// `max.connections`: of all listeners together.
    pub connections_max: usize,
    /// `listener.name.<name>.max.connections` by the listener's number; one that is not there has none of its own.
    pub per_listener: Vec<Option<usize>>,
    /// `max.connections.per.ip`.
    pub connections_per_ip_max: usize,
    /// `max.connections.per.ip.overrides`, as addresses.
    pub per_ip_overrides: BTreeMap<IpAddr, usize>,
}

impl Default for AcceptLimits {
    /// Kafka's defaults: no limits.
    fn default() -> AcceptLimits {
        AcceptLimits {
            connections_max: usize::MAX,
            per_listener: Vec::new(),
            connections_per_ip_max: usize::MAX,
            per_ip_overrides: BTreeMap::new(),
        }
    }
}

/// Counts a connection as long as it lives.
#[derive(Debug)]
pub struct ConnectionGuard {
    counts: Vec<Arc<AtomicUsize>>,
}

impl ConnectionGuard {
    /// Room for the counts of all, of the listener, of the address and of the shard.
    fn new() -> ConnectionGuard {
        ConnectionGuard { counts: Vec::with_capacity(4) }
    }

    /// Counts the connection with those of `count` too.
    pub fn count_with(&mut self, count: &Arc<AtomicUsize>) {
        count.fetch_add(1, Ordering::Relaxed);
        self.counts.push(Arc::clone(count));
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        for count in &self.counts {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// An accepted connection on its way to its shard.
#[derive(Debug)]
pub struct Accepted {
    /// The socket.
    pub seed: StreamSeed,
    /// Which listener accepted it.
    pub listener: usize,
    /// Counts the connection; kept by [`Connections`](super::Connections) until it closes.
    pub guard: ConnectionGuard,
}

/// Accepts connections on the shard that made it.
pub struct Acceptor {
    limits: RefCell<AcceptLimits>,
    all: Arc<AtomicUsize>,
    by_listener: RefCell<BTreeMap<usize, Arc<AtomicUsize>>>,
    by_address: RefCell<BTreeMap<IpAddr, Arc<AtomicUsize>>>,
    accepted: Cell<usize>,
    stopped: Cell<bool>,
    stop: Notify,
    refusals: Complaint,
    shortages: Complaint,
}

impl Acceptor {
    /// An acceptor within `limits`; it may serve several listeners.
    #[must_use]
    pub fn new(limits: AcceptLimits) -> Rc<Acceptor> {
        Rc::new(Acceptor {
            limits: RefCell::new(limits),
            all: Arc::default(),
            by_listener: RefCell::default(),
            by_address: RefCell::default(),
            accepted: Cell::new(0),
            stopped: Cell::new(false),
            stop: Notify::new(),
            refusals: Complaint::default(),
            shortages: Complaint::default(),
        })
    }

    /// Connections that are open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    /// Changes the limits for connections to come.
    pub fn set_limits(&self, limits: AcceptLimits) {
        *self.limits.borrow_mut() = limits;
    }

    /// Accepts from `listener`, which the handlers know as `number`, and hands each connection to `place`, until
    /// [`Acceptor::stop`]. The listener closes at the end.
    pub async fn run(self: Rc<Self>, listener: Listener, number: usize, place: impl Fn(Accepted)) {
        let metrics = host::shard_slot::<ShardMetrics>();
        let mut in_a_row = 0;
        while !self.stopped.get() {
            let Some(outcome) = self.accept_or_stop(&listener).await else { return };
            in_a_row += 1;
            if in_a_row % ACCEPTED_IN_A_ROW == 0 {
                // As long as the backlog has connections nothing is waited for, and the shard has other things to do.
                host::yield_now().await;
            }
            match outcome {
                Ok(seed) => match self.admit(number, seed.peer().ip()) {
                    Some(guard) => place(Accepted { seed, listener: number, guard }),
                    None => metrics.add(Counter::ConnectionsRefused, 1),
                },
                Err(error) => {
                    self.shortages.once_in_a_while(|left_out| {
                        tracing::warn!(%error, left_out, "connections cannot be accepted for now");
                    });
                    host::sleep(SHORTAGE_WAIT).await;
                }
            }
        }
    }

    /// `None` when stopped.
    async fn accept_or_stop(&self, listener: &Listener) -> Option<io::Result<StreamSeed>> {
        let mut accept = pin!(listener.accept());
        let mut stop = pin!(self.stop.notified());
        poll_fn(|cx| {
            if self.stopped.get() || stop.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            accept.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Counts a connection of a listener from `address`, or says why it is not taken; it is closed then.
    fn admit(&self, listener: usize, address: IpAddr) -> Option<ConnectionGuard> {
        self.accepted.set(self.accepted.get() + 1);
        if self.accepted.get().is_multiple_of(SWEEP_EVERY) {
            self.by_address.borrow_mut().retain(|_, count| count.load(Ordering::Relaxed) > 0);
        }
        let limits = self.limits.borrow();
        let of_listener = Arc::clone(self.by_listener.borrow_mut().entry(listener).or_default());
        let of_address = Arc::clone(self.by_address.borrow_mut().entry(address).or_default());
        let listener_max = limits.per_listener.get(listener).copied().flatten().unwrap_or(usize::MAX);
        let address_max = limits.per_ip_overrides.get(&address).copied();
        let address_max = address_max.unwrap_or(limits.connections_per_ip_max);
        let counts = [
            (&self.all, limits.connections_max, "max.connections"),
            (&of_listener, listener_max, "max.connections of the listener"),
            (&of_address, address_max, "max.connections.per.ip"),
        ];
        let full = counts.iter().find(|(count, max, _)| count.load(Ordering::Relaxed) >= *max);
        if let Some((_, _, setting)) = full {
            self.refusals.once_in_a_while(|left_out| {
                tracing::warn!(%address, setting, left_out, "a connection above the limit was closed");
            });
            return None;
        }
        let mut guard = ConnectionGuard::new();
        counts.iter().for_each(|(count, ..)| guard.count_with(count));
        Some(guard)
    }

    /// Accepts nothing more, from no listener.
    pub fn stop(&self) {
        self.stopped.set(true);
        self.stop.notify_all();
    }
}

/// Trouble that may come thousands of times a second and is told once in a while.
#[derive(Default)]
pub(crate) struct Complaint {
    next: Cell<Monotonic>,
    left_out: Cell<u64>,
}

impl Complaint {
    /// Calls `tell`, with how many were left out, unless it has just been called.
    pub(crate) fn once_in_a_while(&self, tell: impl FnOnce(u64)) {
        let now = host::now();
        if now < self.next.get() {
            self.left_out.set(self.left_out.get() + 1);
            return;
        }
        self.next.set(now.after(LOG_EVERY));
        tell(self.left_out.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn the_limits_count_open_connections_alone() {
        let acceptor = Acceptor::new(AcceptLimits {
            connections_max: 3,
            per_listener: Vec::new(),
            connections_per_ip_max: 2,
            per_ip_overrides: [(from(9), 0)].into(),
        });
        let one = acceptor.admit(0, from(1)).expect("within");
        let _two = acceptor.admit(0, from(1)).expect("within");
        assert!(acceptor.admit(0, from(1)).is_none(), "two of one address");
        assert!(acceptor.admit(0, from(9)).is_none(), "an override of none");
        let _three = acceptor.admit(0, from(2)).expect("within");
        assert!(acceptor.admit(0, from(3)).is_none(), "three in all");
        drop(one);
        assert_eq!(acceptor.connections(), 2);
        let _four = acceptor.admit(0, from(1)).expect("within again");
    }

    #[test]
    fn a_listener_may_have_a_limit_of_its_own_and_limits_may_change() {
        let of_second = |max| AcceptLimits { per_listener: vec![None, Some(max)], ..AcceptLimits::default() };
        let acceptor = Acceptor::new(of_second(1));
        let admit = |listener| acceptor.admit(listener, from(1));
        let _others = [admit(0).expect("no limit"), admit(0).expect("no limit"), admit(2).expect("no limit")];
        let first = admit(1).expect("within");
        assert!(admit(1).is_none());
        acceptor.set_limits(of_second(2));
        let _second = admit(1).expect("within what holds now");
        acceptor.set_limits(of_second(1));
        drop(first);
        assert!(admit(1).is_none(), "what was taken before counts, and stays");
    }

    #[test]
    fn addresses_without_connections_are_forgotten() {
        let acceptor = Acceptor::new(AcceptLimits::default());
        for number in 0..2 * SWEEP_EVERY {
            let address = IpAddr::from(u32::try_from(number).expect("small").to_be_bytes());
            drop(acceptor.admit(0, address).expect("no limit"));
        }
        assert!(acceptor.by_address.borrow().len() <= SWEEP_EVERY);
    }

    #[test]
    fn trouble_is_told_once_and_counted() {
        let complaint = Complaint::default();
        let told = Cell::new(Vec::new());
        for _ in 0..5 {
            complaint.once_in_a_while(|left_out| told.set([told.take(), vec![left_out]].concat()));
        }
        assert_eq!(told.take(), [0]);
        complaint.next.set(Monotonic::ZERO);
        complaint.once_in_a_while(|left_out| told.set(vec![left_out]));
        assert_eq!(told.take(), [4]);
    }
}
