//! What a producer has gathered and not sent: a queue of batches per partition, as Kafka's `RecordAccumulator`.
//!
//! Pure: times are nanoseconds that are passed in. Owned by one producer. What must hold: records of a partition
//! leave in the order in which they came; a request has at most one batch of each partition; a batch leaves once it is
//! full, has lingered, or another batch for the same broker leaves; what is gathered is bounded by its owner through
//! [`Batcher::buffered`].

use std::collections::VecDeque;

use crate::batch::{BatchWriter, NewRecord};

/// Buffers that are kept for further batches.
const SPARE_BUFFERS: usize = 64;

/// The settings of a batcher, by the names of Kafka's producer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    /// `batch.size`: bytes of a batch before compression. A longer record has a batch of its own.
    pub batch_bytes: usize,
    /// `linger.ms`, in nanoseconds.
    pub linger_nanos: u64,
    /// `max.request.size`: bytes of the batches of one request; one batch may pass it.
    pub request_bytes: usize,
}

/// A batch that is to be finished and sent.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// The partition's number in its batcher.
    pub partition: usize,
    /// The records, encoded.
    pub writer: BatchWriter,
    /// When each record was due, in nanoseconds.
    pub due: Vec<u64>,
    /// Bytes of the keys and values.
    pub own_bytes: u64,
    /// When its first record came.
    since: u64,
}

#[derive(Debug)]
struct Queue {
    /// The broker that leads the partition, as its number.
    node: usize,
    /// Full batches, the oldest first.
    full: VecDeque<Gathered>,
    open: Option<Gathered>,
    /// In the list of its node's partitions that have something.
    listed: bool,
}

#[derive(Debug, Default)]
struct NodeQueues {
    /// Partitions that have a batch, in the order of their turns.
    listed: VecDeque<usize>,
    full: usize,
    /// Open batches by age: partition and since when. Those that have left are passed over.
    opened: VecDeque<(usize, u64)>,
}

/// The batches of one producer.
#[derive(Debug)]
pub(crate) struct Batcher {
    limits: BatchLimits,
    queues: Vec<Queue>,
    nodes: Vec<NodeQueues>,
    buffered: usize,
    flushing: bool,
    spare: Vec<Vec<u8>>,
}

impl Batcher {
    /// A batcher of partitions whose leaders are the nodes of these numbers.
    pub(crate) fn new(limits: BatchLimits, leaders: &[usize]) -> Batcher {
        let queue = |node: &usize| Queue { node: *node, full: VecDeque::new(), open: None, listed: false };
        let nodes = leaders.iter().max().map_or(0, |last| last + 1);
        Batcher {
            limits,
            queues: leaders.iter().map(queue).collect(),
            nodes: (0..nodes).map(|_| NodeQueues::default()).collect(),
            buffered: 0,
            flushing: false,
            spare: Vec::new(),
        }
    }

    /// Bytes that were gathered and have not left.
    pub(crate) fn buffered(&self) -> usize {
        self.buffered
    }

    /// Whether the partition has a batch that has begun and is not full.
    pub(crate) fn is_open(&self, partition: usize) -> bool {
        self.queues[partition].open.is_some()
    }

    /// From now on every batch leaves at once, as at the end of a load.
    pub(crate) fn flush(&mut self) {
        self.flushing = true;
    }

    /// Takes a record that came at `now` and was due at `due`.
    pub(crate) fn append(&mut self, partition: usize, now: u64, due: u64, record: &NewRecord<'_>) {
        let queue = &mut self.queues[partition];
        let node = &mut self.nodes[queue.node];
        if !queue.listed {
            queue.listed = true;
            node.listed.push_back(partition);
        }
        let fits = |open: &Gathered| open.writer.len() + record.bytes_max() <= self.limits.batch_bytes;
        if let Some(full) = queue.open.take_if(|open| !fits(open)) {
            queue.full.push_back(full);
            node.full += 1;
        }
        let spare = &mut self.spare;
        let mut opened = false;
        let open = queue.open.get_or_insert_with(|| {
            opened = true;
            let writer = BatchWriter::new(spare.pop().unwrap_or_default());
            Gathered { partition, writer, due: Vec::new(), own_bytes: 0, since: now }
        });
        if opened {
            node.opened.push_back((partition, now));
        }
        let before = if opened { 0 } else { open.writer.len() };
        open.writer.append(record);
        open.due.push(due);
        open.own_bytes += record.own_bytes() as u64;
        self.buffered += open.writer.len() - before;
        if open.writer.len() >= self.limits.batch_bytes {
            queue.full.extend(queue.open.take());
            node.full += 1;
        }
    }

