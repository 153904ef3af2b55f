//! One file: what processes see, what is on the device, and the writes between.
//!
//! A write changes what is seen at once and stands in the list of pending operations until something syncs it. A
//! sync applies the list to the durable image; a sync that fails throws the list away, as Linux does: the processes
//! go on seeing bytes that will never be on the device. A crash applies as much of the list as its model says.
//!
//! Invariants: without lost writes, the durable image with all pending operations applied in their order is what
//! processes see; a durable write leaves nothing pending beneath it that could undo it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::CrashModel;
use super::content::Content;
use super::piece::{Data, PAGE, Piece, pages_of};
use super::rng::Rng;

/// Zeros in one piece from which on a torn write looks only at those that change something.
const LONG_ZEROS: u64 = 64 * PAGE;

/// Where a write goes besides to the eyes of the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// To the pending operations.
    Pending,
    /// To the device.
    Durable,
    /// Nowhere: the device failed it.
    Lost,
}

/// An operation that nothing has synced.
#[derive(Clone, Debug)]
enum Pending {
    /// The pieces of a write, and the length that the file has at least after it.
    Write {
        pieces: Vec<Piece>,
        end: u64,
    },
    SetLen(u64),
    Allocate(Range<u64>),
}

impl Pending {
    fn apply(&self, to: &mut Content) {
        match self {
            Pending::Write { pieces, end } => to.write(pieces, *end),
            Pending::SetLen(len) => to.set_len(*len),
            Pending::Allocate(range) => to.allocate(range),
        }
    }

    fn pieces(&self) -> &[Piece] {
        match self {
            Pending::Write { pieces, .. } => pieces,
            Pending::SetLen(_) | Pending::Allocate(_) => &[],
        }
    }

    /// Takes `range` out of a write; says whether anything is left of the operation.
    fn without(&mut self, range: &Range<u64>) -> bool {
        let Pending::Write { pieces, .. } = self else { return true };
        if pieces.iter().any(|piece| piece.part(range).is_some()) {
            *pieces = pieces.iter().flat_map(|piece| piece.without(range)).collect();
        }
        !pieces.is_empty()
    }

    /// Takes what lies behind `len` out of a write; says whether anything is left of the operation.
    fn cut(&mut self, len: u64) -> bool {
        if let Pending::Write { end, .. } = self {
            *end = (*end).min(len);
        }
        self.without(&(len..u64::MAX))
    }
}

/// A file's three states.
#[derive(Clone, Debug, Default)]
pub(super) struct FileNode {
    visible: Content,
    durable: Content,
    pending: Vec<Pending>,
    /// Writes were lost: what is seen and what is durable differ even when nothing is pending.
    is_torn: bool,
}

impl FileNode {
    /// What processes see.
    pub(super) fn visible(&self) -> &Content {
        &self.visible
    }

    /// What would be left if everything unsynced were lost.
    pub(super) fn durable(&self) -> &Content {
        &self.durable
    }

    /// Operations that no sync has covered.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether a crash can change what is seen.
    pub(super) fn is_dirty(&self) -> bool {
        self.is_torn || !self.pending.is_empty()
    }

