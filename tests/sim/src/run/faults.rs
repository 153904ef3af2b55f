//! What befalls a broker: the kinds of faults, and which a seed draws.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla_shards::host::sim::disk::{Ops, Which};
use ottla_shards::host::sim::{CrashModel, NetworkFaults};

use super::scenario::Scenario;
use crate::history::Happening;
use crate::random::Random;

/// Errors of a system that a disk's operation ends with.
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// kill -9, and another process after a while.
    Kill,
    /// kill -9 of a process that has just been started after one.
    KillInRecovery,
    /// The power goes.
    PowerCut(CrashModel),
    /// The power goes when a process has just been started after a crash.
    PowerCutInRecovery(CrashModel),
    /// SIGTERM, and another process after the end.
    Stop,
    /// kill -9 between SIGTERM and the end.
    KillWhileStopping,
    /// A write to one log directory fails, once.
    WriteFails,
    /// A sync of one log directory fails, once.
    SyncFails,
    /// A read of one log directory fails, once.
    ReadFails,
    /// Everything in one log directory fails.
    DirectoryFails,
    /// One log directory takes no changes.
    ReadOnly,
    /// One log directory is slow for seconds.
    SlowDisk,
    /// One log directory is full for a while.
    FullDisk,
    /// Nothing arrives on a connection for a while.
    Stall,
    /// A connection is reset in the middle of a request.
    CutToServer,
    /// A connection is reset in the middle of a reply.
    CutToClient,
    /// The two machines do not reach each other for a while.
    Part,
    /// All kinds of small accidents of the network for a while.
    BadNetwork,
    /// The broker's clock on the wall jumps forward.
    ClockForward,
    /// The broker's clock on the wall jumps back.
    ClockBack,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Fault; 28] = [
        Fault::Kill,
        Fault::KillInRecovery,
        Fault::PowerCut(CrashModel::DropAll),
        Fault::PowerCut(CrashModel::KeepAll),
        Fault::PowerCut(CrashModel::Torn512),
        Fault::PowerCut(CrashModel::Torn4096),
        Fault::PowerCut(CrashModel::Reordered),
        Fault::PowerCutInRecovery(CrashModel::DropAll),
        Fault::PowerCutInRecovery(CrashModel::KeepAll),
        Fault::PowerCutInRecovery(CrashModel::Torn512),
        Fault::PowerCutInRecovery(CrashModel::Torn4096),
        Fault::PowerCutInRecovery(CrashModel::Reordered),
        Fault::Stop,
        Fault::KillWhileStopping,
        Fault::WriteFails,
        Fault::SyncFails,
        Fault::ReadFails,
        Fault::DirectoryFails,
        Fault::ReadOnly,
        Fault::SlowDisk,
        Fault::FullDisk,
        Fault::Stall,
        Fault::CutToServer,
        Fault::CutToClient,
        Fault::Part,
        Fault::BadNetwork,
        Fault::ClockForward,
        Fault::ClockBack,
    ];

    /// How it is counted.
    #[must_use]
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// How likely the kind is, against the others.
    fn weight(self) -> u32 {
        match self {
            Fault::Kill | Fault::Stop => 6,
            Fault::PowerCut(_) | Fault::KillInRecovery | Fault::KillWhileStopping => 4,
            Fault::PowerCutInRecovery(_) => 2,
            Fault::WriteFails | Fault::SyncFails | Fault::ReadFails => 3,
            Fault::DirectoryFails | Fault::ReadOnly => 2,
            Fault::SlowDisk | Fault::FullDisk => 3,
            Fault::Stall | Fault::CutToServer | Fault::CutToClient | Fault::Part | Fault::BadNetwork => 3,
            Fault::ClockForward | Fault::ClockBack => 2,
        }
    }

    /// The weights of all kinds for one seed: two in five are off.
    #[must_use]
    pub fn draw_weights(random: &mut Random) -> Vec<u32> {
        let weights = Fault::ALL.iter().map(|fault| fault.weight());
        let mut drawn: Vec<u32> =
            weights.map(|weight| if random.within(0..5) < 2 { 0 } else { weight }).collect();
        // Something happens in every seed.
        drawn[0] = drawn[0].max(1);
        drawn
    }
}

