//! The settings that the group coordinator acts on, with Kafka's names and defaults.
//!
//! A plain value: the configuration table of the broker fills it, every shard's coordinator holds a copy. Nothing is
//! on disk. What must hold: the session bounds are ordered and every duration is at least one millisecond where a
//! timer is armed from it, which [`GroupConfig::checked`] enforces.

use crate::limits::GROUP_OFFSET_METADATA_UNITS_MAX;

/// Settings of the coordinator; each field names the Kafka setting that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members before its first
    /// generation. 0 starts it at once.
    pub initial_rebalance_delay_ms: i32,
    /// `group.min.session.timeout.ms`: the shortest session that a member may ask for.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`: the longest session that a member may ask for.
    pub max_session_timeout_ms: i32,
    /// `group.max.size`: members of one group; [`GROUP_MEMBERS_MAX`](crate::limits::GROUP_MEMBERS_MAX) holds as well.
    pub max_size: i32,
    /// How long the JoinGroup of a member that is not yet part of a generation may stay parked. Not a setting in
    /// Kafka either (its `CLASSIC_GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS`).
    pub new_member_join_timeout_ms: i32,
    /// `offset.metadata.max.bytes`: the longest metadata string of a commit, counted as Kafka counts it, in UTF-16
    /// units.
    pub offset_metadata_bytes_max: i32,
    /// `offsets.retention.minutes` in milliseconds: how long offsets outlive their group's last member, or a commit
    /// without a group (KIP-211).
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`: how often expired offsets and empty groups are looked for.
    pub offsets_retention_check_interval_ms: i64,
}

impl Default for GroupConfig {
    fn default() -> Self {
        GroupConfig {
            initial_rebalance_delay_ms: 3_000,
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            max_size: i32::MAX,
            new_member_join_timeout_ms: 300_000,
            offset_metadata_bytes_max: 4_096,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1_000,
            offsets_retention_check_interval_ms: 600_000,
        }
    }
}

impl GroupConfig {
    /// The same settings with every value brought into the range in which the timers make progress.
    #[must_use]
    pub fn checked(mut self) -> Self {
        self.initial_rebalance_delay_ms = self.initial_rebalance_delay_ms.max(0);
        self.min_session_timeout_ms = self.min_session_timeout_ms.max(1);
        self.max_session_timeout_ms = self.max_session_timeout_ms.max(self.min_session_timeout_ms);
        self.max_size = self.max_size.max(1);
        self.new_member_join_timeout_ms = self.new_member_join_timeout_ms.max(1);
        self.offset_metadata_bytes_max =
            self.offset_metadata_bytes_max.clamp(0, GROUP_OFFSET_METADATA_UNITS_MAX);
        self.offsets_retention_ms = self.offsets_retention_ms.max(1);
        self.offsets_retention_check_interval_ms = self.offsets_retention_check_interval_ms.max(1);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::GroupConfig;

    #[test]
    fn defaults_are_kafkas_and_bad_values_are_clamped() {
        let config = GroupConfig::default();
        assert_eq!(config.clone().checked(), config);
        assert_eq!(config.offsets_retention_ms, 10_080 * 60_000);
        let clamped = GroupConfig {
            initial_rebalance_delay_ms: -1,
            min_session_timeout_ms: 0,
            max_session_timeout_ms: -5,
            max_size: 0,
            ..config
        };
        let clamped = clamped.checked();
        assert_eq!(clamped.initial_rebalance_delay_ms, 0);
        assert_eq!(clamped.min_session_timeout_ms, 1);
        assert_eq!(clamped.max_session_timeout_ms, 1);
        assert_eq!(clamped.max_size, 1);
    }
}