    pub(super) fn write(&mut self, position: u64, bytes: &[u8], fate: Fate) {
        let pieces = Piece::cut_up(position, bytes);
        let end = position + bytes.len() as u64;
        self.visible.write(&pieces, end);
        match fate {
            Fate::Pending => self.pending.push(Pending::Write { pieces, end }),
            Fate::Durable => {
                self.settle_metadata();
                self.pending.retain_mut(|pending| pending.without(&(position..end)));
                self.durable.write(&pieces, end);
                self.share(pieces.iter());
            }
            Fate::Lost => self.is_torn = true,
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        self.visible.set_len(len);
        self.pending.push(Pending::SetLen(len));
    }

    pub(super) fn allocate(&mut self, range: Range<u64>) {
        self.visible.allocate(&range);
        self.pending.push(Pending::Allocate(range));
    }

    /// Makes cuts and allocations durable, which the journal of a file system commits with any synced write. What
    /// they cut off cannot come back; other pending writes stay pending.
    fn settle_metadata(&mut self) {
        if self.pending.iter().all(|pending| matches!(pending, Pending::Write { .. })) {
            return;
        }
        let mut kept: Vec<Pending> = Vec::new();
        for operation in std::mem::take(&mut self.pending) {
            match operation {
                Pending::Write { .. } => kept.push(operation),
                Pending::Allocate(_) => operation.apply(&mut self.durable),
                Pending::SetLen(len) => {
                    operation.apply(&mut self.durable);
                    kept.retain_mut(|write| write.cut(len));
                }
            }
        }
        self.pending = kept;
    }

    /// Makes everything that is pending durable.
    pub(super) fn sync(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        for operation in &pending {
            operation.apply(&mut self.durable);
        }
        self.share(pending.iter().flat_map(|operation| operation.pieces()));
    }

    /// Keeps one copy of the pages that the durable image got in parts.
    fn share<'a>(&mut self, pieces: impl Iterator<Item = &'a Piece>) {
        for piece in pieces {
            if let Data::Bytes(_) = &piece.data {
                self.durable.share(&self.visible, piece.position / PAGE);
            }
        }
    }

    /// Throws away what is pending, as a sync does that fails: it is still seen, but will never be durable.
    pub(super) fn lose(&mut self) {
        self.is_torn |= !self.pending.is_empty();
        self.pending.clear();
    }

    /// Turns one bit over wherever it is stored.
    pub(super) fn flip(&mut self, position: u64, mask: u8) {
        self.visible.flip(position, mask);
        self.durable.flip(position, mask);
        let byte = position..position + 1;
        let mut now = [0];
        self.visible.read(position, &mut now);
        for operation in &mut self.pending {
            if let Pending::Write { pieces, .. } = operation
                && pieces.iter().any(|piece| piece.part(&byte).is_some())
            {
                *pieces = pieces.iter().flat_map(|piece| piece.without(&byte)).collect();
                pieces.push(Piece { position, data: Data::Bytes(Arc::new(now)) });
                pieces.sort_by_key(|piece| piece.position);
            }
        }
    }

    /// What the model leaves of the file is both seen and durable.
    pub(super) fn crash(&mut self, model: CrashModel, rng: &mut Rng) {
        match model {
            CrashModel::DropAll => self.pending.clear(),
            CrashModel::KeepAll => self.sync(),
            CrashModel::Torn512 => self.tear(512, rng),
            CrashModel::Torn4096 => self.tear(4096, rng),
            CrashModel::Reordered => {
                let odds = Odds::draw(rng);
                self.pending.retain(|_| odds.keeps(rng));
                self.sync();
            }
        }
        self.visible = self.durable.clone();
        self.is_torn = false;
    }

    /// Applies the pending operations so that each unit has the bytes that it had after some of them, and the file
    /// the length that it had after some of them or on the way there.
    fn tear(&mut self, unit: u64, rng: &mut Rng) {
        let pending = std::mem::take(&mut self.pending);
        let units = units_of(&pending, unit, &self.durable);
        let mut versions = draw_versions(&units, rng);
        let lengths = rng.prefix(pending.len() as u64);
        for (number, (operation, units)) in (0..).zip(pending.iter().zip(&units)) {
            let kept: BTreeSet<u64> =
                units.iter().copied().filter(|unit| take_one(&mut versions, *unit)).collect();
            for piece in operation.pieces() {
                put_units(&mut self.durable, piece, unit, &kept);
            }
            if let Pending::SetLen(len) = operation {
                self.cut_newer(*len, unit, &versions);
            }
            match number.cmp(&lengths) {
                std::cmp::Ordering::Less => self.settle_length(operation),
                std::cmp::Ordering::Equal => self.extend_in_part(operation, unit, rng),
                std::cmp::Ordering::Greater => {}
            }
        }
        self.durable.clear_behind_len();
    }

    /// Whether or not the cut itself has come through: a unit that was written after it had lost its end by then.
    fn cut_newer(&mut self, len: u64, unit: u64, left: &BTreeMap<u64, u64>) {
        for (&number, _) in left.range(len / unit..).filter(|(_, left)| **left > 0) {
            self.durable.zero(&((number * unit).max(len)..(number + 1) * unit));
        }
    }

