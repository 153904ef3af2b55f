//! One producer: makes records when they are due, gathers them into batches, keeps its windows of requests full.
//!
//! A task of its shard makes and sends; for each broker another one receives. What must hold: no more requests than the
//! window allows are unanswered; every record that was made is counted once, as answered or as failed; latency counts
//! from when a record was due; an idempotent producer ends with its first error, since nothing behind a gap could
//! succeed. Nothing is retried: a benchmark's errors are told, not hidden. A soak's producer outlives a lost
//! connection, with a new producer id where it has one.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use ottla::ids::{ProducerEpoch, ProducerId};
use ottla::protocol::compression::Codec;
use ottla::protocol::records::header::sequence_plus;
use ottla_shards::host::{self, JoinHandle, sync::Notify};
use ottla_wire::ApiKey;

use crate::batch::{NewRecord, Sequence};
use crate::batcher::{BatchLimits, Batcher, Gathered};
use crate::comeback::Comeback;
use crate::cut::{Role, Why};
use crate::engine::Shard;
use crate::error::reason;
use crate::filler::{Filler, Walk};
use crate::keys::{KeySpec, Keyless, Keys, NextRecord, partition_of};
use crate::link::Link;
use crate::pace::{Pace, Share};
use crate::peer::{Peer, SentBatch};
use crate::places::Places;
use crate::stamp::{LaneId, STAMP_BYTES, Stamp};
use crate::tally::{Phase, nanos};
use crate::verify::Sent;

/// How long what was gathered may take to be sent and answered once the load is over, and where somebody who ended it
/// before its time waits.
const FLUSH_PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const EARLY_PATIENCE: Duration = Duration::from_secs(5);
/// Where records linger anyway, the producer wakes no more often than so many times meanwhile: going to sleep and
/// waking is most of what an open loop costs. Latency counts from when a record was due, however long the nap.
const NAPS_PER_LINGER: u64 = 20;
/// The shortest nap and the longest one.
const NAP_NANOS: (u64, u64) = (50_000, 250_000);
/// How often a producer that has no end yet looks whether it was given one.
const END_LOOK_NANOS: u64 = 100_000_000;
/// From this linger on it naps.
const NAP_LINGER_NANOS: u64 = 1_000_000;

/// A producer's settings.
#[derive(Clone, Debug)]
pub(crate) struct ProducerSettings {
    /// Where the settings name brokers.
    pub bootstrap: Option<String>,
    /// As on the wire: 0, 1, or -1 for all.
    pub acks: i16,
    /// `max.in.flight.requests.per.connection`.
    pub in_flight: usize,
    /// `batch.size`, `linger.ms`, `max.request.size`.
    pub limits: BatchLimits,
    /// `buffer.memory`.
    pub buffer_bytes: usize,
    /// `compression.type`.
    pub codec: Codec,
    /// `enable.idempotence`; off unless asked for, whatever Kafka's default is: it is another kind of load.
    pub idempotent: bool,
    /// Kafka's `RoundRobinPartitioner`.
    pub round_robin: bool,
}

/// A produce load whose flags were checked.
#[derive(Clone, Debug)]
pub(crate) struct ProducePlan {
    /// Producers of all topics, each with a connection to each broker.
    pub clients: usize,
    /// Topics; the producers are dealt out to them in turn, so that records that are due one after the other go to
    /// one topic after the other.
    pub topics: usize,
    /// How each of them produces.
    pub settings: ProducerSettings,
    /// Bytes of each value, where no file says it.
    pub record_bytes: usize,
    /// Which keys records have.
    pub keys: KeySpec,
    /// The same in the words that were given.
    pub keys_name: String,
    /// When records are due.
    pub pace: Pace,
    /// All records of the load.
    pub records: Option<u64>,
    /// When the load ends, from its start.
    pub end: Option<Duration>,
    /// A connection that is lost is opened again.
    pub comes_back: bool,
}

impl ProducePlan {
    /// Records that fall due before the end; `None` where only the broker's speed decides.
    pub(crate) fn records_due(&self) -> Option<u64> {
        let due = self.end.and_then(|end| self.pace.due_before(end));
        match (due, self.records) {
            (Some(due), Some(records)) => Some(due.min(records)),
            (due, records) => due.or(records),
        }
    }
}

