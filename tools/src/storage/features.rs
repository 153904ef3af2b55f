//! The names of releases and the levels of features that `format` takes, as Kafka's `MetadataVersion` and `Feature`
//! have them.
//!
//! Facts and checks without state; nothing of it is on disk.

use super::StorageError;

/// Names of metadata versions with their levels; level 7 is the oldest that KRaft clusters of today can have.
const METADATA_VERSIONS: [(&str, i16); 24] = [
    ("3.3-IV3", 7),
    ("3.4-IV0", 8),
    ("3.5-IV0", 9),
    ("3.5-IV1", 10),
    ("3.5-IV2", 11),
    ("3.6-IV0", 12),
    ("3.6-IV1", 13),
    ("3.6-IV2", 14),
    ("3.7-IV0", 15),
    ("3.7-IV1", 16),
    ("3.7-IV2", 17),
    ("3.7-IV3", 18),
    ("3.7-IV4", 19),
    ("3.8-IV0", 20),
    ("3.9-IV0", 21),
    ("4.0-IV0", 22),
    ("4.0-IV1", 23),
    ("4.0-IV2", 24),
    ("4.0-IV3", 25),
    ("4.1-IV0", 26),
    ("4.1-IV1", 27),
    ("4.2-IV0", 28),
    ("4.2-IV1", 29),
    ("4.3-IV0", 30),
];

const METADATA_VERSION: &str = "metadata.version";
const KRAFT_VERSION: &str = "kraft.version";

/// Other features with their highest level.
const FEATURES: [(&str, i16); 6] = [
    ("eligible.leader.replicas.version", 1),
    ("group.version", 1),
    (KRAFT_VERSION, 1),
    ("share.version", 1),
    ("streams.version", 1),
    ("transaction.version", 2),
];

/// Checks `--release-version` and `--feature`, and gives the name of the metadata version that they mean.
///
/// # Errors
/// With Kafka's words for what is unknown or contradicts itself.
pub(super) fn check(
    release: Option<&str>,
    features: &[String],
    is_dynamic_quorum: bool,
) -> Result<&'static str, StorageError> {
    let mut metadata_version = release.map(of_release).transpose()?;
    for feature in features {
        let (name, level) = name_and_level(feature)?;
        if name == METADATA_VERSION {
            if release.is_some() {
                return Err(refused(
                    "Use --release-version instead of --feature metadata.version=X to avoid ambiguity.",
                ));
            }
            metadata_version = Some(of_level(level)?);
        } else {
            check_level(name, level, is_dynamic_quorum)?;
        }
    }
    Ok(metadata_version.unwrap_or(METADATA_VERSIONS[METADATA_VERSIONS.len() - 1].0))
}

fn refused(text: impl Into<String>) -> StorageError {
    StorageError::Refused(text.into())
}

/// `4.0-IV1` is itself; `4.0` and `4.0.1` mean the last of 4.0.
fn of_release(release: &str) -> Result<&'static str, StorageError> {
    let key = match release.match_indices('.').nth(1) {
        Some((second_dot, _)) => &release[..second_dot],
        None => release,
    };
    let names = METADATA_VERSIONS.iter().map(|(name, _)| *name);
    let exact = |name: &&str| *name == key;
    let last_of = |name: &&str| name.split_once("-IV").is_some_and(|(release, _)| release == key);
    names.clone().find(exact).or_else(|| names.clone().rfind(last_of)).ok_or_else(|| {
        let all: Vec<&str> = names.collect();
        refused(format!(
            "Unknown metadata.version '{release}'. Supported metadata.version are: {}",
            all.join(", ")
        ))
    })
}

fn of_level(level: i16) -> Result<&'static str, StorageError> {
    let found = METADATA_VERSIONS.iter().find(|(_, number)| *number == level);
    found.map(|(name, _)| *name).ok_or_else(|| {
        let (first, last) = (METADATA_VERSIONS[0].1, METADATA_VERSIONS[METADATA_VERSIONS.len() - 1].1);
        refused(format!(
            "No metadata.version with feature level {level}. Valid feature levels are from {first} to {last}."
        ))
    })
}

