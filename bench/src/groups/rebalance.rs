//! When a rebalance has come to its end: counted by generation, from what the members say.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::Setup;
use crate::engine::Shard;
use crate::tally::Kind;

/// What is known of one generation.
#[derive(Debug, Default)]
struct Generation {
    /// Members with an assignment.
    assigned: usize,
    /// How many there are, once the leader knows.
    members: Option<usize>,
    /// All partitions that were assigned.
    partitions: Vec<i32>,
}

/// The rebalances of a group.
#[derive(Debug)]
pub(super) struct Rebalances {
    shard: Rc<Shard>,
    wanted: usize,
    partitions: Vec<i32>,
    /// When the change came that has not been dealt with, in nanoseconds from the start.
    begun: Cell<Option<u64>>,
    generations: RefCell<BTreeMap<i32, Generation>>,
    members: Cell<usize>,
}

impl Rebalances {
    pub(super) fn new(setup: &Setup, shard: Rc<Shard>) -> Rebalances {
        Rebalances {
            shard,
            wanted: setup.members,
            partitions: setup.partitions.clone(),
            begun: Cell::new(None),
            generations: RefCell::default(),
            members: Cell::new(0),
        }
    }

    /// The membership changes now.
    pub(super) fn begins(&self, now: u64) {
        self.begun.set(self.begun.get().or(Some(now)));
    }

    /// Whether a change has not been dealt with.
    pub(super) fn is_under_way(&self) -> bool {
        self.begun.get().is_some()
    }

    /// Members that have not ended.
    pub(super) fn members(&self) -> usize {
        self.members.get()
    }

    /// A member's task begins (`true`) or ends.
    pub(super) fn count_member(&self, begins: bool) {
        let members = self.members.get();
        self.members.set(if begins { members + 1 } else { members - 1 });
    }

    /// The leader of a generation knows its members.
    pub(super) fn led(&self, generation: i32, members: usize) {
        self.generations.borrow_mut().entry(generation).or_default().members = Some(members);
    }

    /// A member has its assignment.
    pub(super) fn assigned(&self, generation: i32, partitions: &[i32]) {
        let now = self.shard.shared.now();
        let mut generations = self.generations.borrow_mut();
        let of_this = generations.entry(generation).or_default();
        of_this.assigned += 1;
        of_this.partitions.extend_from_slice(partitions);
        if of_this.members != Some(self.wanted) || of_this.assigned < self.wanted {
            return;
        }
        let mut assigned = std::mem::take(&mut of_this.partitions);
        generations.retain(|other, _| *other > generation);
        assigned.sort_unstable();
        if assigned != self.partitions {
            self.shard.meter().failed("partitions without a member or with two", 1);
        }
        if let Some(begun) = self.begun.take() {
            self.shard.took(Kind::Rebalance, begun, now);
        }
        self.shard.shared.answered(now);
    }
}