    /// The batches of the next request to `node`, if something has to leave at `now`.
    pub(crate) fn drain(&mut self, node: usize, now: u64) -> Option<Vec<Gathered>> {
        if !self.is_ready(node, now) {
            return None;
        }
        let mut batches = Vec::new();
        let mut bytes = 0;
        let queues = &mut self.nodes[node];
        for _ in 0..queues.listed.len() {
            let partition = *queues.listed.front().expect("as many as were counted");
            let queue = &mut self.queues[partition];
            let next = queue.full.front().or(queue.open.as_ref()).expect("what is listed has a batch");
            if !batches.is_empty() && bytes + next.writer.len() > self.limits.request_bytes {
                break;
            }
            queues.listed.pop_front();
            let batch = match queue.full.pop_front() {
                Some(batch) => {
                    queues.full -= 1;
                    batch
                }
                None => queue.open.take().expect("what is listed has a batch"),
            };
            bytes += batch.writer.len();
            batches.push(batch);
            queue.listed = queue.open.is_some() || !queue.full.is_empty();
            if queue.listed {
                queues.listed.push_back(partition);
            }
        }
        self.buffered -= bytes;
        Some(batches)
    }

    /// When a batch of `node` will have lingered; `now` or earlier for at once, `None` while there is none.
    pub(crate) fn deadline(&mut self, node: usize, now: u64) -> Option<u64> {
        let queues = &mut self.nodes[node];
        if queues.full > 0 || (self.flushing && !queues.listed.is_empty()) {
            return Some(now);
        }
        while let Some((partition, since)) = queues.opened.front() {
            if self.queues[*partition].open.as_ref().is_some_and(|open| open.since == *since) {
                return Some(since.saturating_add(self.limits.linger_nanos));
            }
            queues.opened.pop_front();
        }
        None
    }

    /// Gives back the memory of a batch that was sent.
    pub(crate) fn recycle(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS {
            self.spare.push(buffer);
        }
    }

