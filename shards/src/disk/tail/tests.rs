//! The tail against a model: a plain byte vector for the log and another for the file.

use super::*;
use ottla::time::Monotonic;

const NOW: Monotonic = Monotonic(1);

fn tail_at(end: u64) -> (Tail, MemoryGauge) {
    let gauge = MemoryGauge::default();
    (Tail::new(FilePosition(end), Rc::clone(&gauge)), gauge)
}

fn collect(tail: &Tail, from: u64, to: u64) -> Option<Vec<u8>> {
    let pieces = tail.bytes(FilePosition(from), FilePosition(to))?;
    Some(pieces.iter().flat_map(|piece| piece.iter().copied()).collect())
}

/// What the kernel would see of a write.
fn bytes_of(write: &FlushWrite) -> Vec<u8> {
    write
        .slices
        .iter()
        .flat_map(|slice| {
            assert!(slice.is_aligned());
            slice.to_vec_for_test()
        })
        .collect()
}

fn apply(file: &mut Vec<u8>, flush: &Flush) {
    for write in &flush.writes {
        let bytes = bytes_of(write);
        assert!(bytes.len() <= CHUNK_BYTES_MAX);
        assert_eq!(write.position.0 % BLOCK, 0);
        let from = usize::try_from(write.position.0).expect("small");
        file.resize(file.len().max(from + bytes.len()), 0xEE);
        file[from..from + bytes.len()].copy_from_slice(&bytes);
    }
}

/// A small generator: the tests need variety, not quality.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

struct Model {
    tail: Tail,
    gauge: MemoryGauge,
    log: Vec<u8>,
    file: Vec<u8>,
    in_flight: Option<(Flush, Vec<Vec<u8>>)>,
}

impl Model {
    fn new() -> Model {
        let (tail, gauge) = tail_at(0);
        Model { tail, gauge, log: Vec::new(), file: Vec::new(), in_flight: None }
    }

    fn append(&mut self, random: &mut Random, bytes: usize) {
        if let Some(missing) = self.tail.missing_block() {
            let range = usize::try_from(missing.start.0).expect("small")
                ..usize::try_from(missing.end.0).expect("small");
            let block = self.file[range].to_vec();
            self.tail.load_block(&block, NOW);
        }
        let first = random.below(250);
        let new: Vec<u8> = (first..).take(bytes).map(|at| (at % 251) as u8 + 1).collect();
        let cut = bytes.min(61);
        self.tail.append([&new[..cut], &new[cut..]]);
        self.log.extend_from_slice(&new);
    }

    fn begin(&mut self) {
        if let Some(flush) = self.tail.begin_flush() {
            assert!(self.in_flight.is_none());
            let snapshot = flush.writes.iter().map(bytes_of).collect();
            self.in_flight = Some((flush, snapshot));
        }
    }

    fn end(&mut self, random: &mut Random) {
        let Some((flush, snapshot)) = self.in_flight.take() else { return };
        let now: Vec<Vec<u8>> = flush.writes.iter().map(bytes_of).collect();
        assert!(now == snapshot, "no byte changes while its write is in flight");
        if random.below(8) == 0 {
            self.tail.flush_failed();
            return;
        }
        apply(&mut self.file, &flush);
        self.tail.flush_done(NOW);
        let end = usize::try_from(flush.end.0).expect("small");
        assert!(self.file[..end] == self.log[..end], "the file holds the log up to the written end");
        assert!(self.file[end..].iter().all(|&byte| byte == 0), "behind it stand zeros");
    }

    fn check(&self, random: &mut Random) {
        let end = self.log.len() as u64;
        assert_eq!(self.tail.end().0, end);
        let start = self.tail.start().0;
        assert!(start <= block_floor(self.tail.written_end()).0 || self.tail.pending_bytes() == 0);
        let from = start + random.below(end - start + 1);
        let to = from + random.below(end - from + 1);
        let expected = &self.log[usize::try_from(from).expect("small")..usize::try_from(to).expect("small")];
        assert!(collect(&self.tail, from, to).as_deref() == Some(expected));
        let mut header = [0; 61];
        let copied = self.tail.peek(FilePosition(from), &mut header).expect("in memory");
        let expected = &self.log[usize::try_from(from).expect("small")..];
        assert_eq!(copied, expected.len().min(61));
        assert_eq!(header[..copied], expected[..copied]);
        if start > 0 {
            assert_eq!(collect(&self.tail, start - 1, end), None);
        }
    }
}

