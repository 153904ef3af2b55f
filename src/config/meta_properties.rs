//! `meta.properties`: the file that marks a log directory as this node's, and its ids.
//!
//! Pure over texts and bytes; the storage tool and the broker's start read and write the file, which stands in
//! every log directory and is replaced as a whole (temporary file, sync, rename, sync of the directory). The format
//! is version 1 of Kafka's `MetaProperties`; version 0 (with `broker.id`) is read but never written.
//! Invariants: version 1 has a cluster id and a node id; no two directories of a node have the same directory id.

use std::collections::BTreeMap;

use thiserror::Error;

use super::properties::{self, PropertiesError};
use crate::ids::{NodeId, Uuid};

/// The file's name in a log directory.
pub const FILE_NAME: &str = "meta.properties";

/// What a log directory says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// The version of the file: 0 before KRaft, 1 since.
    pub version: u8,
    /// The cluster's id; any text, by custom a printed [`Uuid`]. Always there in version 1.
    pub cluster_id: Option<String>,
    /// The node's number. Always there in version 1.
    pub node_id: Option<NodeId>,
    /// The directory's own id (KIP-858).
    pub directory_id: Option<Uuid>,
}

/// A `meta.properties` that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MetaPropertiesError {
    /// It is no properties file.
    #[error("{0}")]
    Format(#[from] PropertiesError),
    /// It is of a later release, or damaged.
    #[error("Unknown meta.properties version number {0}")]
    Version(String),
    /// An id is missing, or is none.
    #[error("{0}")]
    Id(String),
}

