//! Reads the topics out of a consumer's subscription (`ConsumerProtocolSubscription`).
//!
//! Only the prefix that all versions share is read: a version number and the topic names. Nothing is held or stored.
//! What must hold: bytes of a member never make more allocations than they have bytes.

/// The topics that `metadata` subscribes to; `None` if it is not a consumer's subscription.
pub(crate) fn topics(metadata: &[u8]) -> Option<Vec<String>> {
    let (version, rest) = metadata.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    if count > rest.len() / 2 {
        return None;
    }
    let mut topics = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, after) = after.split_at_checked(length)?;
        topics.push(std::str::from_utf8(name).ok()?.to_owned());
        rest = after;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::topics;

    fn subscription(version: i16, names: &[&str]) -> Vec<u8> {
        let mut bytes = version.to_be_bytes().to_vec();
        bytes.extend(i32::try_from(names.len()).expect("few names").to_be_bytes());
        for name in names {
            bytes.extend(i16::try_from(name.len()).expect("a short name").to_be_bytes());
            bytes.extend(name.as_bytes());
        }
        bytes
    }

    #[test]
    fn every_version_starts_with_the_topics() {
        for version in 0..4 {
            let mut bytes = subscription(version, &["a", "topic"]);
            bytes.extend([0xff; 9]);
            assert_eq!(topics(&bytes), Some(vec!["a".to_owned(), "topic".to_owned()]));
        }
        assert_eq!(topics(&subscription(0, &[])), Some(Vec::new()));
    }

    #[test]
    fn anything_else_is_unknown() {
        assert_eq!(topics(&[]), None);
        assert_eq!(topics(&subscription(-1, &["a"])), None);
        let whole = subscription(1, &["topic"]);
        for cut in 0..whole.len() {
            assert_eq!(topics(&whole[..cut]), None, "cut at {cut}");
        }
        let mut huge = whole.clone();
        huge[2..6].copy_from_slice(&i32::MAX.to_be_bytes());
        assert_eq!(topics(&huge), None);
        let mut not_text = whole;
        not_text[8] = 0xff;
        assert_eq!(topics(&not_text), None);
    }
}