    fn is_ready(&mut self, node: usize, now: u64) -> bool {
        self.deadline(node, now).is_some_and(|deadline| deadline <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla::ids::TimestampMs;

    const MS: u64 = 1_000_000;
    /// What a record of 100 bytes takes at most.
    const RECORD: usize = 132;

    fn limits(batch_records: usize) -> BatchLimits {
        // 61 bytes of header.
        let batch_bytes = 61 + batch_records * RECORD;
        BatchLimits { batch_bytes, linger_nanos: 5 * MS, request_bytes: 1 << 20 }
    }

    fn append(batcher: &mut Batcher, partition: usize, now: u64) {
        let record = NewRecord { timestamp: TimestampMs(0), key: None, head: &[0; 24], tail: &[1; 76] };
        assert_eq!(record.bytes_max(), RECORD);
        batcher.append(partition, now, now, &record);
    }

    fn shape(batches: Option<Vec<Gathered>>) -> Vec<(usize, usize)> {
        batches.into_iter().flatten().map(|batch| (batch.partition, batch.due.len())).collect()
    }

    #[test]
    fn a_batch_lingers_from_its_first_record() {
        let mut batcher = Batcher::new(limits(100), &[0, 0]);
        append(&mut batcher, 0, 10 * MS);
        append(&mut batcher, 0, 12 * MS);
        assert_eq!(batcher.deadline(0, 12 * MS), Some(15 * MS));
        assert!(batcher.drain(0, 15 * MS - 1).is_none());
        assert_eq!(shape(batcher.drain(0, 15 * MS)), [(0, 2)]);
        assert_eq!((batcher.deadline(0, 15 * MS), batcher.buffered()), (None, 0));
        append(&mut batcher, 0, 20 * MS);
        assert_eq!(batcher.deadline(0, 20 * MS), Some(25 * MS), "the next has its own time");
    }

    #[test]
    fn a_full_batch_leaves_at_once_and_takes_the_others_along() {
        let mut batcher = Batcher::new(limits(2), &[0, 0]);
        append(&mut batcher, 1, 0);
        for _ in 0..2 {
            append(&mut batcher, 0, MS);
        }
        assert!(batcher.drain(0, MS).is_none(), "what could take no more is not yet known to be full");
        append(&mut batcher, 0, MS);
        let first = batcher.drain(0, MS).expect("a full batch");
        assert_eq!(first.iter().map(|b| (b.partition, b.due.len())).collect::<Vec<_>>(), [(1, 1), (0, 2)]);
        assert!(batcher.drain(0, MS).is_none());
        assert_eq!(shape(batcher.drain(0, 6 * MS)), [(0, 1)]);
    }

    #[test]
    fn a_request_has_one_batch_of_a_partition_and_its_bytes() {
        let small = BatchLimits { request_bytes: 3 * (61 + RECORD), ..limits(1) };
        let mut batcher = Batcher::new(small, &[0, 0, 0, 0]);
        for partition in [0, 0, 1, 2, 3] {
            append(&mut batcher, partition, 0);
        }
        assert_eq!(shape(batcher.drain(0, 0)), [(0, 1), (1, 1), (2, 1)]);
        assert!(batcher.drain(0, 0).is_none(), "the rest is open and may linger");
        // Whose turn did not come is first the next time.
        assert_eq!(shape(batcher.drain(0, 5 * MS)), [(3, 1), (0, 1)]);
        assert!(batcher.drain(0, 99 * MS).is_none());
    }

    #[test]
    fn records_of_a_partition_keep_their_order() {
        let mut batcher = Batcher::new(limits(3), &[0]);
        for now in 0..10 {
            append(&mut batcher, 0, now);
        }
        batcher.flush();
        let mut due = Vec::new();
        while let Some(batches) = batcher.drain(0, 10) {
            due.extend(batches.into_iter().flat_map(|batch| batch.due));
        }
        assert_eq!(due, (0..10).collect::<Vec<_>>());
        assert_eq!((batcher.buffered(), batcher.deadline(0, 10)), (0, None));
    }

    #[test]
    fn brokers_are_apart() {
        let mut batcher = Batcher::new(limits(10), &[0, 1, 0]);
        append(&mut batcher, 1, 0);
        append(&mut batcher, 2, 3 * MS);
        assert_eq!((batcher.deadline(0, 4 * MS), batcher.deadline(1, 4 * MS)), (Some(8 * MS), Some(5 * MS)));
        assert_eq!(shape(batcher.drain(1, 5 * MS)), [(1, 1)]);
        assert!(batcher.drain(0, 5 * MS).is_none());
        assert_eq!(batcher.deadline(1, 5 * MS), None);
    }

    #[test]
    fn without_linger_everything_leaves_as_it_comes() {
        let mut batcher = Batcher::new(BatchLimits { linger_nanos: 0, ..limits(10) }, &[0]);
        append(&mut batcher, 0, 7);
        assert_eq!(shape(batcher.drain(0, 7)), [(0, 1)]);
    }

    #[test]
    fn a_record_that_no_batch_fits_has_one_of_its_own() {
        let mut batcher = Batcher::new(BatchLimits { batch_bytes: 50, linger_nanos: 0, ..limits(1) }, &[0]);
        append(&mut batcher, 0, 0);
        append(&mut batcher, 0, 0);
        assert_eq!(shape(batcher.drain(0, 0)), [(0, 1)]);
        assert_eq!(shape(batcher.drain(0, 0)), [(0, 1)]);
        assert!(batcher.drain(0, 0).is_none());
    }

    #[test]
    fn what_is_buffered_is_what_was_appended_and_has_not_left() {
        let mut batcher = Batcher::new(limits(2), &[0, 0]);
        let mut most = 0;
        for now in 0..100 {
            append(&mut batcher, now % 2, now as u64);
            most = most.max(batcher.buffered());
        }
        assert!(most > 100 * 100 && most < 100 * RECORD + 51 * 61, "{most}");
        batcher.flush();
        while let Some(batches) = batcher.drain(0, 100) {
            for batch in batches {
                batcher.recycle(batch.writer.finish(ottla::protocol::compression::Codec::None, None).0);
            }
        }
        assert_eq!(batcher.buffered(), 0);
    }
}