impl MetaProperties {
    /// The properties of a newly formatted directory.
    #[must_use]
    pub fn new(cluster_id: &str, node_id: NodeId, directory_id: Uuid) -> MetaProperties {
        MetaProperties {
            version: 1,
            cluster_id: Some(cluster_id.to_owned()),
            node_id: Some(node_id),
            directory_id: Some(directory_id),
        }
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// With Kafka's words when a number is none or an id is missing.
    pub fn parse(text: &str) -> Result<MetaProperties, MetaPropertiesError> {
        let properties = properties::parse(text)?;
        let get = |name: &str| properties.get(name).map(String::as_str);
        let version = match get("version").unwrap_or("0").trim() {
            "0" => 0,
            "1" => 1,
            other => return Err(MetaPropertiesError::Version(other.to_owned())),
        };
        let node_name = if version == 0 { "broker.id" } else { "node.id" };
        let meta = MetaProperties {
            version,
            cluster_id: get("cluster.id").map(str::to_owned),
            node_id: get(node_name).map(|text| node_id(node_name, text)).transpose()?,
            directory_id: get("directory.id").map(directory_id).transpose()?,
        };
        let missing = |name: &str| MetaPropertiesError::Id(format!("{name} was not found."));
        if version == 1 && meta.cluster_id.is_none() {
            return Err(missing("cluster.id"));
        }
        if version == 1 && meta.node_id.is_none() {
            return Err(missing("node.id"));
        }
        Ok(meta)
    }

    /// The pairs of the file.
    #[must_use]
    pub fn to_properties(&self) -> BTreeMap<String, String> {
        let node_name = if self.version == 0 { "broker.id" } else { "node.id" };
        let pairs = [
            ("version", Some(self.version.to_string())),
            ("cluster.id", self.cluster_id.clone()),
            (node_name, self.node_id.map(|id| id.to_string())),
            ("directory.id", self.directory_id.map(|id| id.to_string())),
        ];
        pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    /// The text of a file: a comment line as Java writes it, then the pairs.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("#\n{}", properties::write(&self.to_properties()))
    }
}

fn node_id(name: &str, text: &str) -> Result<NodeId, MetaPropertiesError> {
    let number = text.trim().parse().map(NodeId);
    number.map_err(|_| MetaPropertiesError::Id(format!("Unable to read {name} as a base-10 number: {text}")))
}

fn directory_id(text: &str) -> Result<Uuid, MetaPropertiesError> {
    text.trim()
        .parse()
        .map_err(|why| MetaPropertiesError::Id(format!("Unable to read directory.id as a Uuid: {why}")))
}

/// Ids below this are Kafka's own: unassigned, lost, migrating (`DirectoryId.reserved`).
const RESERVED_IDS: u128 = 100;

/// Whether an id may not be given to a directory.
#[must_use]
pub fn is_reserved(id: Uuid) -> bool {
    u128::from_be_bytes(id.0) < RESERVED_IDS
}

/// A random id of version 4 from random bytes. `None` for the one id in 64 whose text begins with a dash and
/// would look like a flag on a command line (Kafka draws again too): call again with other bytes.
#[must_use]
pub fn random_uuid(random: [u8; 16]) -> Option<Uuid> {
    let mut bytes = random;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let id = Uuid(bytes);
    (!id.to_string().starts_with('-') && !is_reserved(id)).then_some(id)
}

/// A log directory and what stands in it.
pub type Directory<'a> = (&'a str, &'a MetaProperties);

/// Checks that directories belong together, to this cluster and to this node.
///
/// # Errors
/// With Kafka's words (`MetaPropertiesEnsemble.verify`) about the first that does not.
pub fn verify(
    directories: &[Directory<'_>],
    cluster_id: Option<&str>,
    node_id: Option<NodeId>,
) -> Result<(), MetaPropertiesError> {
    let mut cluster_id = cluster_id;
    let mut node_id = node_id;
    let mut seen: BTreeMap<Uuid, &str> = BTreeMap::new();
    for (dir, meta) in directories {
        let path = format!("{}/{FILE_NAME}", dir.trim_end_matches('/'));
        if let Some(found) = meta.cluster_id.as_deref() {
            let expected = *cluster_id.get_or_insert(found);
            if found != expected {
                let text = format!("Invalid cluster.id in: {path}. Expected {expected}, but read {found}");
                return Err(MetaPropertiesError::Id(text));
            }
        }
        if let Some(found) = meta.node_id {
            let expected = *node_id.get_or_insert(found);
            if found != expected {
                return Err(MetaPropertiesError::Id(format!(
                    "Stored node id {found} doesn't match previous node id {expected} in {path}. If you moved \
                     your data, make sure your configured node id matches. If you intend to create a new node, \
                     you should remove all data in your data directories."
                )));
            }
        }
        let Some(id) = meta.directory_id else { continue };
        if is_reserved(id) {
            return Err(MetaPropertiesError::Id(format!(
                "Invalid reserved directory ID {id} found in {dir}"
            )));
        }
        if let Some(other) = seen.insert(id, dir) {
            let text =
                format!("Duplicate directory ID {id} found. It was the ID of {other}, but also of {dir}");
            return Err(MetaPropertiesError::Id(text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that Kafka's storage tool wrote.
    const KAFKAS: &str = "#\n#Fri Nov 20 22:31:54 UTC 2026\nnode.id=1\ndirectory.id=EOnLXkueO9QtNll3yhlzoQ\n\
                          version=1\ncluster.id=AAAAAAAAAAAAAAAAAAAAAQ\n";

    fn kafkas() -> MetaProperties {
        MetaProperties::parse(KAFKAS).expect("Kafka's own file")
    }

    #[test]
    fn kafkas_file_is_read() {
        let meta = kafkas();
        assert_eq!(meta.version, 1);
        assert_eq!(meta.cluster_id.as_deref(), Some("AAAAAAAAAAAAAAAAAAAAAQ"));
        assert_eq!(meta.node_id, Some(NodeId(1)));
        assert_eq!(meta.directory_id.map(|id| id.to_string()).as_deref(), Some("EOnLXkueO9QtNll3yhlzoQ"));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let meta = MetaProperties::new("a b=c", NodeId(7), Uuid([7; 16]));
        let text = meta.to_text();
        assert_eq!(
            text,
            "#\ncluster.id=a b\\=c\ndirectory.id=BwcHBwcHBwcHBwcHBwcHBw\nnode.id=7\nversion=1\n"
        );
        assert_eq!(MetaProperties::parse(&text), Ok(meta));
    }

    #[test]
    fn version_0_has_a_broker_id_or_nothing() {
        let meta = MetaProperties::parse("broker.id=3\n").expect("version 0");
        assert_eq!((meta.version, meta.node_id), (0, Some(NodeId(3))));
        assert_eq!(MetaProperties::parse("").expect("nothing at all").node_id, None);
    }

    #[test]
    fn damaged_files_are_named() {
        let refusal = |text: &str| MetaProperties::parse(text).expect_err("refused").to_string();
        assert_eq!(refusal("version=7"), "Unknown meta.properties version number 7");
        assert_eq!(refusal("version=1\nnode.id=7"), "cluster.id was not found.");
        assert_eq!(refusal("version=1\ncluster.id=x"), "node.id was not found.");
        assert!(refusal("version=1\ncluster.id=x\nnode.id=y").starts_with("Unable to read node.id"));
        assert!(refusal("directory.id=short").starts_with("Unable to read directory.id as a Uuid"));
        assert!(refusal("version=\\u12").contains("escape"));
    }

    #[test]
    fn random_ids_are_version_4_and_no_flags() {
        let id = random_uuid([0; 16]).expect("no dash in front");
        assert_eq!(id.0, [0, 0, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(random_uuid([0xf8; 16]), None, "0xf8 begins with a dash");
        assert!(is_reserved(Uuid([0; 16])) && !is_reserved(id));
    }

    #[test]
    fn directories_must_belong_together() {
        let one = kafkas();
        let with = |change: fn(&mut MetaProperties)| {
            let mut meta = kafkas();
            meta.directory_id = Some(Uuid([9; 16]));
            change(&mut meta);
            meta
        };
        let verify_two = |two: &MetaProperties| {
            verify(&[("/a", &one), ("/b/", two)], None, Some(NodeId(1))).map_err(|error| error.to_string())
        };
        assert_eq!(verify_two(&with(|_| ())), Ok(()));
        assert_eq!(
            verify_two(&with(|meta| meta.cluster_id = Some("X".into()))).expect_err("another cluster"),
            "Invalid cluster.id in: /b/meta.properties. Expected AAAAAAAAAAAAAAAAAAAAAQ, but read X"
        );
        assert!(
            verify_two(&with(|meta| meta.node_id = Some(NodeId(8))))
                .expect_err("another node")
                .starts_with("Stored node id 8 doesn't match previous node id 1 in /b/meta.properties.")
        );
        assert!(verify_two(&with(|meta| meta.directory_id = None)).is_ok());
        assert!(
            verify_two(&with(|meta| meta.directory_id = Some(Uuid([0; 16]))))
                .expect_err("an id of Kafka's own")
                .starts_with("Invalid reserved directory ID")
        );
        assert!(verify_two(&one).expect_err("a copied directory").starts_with("Duplicate directory ID"));
        assert!(verify(&[("/a", &one)], Some("other"), None).is_err());
    }
}
