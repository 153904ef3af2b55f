//! Which names a topic may have, and which names Kafka keeps for itself.
//!
//! The rules are those of Kafka's `common/internals/Topic.java`; the texts are what its clients and tools print. Pure
//! functions, owned by no shard.

use crate::limits::TOPIC_NAME_BYTES_MAX;

/// The topic that committed offsets and group metadata live in.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// The topic that the transaction coordinators' state lives in.
pub const TRANSACTION_STATE: &str = "__transaction_state";
/// The topic that the share coordinators' state lives in.
pub const SHARE_GROUP_STATE: &str = "__share_group_state";
/// The metadata log; no topic of the image, and never to be created by a client.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Why a name cannot be a topic's, in Kafka's words; `None` for a good name.
#[must_use]
pub fn invalid_reason(name: &str) -> Option<String> {
    // Kafka measures in UTF-16 units, and a name that is too long is reported before a bad character is.
    let length = name.encode_utf16().count();
    let reason = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." => "'.' is not allowed".to_owned(),
        ".." => "'..' is not allowed".to_owned(),
        _ if length > TOPIC_NAME_BYTES_MAX => {
            format!("the length of '{name}' is longer than the max allowed length {TOPIC_NAME_BYTES_MAX}")
        }
        _ if !name.bytes().all(is_name_byte) => {
            format!(
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
            )
        }
        _ => return None,
    };
    Some(format!("Topic name is invalid: {reason}"))
}

/// Whether a topic may have this name.
#[must_use]
pub fn is_valid(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && name.len() <= TOPIC_NAME_BYTES_MAX && name.bytes().all(is_name_byte)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// Whether the topic is one of Kafka's own, which clients hide from users.
#[must_use]
pub fn is_internal(name: &str) -> bool {
    matches!(name, CONSUMER_OFFSETS | TRANSACTION_STATE | SHARE_GROUP_STATE)
}

/// What two names that would give the same metric share: every `.` is a `_`. `None` for a name with neither, which
/// cannot collide.
#[must_use]
pub fn collision_key(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_rules_and_words() {
        let long = "a".repeat(250);
        let cases = [
            ("", "the empty string is not allowed".to_owned()),
            (".", "'.' is not allowed".to_owned()),
            ("..", "'..' is not allowed".to_owned()),
            (&long, format!("the length of '{long}' is longer than the max allowed length 249")),
            (
                "a b",
                "'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
                    .to_owned(),
            ),
            (
                "ä",
                "'ä' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
                    .to_owned(),
            ),
        ];
        for (name, reason) in cases {
            assert_eq!(invalid_reason(name), Some(format!("Topic name is invalid: {reason}")));
            assert!(!is_valid(name), "{name}");
        }
        for name in ["a", "...", "A.b_c-9", "__consumer_offsets", &"a".repeat(249)] {
            assert_eq!(invalid_reason(name), None, "{name}");
            assert!(is_valid(name), "{name}");
        }
    }

    #[test]
    fn names_collide_where_a_metric_would() {
        assert_eq!(collision_key("a.b_c"), Some("a_b_c".to_owned()));
        assert_eq!(collision_key("a-b"), None);
        assert!(is_internal("__transaction_state"));
        assert!(!is_internal("__cluster_metadata"));
    }
}