#[test]
fn any_interleaving_keeps_the_log_in_memory_and_on_disk() {
    for seed in 0..12 {
        let mut random = Random(seed);
        let mut model = Model::new();
        for _ in 0..150 {
            match random.below(8) {
                0..=2 => {
                    let bytes =
                        [1, 100, 4_096, 5_000, 70_000][usize::try_from(random.below(5)).expect("small")];
                    model.append(&mut random, bytes);
                }
                3 | 4 => model.begin(),
                5 | 6 => model.end(&mut random),
                _ => {
                    if model.tail.oldest_written().is_some() {
                        model.tail.evict_oldest();
                    }
                }
            }
            model.check(&mut random);
        }
        model.end(&mut random);
        let gauge = Rc::clone(&model.gauge);
        assert_eq!(gauge.get() > 0, model.tail.start() < model.tail.end());
        drop(model);
        assert_eq!(gauge.get(), 0, "every chunk took its share off");
    }
}

#[test]
fn small_flushes_of_one_block_keep_one_chunk() {
    let (mut tail, gauge) = tail_at(0);
    for _ in 0..40 {
        tail.append([&[7; 100], &[]]);
        let flush = tail.begin_flush().expect("pending bytes");
        assert_eq!(flush.position(), FilePosition(0));
        assert_eq!(flush.blocks_end(), FilePosition(4096));
        tail.flush_done(NOW);
    }
    assert_eq!(tail.chunks.len(), 1);
    assert_eq!(gauge.get(), 4096);
}

#[test]
fn large_appends_become_writes_of_at_most_a_mebibyte() {
    let (mut tail, _gauge) = tail_at(0);
    let bytes = vec![3; 5 << 20];
    tail.append([&bytes[..61], &bytes[61..]]);
    tail.append([&[4; 10], &[]]);
    let flush = tail.begin_flush().expect("pending bytes");
    assert_eq!(flush.writes.len(), 6);
    let mut file = Vec::new();
    apply(&mut file, &flush);
    assert_eq!(file.len(), (5 << 20) + BLOCK_BYTES);
    assert!(tail.begin_flush().is_none(), "one write in flight at a time");
}

#[test]
fn chunks_grow_with_what_one_flush_takes() {
    let (mut tail, _gauge) = tail_at(0);
    for _ in 0..30 {
        for _ in 0..20 {
            tail.append([&[1; 1_000], &[]]);
        }
        assert!(tail.begin_flush().is_some());
        tail.flush_done(NOW);
    }
    let first = tail.chunks.back().expect("a chunk").start;
    let largest = tail.chunks.iter().map(|chunk| chunk.buf.capacity()).max();
    assert!(first > FilePosition(0));
    assert_eq!(largest, Some(16 << 10));
}

#[test]
fn a_chunk_is_at_least_half_used_by_what_it_was_made_for() {
    for bytes in [1, 4_096, 9_000, 16_384, 20_000, 65_536, 66_000, 200_000, 400_000, 900_000] {
        let class = chunk_class(bytes);
        assert!(bytes * 2 > class || class == CLASSES[0], "{bytes} bytes in {class}");
        assert!(class * 4 >= bytes, "{bytes} bytes take few chunks of {class}");
    }
    assert_eq!(chunk_class(66_000), 64 << 10);
    assert_eq!(chunk_class(9 << 20), CHUNK_BYTES_MAX);
}

#[test]
fn a_dropped_tail_asks_for_its_begun_block() {
    let (mut tail, gauge) = tail_at(10_000);
    assert_eq!(tail.missing_block(), Some(FilePosition(8_192)..FilePosition(10_000)));
    tail.load_block(&[9; 1_808], NOW);
    assert_eq!(tail.missing_block(), None);
    assert_eq!(gauge.get(), 4096);
    tail.append([&[1; 100], &[]]);
    let flush = tail.begin_flush().expect("pending bytes");
    assert_eq!(flush.position(), FilePosition(8_192));
    assert_eq!(collect(&tail, 8_192, 10_100).expect("in memory")[..1_808], [9; 1_808]);
    let (tail, _gauge) = tail_at(8_192);
    assert_eq!(tail.missing_block(), None);
}

#[test]
#[should_panic(expected = "the begun block is loaded before an append")]
fn appending_behind_a_missing_block_is_a_bug() {
    tail_at(5).0.append([&[1], &[]]);
}