impl Scenario {
    /// Lets a fault strike.
    pub(super) fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Kill => self.kill(),
            Fault::KillInRecovery => {
                self.kill();
                self.start_and_crash(None);
            }
            Fault::PowerCut(model) => self.power_cut(model),
            Fault::PowerCutInRecovery(model) => {
                self.power_cut(model);
                self.start_and_crash(Some(model));
            }
            Fault::Stop => self.stop(),
            Fault::KillWhileStopping => {
                self.begin_stop();
                self.run_a_moment(200_000);
                self.kill();
            }
            Fault::WriteFails
            | Fault::SyncFails
            | Fault::ReadFails
            | Fault::DirectoryFails
            | Fault::ReadOnly => self.break_directory(fault),
            Fault::SlowDisk => {
                let (dir, factor) = (self.any_dir(), self.random.log_within(3..300));
                let until = self.world.now().after(Duration::from_millis(self.random.log_within(50..4000)));
                let factor = u32::try_from(factor).expect("small");
                self.world.with_disk(self.node, |disk| disk.slow(&dir, factor, until));
            }
            Fault::FullDisk => self.fill_directory(),
            Fault::Stall | Fault::CutToServer | Fault::CutToClient | Fault::Part | Fault::BadNetwork => {
                self.disturb_network(fault);
            }
            Fault::ClockForward | Fault::ClockBack => {
                let by = i64::try_from(self.random.log_within(1..7_200_000)).expect("two hours");
                let by = if fault == Fault::ClockBack { -by } else { by };
                self.world.jump_wall(self.node, by);
            }
        }
    }

    fn any_dir(&mut self) -> PathBuf {
        self.random.pick(&self.dirs).clone()
    }

    fn break_directory(&mut self, fault: Fault) {
        let dir = self.any_dir();
        let nth = self.random.log_within(1..30);
        self.happened(Happening::DisksFail);
        self.has_broken_disk = true;
        self.world.with_disk(self.node, |disk| match fault {
            Fault::WriteFails => disk.fail_nth(nth, Which::of(Ops::Writes).under(&dir), EIO),
            Fault::SyncFails => disk.fail_nth(nth, Which::of(Ops::Syncs).under(&dir), EIO),
            Fault::ReadFails => disk.fail_nth(nth, Which::of(Ops::Reads).under(&dir), EIO),
            Fault::ReadOnly => disk.set_read_only(&dir, true),
            _ => disk.fail_always(Which::of(Ops::Any).under(&dir), EIO),
        });
    }

    fn fill_directory(&mut self) {
        let (dir, left) = (self.any_dir(), self.random.log_within(1..1 << 20));
        self.happened(Happening::DisksFail);
        self.has_full_disk = true;
        self.has_begun_full |= self.world.now() < self.starting_until;
        // What it has no block for may be names, too.
        let names: Vec<u64> = (0..self.random.within(0..4)).map(|_| self.random.log_within(1..30)).collect();
        self.world.with_disk(self.node, |disk| {
            disk.fill_up(&dir, left);
            for nth in names {
                disk.fail_nth(nth, Which::of(Ops::NewNames).under(&dir), ENOSPC);
            }
        });
    }

    fn disturb_network(&mut self, fault: Fault) {
        let network = self.world.network();
        match fault {
            Fault::Part => {
                network.part(self.node, self.client_node);
                self.run_a_moment(3_000_000);
                network.join(self.node, self.client_node);
            }
            Fault::BadNetwork => {
                let rate =
                    |random: &mut Random, most| u32::try_from(random.log_within(1..most)).expect("small");
                network.set_faults(NetworkFaults {
                    stall_per_million: rate(&mut self.random, 20_000),
                    stall_max: Duration::from_millis(self.random.log_within(1..6000)),
                    cut_per_million: rate(&mut self.random, 20_000),
                    refuse_per_million: rate(&mut self.random, 500_000),
                });
                self.run_a_moment(1_000_000);
                network.set_faults(NetworkFaults::NONE);
            }
            _ => {
                let connections = network.connections();
                if connections.is_empty() {
                    return;
                }
                let id = self.random.pick(&connections).id;
                let bytes = usize::try_from(self.random.log_within(0..100_000)).expect("small");
                match fault {
                    Fault::Stall => {
                        network.stall(id, Duration::from_millis(self.random.log_within(1..8000)));
                    }
                    Fault::CutToServer => network.cut_to_server(id, bytes),
                    _ => network.cut_to_client(id, bytes),
                }
            }
        }
    }

    /// Takes back everything that goes on failing.
    pub(super) fn heal(&mut self) {
        let dirs = self.dirs.clone();
        let now = self.world.now();
        self.world.with_disk(self.node, |disk| {
            disk.heal();
            for dir in &dirs {
                disk.set_read_only(dir, false);
                disk.fill_up(dir, u64::MAX);
                disk.slow(Path::new(dir), 1, now);
            }
        });
    }
}
