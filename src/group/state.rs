//! The states of a classic group and the moves between them (Kafka's `ClassicGroupState`).
//!
//! Held by the shard that owns the group. Only `Empty` and `Stable` are ever on disk: a loaded group is stable if it
//! has members. What must hold: no move that [`GroupState::may_become`] refuses.

use std::fmt;

/// Where a group is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupState {
    /// No members; offsets may remain until they expire.
    Empty,
    /// Waiting for all members to join the next generation.
    PreparingRebalance,
    /// The generation exists; its leader owes the assignment.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
    /// Being deleted: its tombstones are on their way to the disk.
    Dead,
}

impl GroupState {
    /// Every state, in the order of a life.
    pub const ALL: [GroupState; 5] = [
        GroupState::Empty,
        GroupState::PreparingRebalance,
        GroupState::CompletingRebalance,
        GroupState::Stable,
        GroupState::Dead,
    ];

    /// The name that clients and tools know.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
        }
    }

    /// Whether a group may move from `self` to `next`. `Dead` back to `Empty` is the one move that Kafka does not
    /// have: the write of the tombstones failed, so the group was not deleted.
    #[must_use]
    pub const fn may_become(self, next: GroupState) -> bool {
        match next {
            GroupState::Empty => matches!(self, GroupState::PreparingRebalance | GroupState::Dead),
            GroupState::PreparingRebalance => {
                matches!(self, GroupState::Empty | GroupState::CompletingRebalance | GroupState::Stable)
            }
            GroupState::CompletingRebalance => matches!(self, GroupState::PreparingRebalance),
            GroupState::Stable => matches!(self, GroupState::CompletingRebalance),
            GroupState::Dead => true,
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::GroupState::{self, CompletingRebalance, Dead, Empty, PreparingRebalance, Stable};

    #[test]
    fn the_moves_are_those_of_kafka() {
        let allowed = [
            (PreparingRebalance, Empty),
            (Dead, Empty),
            (Empty, PreparingRebalance),
            (CompletingRebalance, PreparingRebalance),
            (Stable, PreparingRebalance),
            (PreparingRebalance, CompletingRebalance),
            (CompletingRebalance, Stable),
        ];
        for from in GroupState::ALL {
            for to in GroupState::ALL {
                assert_eq!(
                    from.may_become(to),
                    to == Dead || allowed.contains(&(from, to)),
                    "{from} to {to}"
                );
            }
        }
    }
}