fn name_and_level(feature: &str) -> Result<(&str, i16), StorageError> {
    let cannot = |why: String| refused(format!("Can't parse feature=level string {feature}: {why}"));
    let (name, level) = feature.split_once('=').ok_or_else(|| cannot("equals sign not found.".to_owned()))?;
    let level = level.trim();
    let number = level.parse().map_err(|_| cannot(format!("unable to parse {level} as a short.")))?;
    Ok((name.trim(), number))
}

fn check_level(name: &str, level: i16, is_dynamic_quorum: bool) -> Result<(), StorageError> {
    let Some((_, highest)) = FEATURES.iter().find(|(known, _)| *known == name) else {
        let known: Vec<&str> = FEATURES.iter().map(|(known, _)| *known).collect();
        return Err(refused(format!(
            "Unsupported feature: {name}. Supported features are: {}",
            known.join(", ")
        )));
    };
    if !(0..=*highest).contains(&level) {
        return Err(refused(format!("No feature:{name} with feature level {level}")));
    }
    if name != KRAFT_VERSION || (level == 0) != is_dynamic_quorum {
        return Ok(());
    }
    let flags = "one of the flags --standalone, --initial-controllers, or --no-initial-controllers is used";
    Err(refused(if level == 0 {
        format!("Cannot set kraft.version to 0 if controller.quorum.voters is empty and {flags}.")
    } else {
        format!("Cannot set kraft.version to {level} unless controller.quorum.voters is empty and {flags}.")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(release: Option<&str>, features: &[&str]) -> String {
        let features: Vec<String> = features.iter().map(|feature| (*feature).to_owned()).collect();
        check(release, &features, false).expect_err("refused").to_string()
    }

    #[test]
    fn releases_have_long_and_short_names() {
        let of = |release: &str| check(Some(release), &[], false).expect("a known release");
        assert_eq!(of("4.0-IV1"), "4.0-IV1");
        assert_eq!(of("3.7"), "3.7-IV4");
        assert_eq!(of("3.7.2"), "3.7-IV4");
        assert_eq!(check(None, &[], false).expect("the default"), "4.3-IV0");
        for release in ["9.9", "3.0", "4", ""] {
            let text = refusal(Some(release), &[]);
            assert!(text.starts_with(&format!(
                "Unknown metadata.version '{release}'. Supported metadata.version are:"
            )));
        }
    }

    #[test]
    fn features_are_checked() {
        let known = ["group.version=1".to_owned(), "transaction.version = 2".to_owned()];
        assert!(check(None, &known, false).is_ok());
        assert_eq!(check(None, &["metadata.version=22".to_owned()], false).expect("a level"), "4.0-IV0");
        assert_eq!(
            refusal(None, &["foo=1"]),
            "Unsupported feature: foo. Supported features are: eligible.leader.replicas.version, group.version, \
             kraft.version, share.version, streams.version, transaction.version"
        );
        assert_eq!(refusal(None, &["group.version=9"]), "No feature:group.version with feature level 9");
        assert!(refusal(None, &["group.version"]).ends_with("equals sign not found."));
        assert!(refusal(None, &["group.version=x"]).ends_with("unable to parse x as a short."));
        assert!(
            refusal(Some("4.0"), &["metadata.version=9"]).starts_with("Use --release-version instead of")
        );
        assert!(refusal(None, &["metadata.version=99"]).ends_with("are from 7 to 30."));
    }

    #[test]
    fn the_quorums_kind_and_kraft_version_agree() {
        let level = |level: &str| vec![format!("kraft.version={level}")];
        assert!(check(None, &level("0"), false).is_ok() && check(None, &level("1"), true).is_ok());
        assert!(check(None, &level("0"), true).is_err() && check(None, &level("1"), false).is_err());
    }
}
