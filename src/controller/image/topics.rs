//! Topics and partitions of an image, found by name and by id.
//!
//! A topic is behind one `Arc` that both maps share, so that a copy of the image costs nothing per partition. Owned by
//! no shard. Invariants: both maps hold the same topics; `partitions` is the sum over them; a topic's partitions are
//! numbered by their place in the vector.

use std::sync::Arc;

use crate::controller::chunked::ChunkMap;
use crate::controller::names;
use crate::ids::{LeaderEpoch, NodeId, TopicId, TopicIdPartition, Uuid};

/// One partition.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionImage {
    /// The broker that leads; -1 while none can.
    pub leader: NodeId,
    /// Rises with every election, and never falls.
    pub leader_epoch: LeaderEpoch,
    /// Rises with every change of the partition.
    pub partition_epoch: i32,
    /// The brokers that have a copy, the preferred leader first.
    pub replicas: Box<[NodeId]>,
    /// The brokers whose copy is complete.
    pub isr: Box<[NodeId]>,
    /// For each replica the log directory that its copy is in, or [`DIRECTORY_UNTOLD`] or [`DIRECTORY_UNASSIGNED`].
    pub directories: Box<[Uuid]>,
}

/// A copy is in a directory that nobody has told: records from before Kafka 3.7 name none (`DirectoryId.MIGRATING`).
pub const DIRECTORY_UNTOLD: Uuid = Uuid::ZERO;

/// A directory for a copy is still to be chosen (`DirectoryId.UNASSIGNED`).
pub const DIRECTORY_UNASSIGNED: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

impl PartitionImage {
    /// The log directory that a broker's copy is in; `None` for a broker that has no copy, or none in a directory that
    /// is known.
    #[must_use]
    pub fn directory_of(&self, broker: NodeId) -> Option<Uuid> {
        let place = self.replicas.iter().position(|replica| *replica == broker)?;
        let is_known = |dir: &Uuid| ![DIRECTORY_UNTOLD, DIRECTORY_UNASSIGNED].contains(dir);
        self.directories.get(place).copied().filter(is_known)
    }
}

/// One topic.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicImage {
    /// Its name.
    pub name: Arc<str>,
    /// Its id; a recreated topic of the same name has another.
    pub id: TopicId,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionImage>,
}

impl TopicImage {
    /// The partition with this number.
    #[must_use]
    pub fn partition(&self, index: i32) -> Option<&PartitionImage> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    /// The number of partitions, in the wire's type.
    #[must_use]
    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).expect("a topic has at most PARTITIONS_PER_TOPIC_MAX partitions")
    }

    /// The keys of all partitions.
    pub fn partition_keys(&self) -> impl Iterator<Item = TopicIdPartition> {
        let topic_id = self.id;
        (0..self.partition_count()).map(move |partition| TopicIdPartition { topic_id, partition })
    }
}

/// All topics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicsImage {
    by_id: ChunkMap<TopicId, Arc<TopicImage>>,
    by_name: ChunkMap<Arc<str>, TopicId>,
    /// Names with a `.` or `_`, by what they become in a metric. More than one only if one request created them all.
    collisions: ChunkMap<Arc<str>, Vec<Arc<str>>>,
    partitions: usize,
}

impl TopicsImage {
    /// The topic with this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.by_name.get(name).map(|id| self.named(*id))
    }

    /// The topic with this id.
    #[must_use]
    pub fn by_id(&self, id: TopicId) -> Option<&Arc<TopicImage>> {
        self.by_id.get(&id)
    }

    /// A partition by the topic's id.
    #[must_use]
    pub fn partition(&self, key: TopicIdPartition) -> Option<&PartitionImage> {
        self.by_id(key.topic_id)?.partition(key.partition)
    }

    /// All topics in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.by_name.iter().map(|(_, id)| self.named(*id))
    }

    /// The topics from a name on, in the order of their names.
    pub fn iter_from(&self, name: &str) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.by_name.iter_from(name).map(|(_, id)| self.named(*id))
    }

    fn named(&self, id: TopicId) -> &Arc<TopicImage> {
        self.by_id.get(&id).expect("both maps hold the same topics")
    }

    /// The number of topics.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is no topic.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The number of partitions of all topics together.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.partitions
    }

    /// An existing topic whose metrics would have the name's (the name itself, if it exists and could collide).
    #[must_use]
    pub fn colliding(&self, name: &str) -> Option<&str> {
        let key = names::collision_key(name)?;
        self.collisions.get(key.as_str())?.first().map(|name| &**name)
    }

    /// Adds a topic that neither name nor id knows yet.
    pub(in crate::controller) fn insert(&mut self, topic: TopicImage) {
        if let Some(key) = names::collision_key(&topic.name) {
            let key: Arc<str> = Arc::from(key);
            if !self.collisions.contains_key(&key) {
                self.collisions.insert(key.clone(), Vec::new());
            }
            self.collisions.get_mut(&key).expect("it was just inserted").push(topic.name.clone());
        }
        self.partitions += topic.partitions.len();
        assert!(self.by_name.insert(topic.name.clone(), topic.id).is_none(), "{} exists", topic.name);
        assert!(self.by_id.insert(topic.id, Arc::new(topic)).is_none(), "a topic with this id exists");
    }

    /// Takes a topic away.
    pub(in crate::controller) fn remove(&mut self, id: TopicId) -> Option<Arc<TopicImage>> {
        let topic = self.by_id.remove(&id)?;
        assert!(self.by_name.remove(&topic.name) == Some(id), "{id} was found by id alone");
        self.partitions -= topic.partitions.len();
        if let Some(key) = names::collision_key(&topic.name) {
            let colliding = self.collisions.get_mut(key.as_str()).expect("every such name is listed");
            colliding.retain(|name| *name != topic.name);
            if colliding.is_empty() {
                self.collisions.remove(key.as_str());
            }
        }
        Some(topic)
    }

    /// Changes a topic's partitions, on a copy if another image still holds the topic; `None` if there is none.
    pub(in crate::controller) fn change<R>(
        &mut self,
        id: TopicId,
        change: impl FnOnce(&mut Vec<PartitionImage>) -> R,
    ) -> Option<R> {
        let partitions = &mut Arc::make_mut(self.by_id.get_mut(&id)?).partitions;
        self.partitions -= partitions.len();
        let result = change(partitions);
        self.partitions += partitions.len();
        Some(result)
    }
}