/// One producer of a load, before it runs.
pub(crate) struct ProducerJob {
    /// The load.
    pub plan: Arc<ProducePlan>,
    /// Its topic.
    pub places: Arc<Places>,
    /// Which producer it is.
    pub share: Share,
    /// Where it is idempotent.
    pub producer: Option<(ProducerId, ProducerEpoch)>,
    /// What values are made of.
    pub filler: Filler,
}

impl ProducerJob {
    /// Runs the producer to its end.
    pub(crate) async fn run(self, shard: Rc<Shard>) {
        let wake = Rc::new(Notify::new());
        shard.wake_at_the_end(&wake);
        let mut links = Vec::new();
        for (node, addresses) in self.places.nodes.iter().enumerate() {
            match Link::open(addresses).await {
                Ok(link) => links.push(link),
                Err(error) => {
                    let reason = reason(&error.into());
                    shard.meter().failed(reason.clone(), 1);
                    let why = Why::Unreachable(reason);
                    shard.shared.note_cut(Role::Producer, &self.places.node_names[node], why);
                    break;
                }
            }
        }
        shard.ready().await;
        if links.len() == self.places.nodes.len() {
            let mut producer = Producer::new(self, Rc::clone(&shard), wake);
            for (node, link) in links.into_iter().enumerate() {
                let (peer, receiver) = producer.attach(node, link);
                producer.peers.push(peer);
                producer.receivers.push(receiver);
            }
            producer.produce().await;
            producer.end().await;
        }
        shard.shared.producers_left.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A producer at work.
struct Producer {
    plan: Arc<ProducePlan>,
    places: Arc<Places>,
    shard: Rc<Shard>,
    lane: LaneId,
    share: Share,
    producer: Option<(ProducerId, ProducerEpoch)>,
    walk: Walk,
    stamped: bool,
    keys: Keys,
    keyless: Keyless,
    batcher: Batcher,
    /// By the number of the node, the connection and the task that receives from it.
    peers: Vec<Rc<Peer>>,
    receivers: Vec<JoinHandle<()>>,
    wake: Rc<Notify>,
    /// Records made so far, and how many there are to be.
    made: u64,
    limit: u64,
    /// When the load ends, from its start, as far as it is known.
    end: Option<Duration>,
    /// Per partition, the records that were made and those that were sent.
    numbered: Vec<u64>,
    sent: Vec<u64>,
    next_sequences: Vec<i32>,
    /// Since when the buffer has had room, in nanoseconds from the start.
    room_since: u64,
    blocked: bool,
}

impl Producer {
    fn new(job: ProducerJob, shard: Rc<Shard>, wake: Rc<Notify>) -> Producer {
        let ProducerJob { plan, places, share, producer, filler } = job;
        let leaders: Vec<usize> = places.partitions.iter().map(|place| place.node).collect();
        let client = share.client;
        let partitions = leaders.len();
        Producer {
            lane: LaneId { run: shard.shared.run, client: client as u16 },
            walk: filler.walk(client),
            stamped: filler.takes_stamps() && plan.record_bytes >= STAMP_BYTES,
            keys: Keys::new(plan.keys.clone(), client),
            keyless: match plan.settings.round_robin {
                true => Keyless::RoundRobin(client as usize),
                false => Keyless::sticky(client, partitions),
            },
            batcher: Batcher::new(plan.settings.limits, &leaders),
            end: plan.end,
            limit: plan.records_due().map_or(u64::MAX, |records| share.of(records)),
            numbered: vec![0; partitions],
            sent: vec![0; partitions],
            next_sequences: vec![0; partitions],
            made: 0,
            room_since: 0,
            blocked: false,
            plan,
            places,
            shard,
            share,
            producer,
            peers: Vec::new(),
            receivers: Vec::new(),
            wake,
        }
    }

    /// Puts a connection to a broker to work.
    fn attach(&self, node: usize, link: Link) -> (Rc<Peer>, JoinHandle<()>) {
        let (stream, inbox, outbox) = link.split();
        let peer = Peer::new(&self.plan, (&self.places, node), outbox, Rc::clone(&self.wake));
        let receiver = host::spawn(Rc::clone(&peer).receive(stream, inbox, Rc::clone(&self.shard)));
        (peer, receiver)
    }

    /// Makes and sends until the load is over.
    async fn produce(&mut self) {
        loop {
            if self.is_broken() && !self.come_back().await {
                return;
            }
            self.peers.iter().for_each(|peer| peer.count_left(&self.shard));
            let now = self.shard.shared.now();
            self.learn_end();
            if self.is_over(now) {
                return;
            }
            self.make(now);
            self.send(now);
            if self.has_window_to_fill() {
                host::yield_now().await;
            } else if self.made < self.limit {
                self.wait(now).await;
            }
        }
    }

    /// Opens the connections again that were lost, where that is wanted; whether there are all of them. Nothing that
    /// was in flight is sent again: it failed, and may be there or not.
    async fn come_back(&mut self) -> bool {
        if !self.plan.comes_back {
            return false;
        }
        for node in 0..self.peers.len() {
            let peer = Rc::clone(&self.peers[node]);
            if !peer.is_broken() {
                continue;
            }
            if !peer.is_lost() || !self.reopen(node, &peer).await {
                return false;
            }
        }
        // What fell due meanwhile had no broker to go to: the generator is not late with it.
        self.room_since = self.shard.shared.now();
        true
    }

    async fn reopen(&mut self, node: usize, before: &Peer) -> bool {
        let lost = self.shard.shared.now();
        let places = Arc::clone(&self.places);
        let led = places.partitions.iter().filter(|place| place.node == node);
        let partitions: Vec<i32> = led.map(|place| place.partition).collect();
        let comeback = Comeback { places: &places, node, partitions: &partitions };
        let is_over = || self.is_late(self.shard.shared.now());
        let back = match (self.producer, places.init_version) {
            (Some(_), Some(version)) => {
                comeback.idempotent(version, is_over).await.map(|(link, id)| (link, Some(id)))
            }
            (Some(_), None) | (None, _) => comeback.link(is_over).await.map(|link| (link, None)),
        };
        let Some((link, producer)) = back else { return false };
        before.outbox().close();
        let (peer, receiver) = self.attach(node, link);
        std::mem::replace(&mut self.receivers[node], receiver).await;
        peer.take_over(before);
        self.peers[node] = peer;
        if producer.is_some() {
            self.producer = producer;
            self.next_sequences.fill(0);
        }
        self.shard.shared.note_return(lost);
        true
    }

    /// Whether the load is over by the clock.
    fn is_late(&self, now: u64) -> bool {
        let end = self.shard.shared.producers_end().or(self.end);
        end.is_some_and(|end| now >= nanos(end))
    }

    /// Says what has ended it, unless that was the end of the load; whether something has.
    fn note_cut(&self) -> bool {
        let broken = self.peers.iter().find_map(|peer| peer.broken_by());
        let is_cut = broken.is_some();
        if let Some((address, why)) = broken {
            self.shard.shared.note_cut(Role::Producer, address, why);
        }
        is_cut
    }

    /// Takes over the end that the load was given while it runs.
    fn learn_end(&mut self) {
        let Some(end) = self.shard.shared.producers_end().filter(|end| self.end != Some(*end)) else {
            return;
        };
        self.end = Some(end);
        let due = self.plan.pace.due_before(end).map_or(u64::MAX, |records| self.share.of(records));
        self.limit = self.limit.min(due);
    }

    fn is_over(&self, now: u64) -> bool {
        let out_of_time = match self.plan.pace {
            Pace::Free => self.end.is_some_and(|end| now >= nanos(end)),
            // All that falls due before the end is made, unless the broker has no room for it even now.
            Pace::Steady(_) | Pace::Ramp { .. } => {
                self.blocked && self.end.is_some_and(|end| now >= nanos(end))
            }
        };
        self.made >= self.limit || out_of_time
    }

    fn is_broken(&self) -> bool {
        self.peers.iter().any(|peer| peer.is_broken())
    }

    /// Makes the records that are due, as far as there is room for them.
    fn make(&mut self, now: u64) {
        for peer in &self.peers {
            while let Some(buffer) = peer.outbox().take_spare() {
                self.batcher.recycle(buffer);
            }
        }
        match self.plan.pace {
            Pace::Free => {
                let target = self.fill_target();
                while self.batcher.buffered() < target && self.made < self.limit {
                    self.make_one(now, now);
                }
            }
            Pace::Steady(_) | Pace::Ramp { .. } => self.make_due(now),
        }
    }

    /// Without a rate: enough for a batch of every partition, in one request.
    fn fill_target(&self) -> usize {
        let limits = &self.plan.settings.limits;
        let all = limits.batch_bytes.saturating_mul(self.places.partitions.len());
        all.min(limits.request_bytes).max(limits.batch_bytes).min(self.plan.settings.buffer_bytes).max(1)
    }

    /// Whether nothing but making more records keeps a window from being full.
    fn has_window_to_fill(&self) -> bool {
        self.plan.pace == Pace::Free
            && self.batcher.buffered() < self.fill_target()
            && self.peers.iter().any(|peer| peer.has_room())
    }

    fn make_due(&mut self, now: u64) {
        let (made, mut lag) = (self.made, None);
        loop {
            if self.made >= self.limit {
                break;
            }
            let due = self.next_due();
            if due > now {
                break;
            }
            if self.batcher.buffered() >= self.plan.settings.buffer_bytes {
                self.blocked = true;
                break;
            }
            if self.blocked {
                (self.blocked, self.room_since) = (false, now);
            }
            lag.get_or_insert(now - due.max(self.room_since).min(now));
            self.make_one(now, due);
            if due < self.room_since && self.shard.shared.phase(Some(due), now) == Phase::Measured {
                self.shard.meter().held_back += 1;
            }
        }
        if let Some(lag) = lag {
            self.shard.meter().lag.saturating_record_n(lag, self.made - made);
        }
    }

    /// When the next record is due, in nanoseconds from the start.
    fn next_due(&self) -> u64 {
        self.plan.pace.due(self.share.number(self.made)).map_or(0, nanos)
    }

    fn make_one(&mut self, now: u64, due: u64) {
        let number = self.share.number(self.made);
        let bytes = self.walk.advance(self.plan.record_bytes, number);
        let partitions = self.places.partitions.len();
        // A key's number is the record's number in its topic.
        let key = self.keys.next(number / self.plan.topics as u64);
        let partition = match key {
            Some(key) => partition_of(key, partitions),
            None => {
                let next =
                    NextRecord { bytes, batch_bytes: self.plan.settings.limits.batch_bytes, partitions };
                let batcher = &self.batcher;
                self.keyless.choose(next, |partition| batcher.is_open(partition))
            }
        };
        let sequence = self.numbered[partition];
        let shared = &self.shard.shared;
        let stamp = Stamp { lane: self.lane, sequence, due_nanos: shared.wall(due) }.to_bytes();
        let head = if self.stamped { &stamp[..] } else { &[] };
        let tail = self.walk.value(bytes, head.len());
        let record = NewRecord { timestamp: shared.timestamp(due), key, head, tail };
        self.batcher.append(partition, now, due, &record);
        self.numbered[partition] += 1;
        self.made += 1;
    }

    /// Sends what is ready and has a place in its window.
    fn send(&mut self, now: u64) {
        for node in 0..self.peers.len() {
            while self.peers[node].has_room() {
                let Some(batches) = self.batcher.drain(node, now) else { break };
                let batches = batches.into_iter().map(|batch| self.finish(batch)).collect();
                if !self.peers[node].send(batches, &self.shard) {
                    return;
                }
            }
        }
    }

    fn finish(&mut self, gathered: Gathered) -> (SentBatch, Vec<u8>) {
        let Gathered { partition, writer, due, own_bytes, .. } = gathered;
        let records = due.len();
        let sequence = self.producer.map(|(producer_id, producer_epoch)| {
            let next = &mut self.next_sequences[partition];
            let base_sequence = *next;
            *next = sequence_plus(base_sequence, i32::try_from(records).expect("a batch is below 2 GiB"));
            Sequence { producer_id, producer_epoch, base_sequence }
        });
        let (bytes, spare) = writer.finish(self.plan.settings.codec, sequence);
        if let Some(spare) = spare {
            self.batcher.recycle(spare);
        }
        let first = self.sent[partition];
        self.sent[partition] += records as u64;
        let index = self.places.partitions[partition].partition;
        (SentBatch { partition: index, first, due, own_bytes }, bytes)
    }

    /// Waits until a record is due, a batch has lingered or a window has room.
    async fn wait(&mut self, now: u64) {
        let due = match self.plan.pace {
            Pace::Free => None,
            Pace::Steady(_) | Pace::Ramp { .. } if self.blocked || self.made >= self.limit => None,
            Pace::Steady(_) | Pace::Ramp { .. } => Some(
                self.next_due().max(nap(self.plan.settings.limits.linger_nanos).map_or(0, |nap| now + nap)),
            ),
        };
        let mut until = due;
        for (node, peer) in self.peers.iter().enumerate() {
            if peer.has_room()
                && let Some(deadline) = self.batcher.deadline(node, now)
            {
                until = Some(until.map_or(deadline, |until| until.min(deadline)));
            }
        }
        if let (None, Pace::Free, Some(end)) = (until, &self.plan.pace, self.end) {
            until = Some(nanos(end));
        }
        if let (true, Some(end)) = (self.blocked, self.end) {
            until = Some(until.map_or(nanos(end), |until| until.min(nanos(end).max(now + NAP_NANOS.0))));
        }
        if self.end.is_none() && self.plan.records.is_none() {
            let look = now + END_LOOK_NANOS;
            until = Some(until.map_or(look, |until| until.min(look)));
        }
        self.sleep(until).await;
    }

    /// Sleeps until woken, at most until this moment of the load.
    async fn sleep(&self, until: Option<u64>) {
        let mut woken = pin!(self.wake.notified());
        let start = self.shard.shared.started().expect("producers begin with the load");
        let until = until.map(|nanos| host::sleep_until(start.after(Duration::from_nanos(nanos))));
        let mut until = pin!(until);
        poll_fn(|cx| {
            if woken.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            match until.as_mut().as_pin_mut() {
                Some(sleep) => sleep.poll(cx),
                None => Poll::Pending,
            }
        })
        .await;
    }

    /// Sends the rest, awaits all answers, and says what was sent.
    async fn end(mut self) {
        let shared = Arc::clone(&self.shard.shared);
        let is_cut = self.note_cut();
        shared.made.fetch_add(self.made, Ordering::Relaxed);
        self.batcher.flush();
        let over = shared.now();
        let last = || over + nanos(if shared.is_ending() { EARLY_PATIENCE } else { FLUSH_PATIENCE });
        while self.batcher.buffered() > 0 && !self.is_broken() && shared.now() < last() {
            self.send(shared.now());
            if self.batcher.buffered() > 0 {
                self.sleep(Some(last())).await;
                self.peers.iter().for_each(|peer| peer.count_left(&self.shard));
            }
        }
        if self.plan.settings.acks == 0 {
            // A broker answers in order: once it has answered this it has taken everything.
            for peer in &self.peers {
                peer.ask(ApiKey::ApiVersions);
            }
        }
        while self.peers.iter().any(|peer| peer.unanswered() > 0) && shared.now() < last() {
            self.sleep(Some(last())).await;
        }
        for peer in &self.peers {
            peer.close();
        }
        for receiver in std::mem::take(&mut self.receivers) {
            receiver.await;
        }
        if !is_cut {
            self.note_cut();
        }
        self.fail_unsent();
        let sent = self.places.partitions.iter().enumerate().map(|(at, place)| {
            let doubtful = self.peers[place.node].take_doubtful(place.partition);
            (place.partition, Sent { records: self.sent[at], doubtful })
        });
        shared.note_sent(self.places.name(), self.lane, sent);
    }

    /// Counts what was made and could not be sent as failed.
    fn fail_unsent(&self) {
        let made: u64 = self.numbered.iter().sum();
        let unsent = made - self.sent.iter().sum::<u64>();
        if unsent > 0 {
            self.shard.meter().failed("made and never sent", unsent);
        }
    }
}

/// How long a producer naps where records linger so long; `None` where it does not.
fn nap(linger_nanos: u64) -> Option<u64> {
    let nap = (linger_nanos / NAPS_PER_LINGER).clamp(NAP_NANOS.0, NAP_NANOS.1);
    (linger_nanos >= NAP_LINGER_NANOS).then_some(nap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naps_are_a_small_part_of_what_records_linger_and_never_long() {
        let naps = [0, 999_999, 1_000_000, 2_000_000, 5_000_000, 1_000_000_000].map(nap);
        assert_eq!(naps, [None, None, Some(50_000), Some(100_000), Some(250_000), Some(250_000)]);
    }
}
