//! The file that is measured on, and the loops that write and read it.
//!
//! Owner: the one shard of the measurement. On disk: a file whose name is gone; its space comes back with the
//! descriptor. What must hold: what is called durable was written with `RWF_DSYNC` past the page cache, as the broker
//! does it; every lane has a part of the file to itself.

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::host::{self, AlignedBuf, Durability, File, OpenHow, WriteSlice};

/// Bytes of one write while a file is prepared.
const PIECE_BYTES: usize = 1 << 20;

/// Operations of one size, so many of them under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Bytes of each; a multiple of 4,096 that divides 1 MiB.
    pub bytes: usize,
    /// How many at a time.
    pub depth: u64,
}

/// What a load came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// The load.
    pub load: Load,
    /// Operations that ended.
    pub operations: u64,
    /// From the first's begin to the last's end.
    pub elapsed: Duration,
    /// Half of them took no longer.
    pub p50: Duration,
    /// All but one in a hundred took no longer.
    pub p99: Duration,
}

impl Figure {
    /// Operations in a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Bytes in a second.
    #[must_use]
    pub fn bytes_per_second(&self) -> f64 {
        self.per_second() * self.load.bytes as f64
    }
}

/// A file of written bytes without a name.
pub struct Bed {
    file: File,
    bytes: u64,
    content: bytes::Bytes,
}

/// A file for direct I/O, which is gone with its descriptor.
async fn nameless(dir: &Path) -> io::Result<File> {
    let path = dir.join(format!(".ottla-tune-{:016x}", host::random_u64()));
    let how = OpenHow { read: true, write: true, create_new: true, direct: true, ..OpenHow::default() };
    let opened = File::open(&path, how).await;
    // A file system that knows no direct I/O has made the file before it refused.
    let removed = host::remove_file(&path).await;
    let file = opened?;
    removed?;
    Ok(file)
}

impl Bed {
    /// A file of `bytes`, whole MiB, all of them written and durable.
    ///
    /// # Errors
    /// The system's; `EINVAL` where there is no direct I/O.
    pub async fn prepare(dir: &Path, bytes: u64) -> io::Result<Bed> {
        assert!(bytes > 0 && bytes.is_multiple_of(PIECE_BYTES as u64), "a bed has whole pieces");
        let file = nameless(dir).await?;
        let mut content = AlignedBuf::zeroed(PIECE_BYTES);
        content.fill(0x5A);
        let content = content.freeze();
        for at in (0..bytes).step_by(PIECE_BYTES) {
            let slices: Vec<WriteSlice> = vec![content.clone().into()];
            file.write_at(slices, at, Durability::None).await?;
        }
        file.sync_all().await?;
        Ok(Bed { file, bytes, content })
    }

    /// Durable writes over what is there, for `time`.
    ///
    /// # Errors
    /// The system's.
    pub async fn write(&self, load: Load, time: Duration) -> io::Result<Figure> {
        let (file, content) = (self.file.clone(), self.content.slice(..load.bytes));
        lanes(load, time, self.bytes, move |position| {
            let (file, content) = (file.clone(), content.clone());
            async move {
                let slices: Vec<WriteSlice> = vec![content.into()];
                file.write_at(slices, position, Durability::DataSync).await
            }
        })
        .await
    }

    /// Direct reads, each lane one behind the other, for `time`.
    ///
    /// # Errors
    /// The system's.
    pub async fn read(&self, load: Load, time: Duration) -> io::Result<Figure> {
        let file = self.file.clone();
        lanes(load, time, self.bytes, move |position| {
            let file = file.clone();
            async move {
                let read = file.read_at(position, load.bytes).await?;
                assert_eq!(read.len(), load.bytes, "the file was written whole");
                Ok(())
            }
        })
        .await
    }
}

/// Durable writes that make a new file longer, one behind the other, for `time` or until it has `bytes_max`.
///
/// # Errors
/// The system's.
pub async fn append(dir: &Path, load: Load, time: Duration, bytes_max: u64) -> io::Result<Figure> {
    assert_eq!(load.depth, 1, "a file grows at one end");
    let (file, begun) = (nameless(dir).await?, host::now());
    let content = AlignedBuf::zeroed(load.bytes).freeze();
    let (mut tally, mut position) = (Tally::default(), 0);
    while host::now().since(begun) < time || position == 0 {
        let started = host::now();
        let slices: Vec<WriteSlice> = vec![content.clone().into()];
        file.write_at(slices, position, Durability::DataSync).await?;
        tally.count(host::now().since(started));
        position += load.bytes as u64;
        if position + load.bytes as u64 > bytes_max {
            break;
        }
    }
    Ok(tally.figure(load, host::now().since(begun)))
}

/// Runs `depth` lanes, each through its own part of `0..bytes` again and again.
async fn lanes<F, Fut>(load: Load, time: Duration, bytes: u64, operation: F) -> io::Result<Figure>
where
    F: Fn(u64) -> Fut + 'static,
    Fut: Future<Output = io::Result<()>> + 'static,
{
    let each = bytes / load.depth / load.bytes as u64 * load.bytes as u64;
    assert!(each > 0, "every lane has room for one");
    let (operation, tally) = (Rc::new(operation), Rc::new(RefCell::new(Tally::default())));
    let begun = host::now();
    let lane = |lane: u64| {
        let (operation, tally) = (Rc::clone(&operation), Rc::clone(&tally));
        host::spawn(async move {
            let mut at = 0;
            loop {
                let started = host::now();
                operation(lane * each + at).await?;
                let ended = host::now();
                tally.borrow_mut().count(ended.since(started));
                at = (at + load.bytes as u64) % each;
                if ended.since(begun) >= time {
                    return Ok(());
                }
            }
        })
    };
    let tasks: Vec<_> = (0..load.depth).map(lane).collect();
    let mut outcome: io::Result<()> = Ok(());
    for task in tasks {
        let ended = task.await;
        outcome = outcome.and(ended);
    }
    outcome?;
    let figure = tally.borrow().figure(load, host::now().since(begun));
    Ok(figure)
}

/// The operations of a load, and how long they took.
struct Tally(Histogram<u64>);

impl Default for Tally {
    fn default() -> Tally {
        Tally(Histogram::new(3).expect("three digits are allowed"))
    }
}

impl Tally {
    fn count(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0.record(nanos).expect("it grows as needed");
    }

    fn figure(&self, load: Load, elapsed: Duration) -> Figure {
        let at = |quantile| Duration::from_nanos(self.0.value_at_quantile(quantile));
        Figure { load, operations: self.0.len(), elapsed, p50: at(0.5), p99: at(0.99) }
    }
}