    fn settle_length(&mut self, operation: &Pending) {
        match operation {
            Pending::Write { pieces, end } => {
                for piece in pieces {
                    self.durable.allocate_blocks(&piece.range());
                }
                self.durable.extend(*end);
            }
            Pending::SetLen(_) | Pending::Allocate(_) => operation.apply(&mut self.durable),
        }
    }

    /// The journal was cut off within this operation: it may have come some way.
    fn extend_in_part(&mut self, operation: &Pending, unit: u64, rng: &mut Rng) {
        let end = match operation {
            Pending::Write { end, .. } | Pending::SetLen(end) => *end,
            Pending::Allocate(range) => range.end,
        };
        let first = self.durable.len() / unit + 1;
        let last = end / unit;
        if first <= last && rng.chance(1, 2) {
            self.durable.extend(rng.between(first, last) * unit);
        }
    }
}

/// How many of the pending operations of a file a crash leaves, roughly: few, half, or most of them.
struct Odds(u64);

impl Odds {
    const OUT_OF: u64 = 8;

    fn draw(rng: &mut Rng) -> Odds {
        Odds([1, 4, 7][usize::try_from(rng.below(3)).expect("an index")])
    }

    fn keeps(&self, rng: &mut Rng) -> bool {
        rng.chance(self.0, Odds::OUT_OF)
    }
}

/// The units that each operation writes. Of long runs of zeros only those count that hold, or will hold, anything else.
fn units_of(pending: &[Pending], unit: u64, durable: &Content) -> Vec<BTreeSet<u64>> {
    let pieces = pending.iter().flat_map(|operation| operation.pieces());
    let written = pieces.filter(|piece| !matches!(piece.data, Data::Zeros(_)));
    let written: BTreeSet<u64> = written.flat_map(Piece::pages).collect();
    let units = |range: &Range<u64>| range.start / unit..range.end.div_ceil(unit);
    let of_piece = |piece: &Piece| -> Vec<u64> {
        let range = piece.range();
        match piece.data {
            Data::Zeros(bytes) if bytes >= LONG_ZEROS => {
                let pages = pages_of(&range);
                let stored = durable.stored(pages.clone()).chain(written.range(pages).copied());
                let pages = stored.map(|page| page * PAGE..(page + 1) * PAGE);
                pages
                    .flat_map(|page| units(&(page.start.max(range.start)..page.end.min(range.end))))
                    .collect()
            }
            Data::Zeros(_) | Data::Page(_) | Data::Bytes(_) => units(&range).collect(),
        }
    };
    pending.iter().map(|operation| operation.pieces().iter().flat_map(of_piece).collect()).collect()
}

/// Draws for each unit how many of the operations that write it have reached the device.
fn draw_versions(units: &[BTreeSet<u64>], rng: &mut Rng) -> BTreeMap<u64, u64> {
    let mut versions: BTreeMap<u64, u64> = BTreeMap::new();
    for unit in units.iter().flatten() {
        *versions.entry(*unit).or_default() += 1;
    }
    let odds = Odds::draw(rng);
    for version in versions.values_mut() {
        let newest = *version;
        *version = if rng.chance(1, 3) {
            rng.below(newest + 1)
        } else if odds.keeps(rng) {
            newest
        } else {
            0
        };
    }
    versions
}

fn take_one(versions: &mut BTreeMap<u64, u64>, unit: u64) -> bool {
    let left = versions.get_mut(&unit).expect("every unit has drawn");
    let is_kept = *left > 0;
    *left = left.saturating_sub(1);
    is_kept
}

/// Writes the parts of `piece` that lie in these units.
fn put_units(content: &mut Content, piece: &Piece, unit: u64, kept: &BTreeSet<u64>) {
    let range = piece.range();
    for &number in kept.range(range.start / unit..range.end.div_ceil(unit)) {
        if let Some(part) = piece.part(&(number * unit..(number + 1) * unit)) {
            content.put(&part);
        }
    }
}
