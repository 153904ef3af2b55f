//! What a load has to know of a cluster before it begins: versions, the topic, its leaders, producer ids.
//!
//! One connection to the first bootstrap server that answers asks for all of it. Leaders are looked up once: a load
//! does not follow a partition to another broker, it reports the errors of the move.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla::errors::ErrorCode;
use ottla::ids::{ProducerEpoch, ProducerId};
use ottla_tools::client::Client;
use ottla_wire::api_versions_request::ApiVersionsRequest;
use ottla_wire::api_versions_response::ApiVersionsResponse;
use ottla_wire::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use ottla_wire::create_topics_response::CreateTopicsResponse;
use ottla_wire::find_coordinator_request::FindCoordinatorRequest;
use ottla_wire::find_coordinator_response::FindCoordinatorResponse;
use ottla_wire::init_producer_id_request::InitProducerIdRequest;
use ottla_wire::init_producer_id_response::InitProducerIdResponse;
use ottla_wire::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_wire::metadata_response::{MetadataResponse, MetadataResponseTopic};
use ottla_wire::{ApiKey, Message, Uuid};

use crate::error::{BenchError, code_name};
use crate::offsets;

/// What brokers see as the client's name.
pub(crate) const CLIENT_ID: &str = "ottla-bench";
/// From this version on Produce and Fetch name topics by id (KIP-516).
const TOPIC_ID_VERSION_MIN: i16 = 13;
/// The first version of Metadata with `allow_auto_topic_creation`, which a load wants off.
const METADATA_VERSION_MIN: i16 = 4;
/// How long a broker may take to create a topic, in milliseconds.
const CREATE_TIMEOUT_MS: i32 = 30_000;
/// How often a cluster that is not ready is asked again, and the pause between.
const TRIES: u32 = 600;
const PAUSE: Duration = Duration::from_millis(50);

/// A connection to the cluster, and what was learnt through it.
#[derive(Debug)]
pub(crate) struct Cluster {
    client: Client,
    address: String,
    versions: BTreeMap<i16, (i16, i16)>,
    brokers: BTreeMap<i32, String>,
}

/// A topic whose partitions all have leaders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topic {
    pub name: String,
    /// All zeros where the broker speaks no version that has ids.
    pub id: Uuid,
    /// The partitions that each broker leads.
    pub leaders: BTreeMap<i32, Vec<i32>>,
}

/// A topic that is to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewTopic<'c> {
    /// How many.
    pub partitions: i32,
    /// How many of each; -1 for the broker's own default.
    pub replication_factor: i16,
    /// Settings by their names.
    pub config: &'c [(String, String)],
}

impl Topic {
    pub(crate) fn partition_count(&self) -> usize {
        self.leaders.values().map(Vec::len).sum()
    }

    /// How a request of this version names the topic: by name or by id.
    pub(crate) fn named(&self, version: i16) -> (&str, Uuid) {
        if version >= TOPIC_ID_VERSION_MIN { ("", self.id) } else { (&self.name, Uuid::ZERO) }
    }
}

impl Cluster {
    /// Connects to the first of `bootstrap`'s brokers that answers and asks for its versions.
    pub(crate) fn open(bootstrap: &str) -> Result<Self, BenchError> {
        let mut last = None;
        for address in bootstrap.split(',').map(str::trim) {
            match Client::connect(address, CLIENT_ID) {
                Ok(client) => return Self::greet(client, address.to_owned()),
                Err(error) => last = Some(BenchError::Connect { address: address.to_owned(), error }),
            }
        }
        Err(last.expect("a text has at least one part between its commas"))
    }

    fn greet(client: Client, address: String) -> Result<Self, BenchError> {
        let mut cluster = Self { client, address, versions: BTreeMap::new(), brokers: BTreeMap::new() };
        let versions = {
            let request = ApiVersionsRequest::default();
            let reply: ApiVersionsResponse<'_> = cluster.call(ApiKey::ApiVersions, 0, &request)?;
            if reply.error_code != ErrorCode::None.code() {
                return Err(BenchError::refused(ApiKey::ApiVersions, reply.error_code, None));
            }
            reply.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect()
        };
        cluster.versions = versions;
        Ok(cluster)
    }

    /// The highest version of `api` that both sides speak.
    pub(crate) fn version(&self, api: ApiKey) -> Result<i16, BenchError> {
        let ours = api.versions();
        let common =
            self.versions.get(&api.code()).map(|(min, max)| (*ours.start().max(min), *ours.end().min(max)));
        match common {
            Some((min, max)) if min <= max => Ok(max),
            Some(_) | None => Err(BenchError::Version { api, address: self.address.clone() }),
        }
    }

    /// As [`Cluster::version`], for a request that names `topic`: by id only where there is one.
    pub(crate) fn version_for(&self, api: ApiKey, topic: &Topic) -> Result<i16, BenchError> {
        let version = self.version(api)?;
        Ok(if topic.id.is_zero() { version.min(TOPIC_ID_VERSION_MIN - 1) } else { version })
    }

    /// The address of a broker that leads partitions.
    pub(crate) fn broker_address(&self, node: i32) -> &str {
        self.brokers.get(&node).expect("a topic's leaders were found among the brokers")
    }

    /// A fresh connection to the broker `node`.
    pub(crate) fn connect(&self, node: i32) -> Result<Client, BenchError> {
        let address = self.broker_address(node);
        Client::connect(address, CLIENT_ID)
            .map_err(|error| BenchError::Connect { address: address.to_owned(), error })
    }

    /// The topic `name`; `None` where it does not exist.
    pub(crate) fn find_topic(&mut self, name: &str) -> Result<Option<Topic>, BenchError> {
        let found = patiently(|| {
            Ok(match self.look_up(name)? {
                Found::Missing => Some(None),
                Found::Ready(topic) => Some(Some(topic)),
                Found::NotReady => None,
            })
        })?;
        found.ok_or_else(|| BenchError::Topic {
            name: name.to_owned(),
            what: "not every partition has a leader".to_owned(),
        })
    }

    /// The topic `name`, after making it where it is missing.
    pub(crate) fn find_or_create(&mut self, name: &str, new: &NewTopic<'_>) -> Result<Topic, BenchError> {
        if let Some(topic) = self.find_topic(name)? {
            return Ok(topic);
        }
        self.create(name, new)?;
        let topic = patiently(|| self.find_topic(name))?.ok_or_else(|| BenchError::Topic {
            name: name.to_owned(),
            what: "was created and does not appear".to_owned(),
        })?;
        offsets::await_leaders(self, &topic)?;
        Ok(topic)
    }

    /// A producer id without a transaction.
    pub(crate) fn producer_id(&mut self) -> Result<(ProducerId, ProducerEpoch), BenchError> {
        let api = ApiKey::InitProducerId;
        let version = self.version(api)?;
        let request = producer_id_request();
        let given = patiently(|| {
            let reply: InitProducerIdResponse = self.call(api, version, &request)?;
            match ErrorCode::from_code(reply.error_code) {
                Some(ErrorCode::None) => {
                    Ok(Some((ProducerId(reply.producer_id), ProducerEpoch(reply.producer_epoch))))
                }
                Some(ErrorCode::CoordinatorLoadInProgress | ErrorCode::CoordinatorNotAvailable) => Ok(None),
                _ => Err(BenchError::refused(api, reply.error_code, None)),
            }
        })?;
        given.ok_or_else(|| BenchError::refused(api, ErrorCode::CoordinatorLoadInProgress.code(), None))
    }

    /// The broker that all of this was asked of.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The address of the broker that coordinates `group`.
    pub(crate) fn coordinator(&mut self, group: &str) -> Result<String, BenchError> {
        let api = ApiKey::FindCoordinator;
        let version = self.version(api)?;
        let request = find_request(group, version);
        let found = patiently(|| {
            let reply: FindCoordinatorResponse<'_> = self.call(api, version, &request)?;
            let (code, found) = found_coordinator(&reply);
            match ErrorCode::from_code(code) {
                Some(ErrorCode::None) => Ok(Some(found)),
                Some(ErrorCode::CoordinatorNotAvailable | ErrorCode::CoordinatorLoadInProgress) => Ok(None),
                _ => Err(BenchError::refused(api, code, None)),
            }
        })?;
        found.ok_or_else(|| BenchError::refused(api, ErrorCode::CoordinatorNotAvailable.code(), None))
    }

    fn create(&mut self, name: &str, new: &NewTopic<'_>) -> Result<(), BenchError> {
        let api = ApiKey::CreateTopics;
        let version = self.version(api)?;
        // Before version 4 a request cannot leave the replication factor to the broker (KIP-464).
        let replication_factor =
            if version >= 4 { new.replication_factor } else { new.replication_factor.max(1) };
        let config = |(name, value): &'_ (String, String)| CreatableTopicConfig {
            name: name.clone().into(),
            value: Some(value.clone().into()),
        };
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: new.partitions,
            replication_factor,
            configs: new.config.iter().map(config).collect(),
            ..CreatableTopic::default()
        };
        let request =
            CreateTopicsRequest { topics: vec![topic], timeout_ms: CREATE_TIMEOUT_MS, validate_only: false };
        let reply: CreateTopicsResponse<'_> = self.call(api, version, &request)?;
        let exists = ErrorCode::TopicAlreadyExists.code();
        let failed =
            reply.topics.iter().find(|t| t.error_code != ErrorCode::None.code() && t.error_code != exists);
        match failed {
            None => Ok(()),
            Some(topic) => Err(BenchError::refused(api, topic.error_code, topic.error_message.as_deref())),
        }
    }

    fn look_up(&mut self, name: &str) -> Result<Found, BenchError> {
        let api = ApiKey::Metadata;
        let version = self.version(api)?;
        if version < METADATA_VERSION_MIN {
            return Err(BenchError::Version { api, address: self.address.clone() });
        }
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic { topic_id: Uuid::ZERO, name: Some(name.into()) }]),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let (brokers, found) = {
            let reply: MetadataResponse<'_> = self.call(api, version, &request)?;
            let brokers: BTreeMap<i32, String> =
                reply.brokers.iter().map(|b| (b.node_id, address(&b.host, b.port))).collect();
            let found = found(name, &reply.topics, &brokers)?;
            (brokers, found)
        };
        self.brokers = brokers;
        Ok(found)
    }

    fn call<'q, 'r, Q: Message<'q>, R: Message<'r>>(
        &'r mut self,
        api: ApiKey,
        version: i16,
        request: &Q,
    ) -> Result<R, BenchError> {
        let address = &self.address;
        self.client.call(api, version, request).map_err(|error| BenchError::Call {
            api,
            address: address.clone(),
            error,
        })
    }
}

/// The request for a producer id without a transaction.
pub(crate) fn producer_id_request() -> InitProducerIdRequest<'static> {
    InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdRequest::default()
    }
}

/// Asks which broker coordinates `group`. From version 4 on a request has a list of groups (KIP-699).
pub(crate) fn find_request(group: &str, version: i16) -> FindCoordinatorRequest<'_> {
    match version >= 4 {
        true => FindCoordinatorRequest { coordinator_keys: vec![group.into()], ..Default::default() },
        false => FindCoordinatorRequest { key: group.into(), ..Default::default() },
    }
}

/// What it answers of the only group: an error's code, and the broker's address where that is 0.
pub(crate) fn found_coordinator(reply: &FindCoordinatorResponse<'_>) -> (i16, String) {
    match reply.coordinators.first() {
        Some(found) => (found.error_code, address(&found.host, found.port)),
        None => (reply.error_code, address(&reply.host, reply.port)),
    }
}

/// Asks until there is an answer, for half a minute; `None` where there is none even then.
pub(crate) fn patiently<T>(
    mut ask: impl FnMut() -> Result<Option<T>, BenchError>,
) -> Result<Option<T>, BenchError> {
    for _ in 0..TRIES {
        if let Some(answer) = ask()? {
            return Ok(Some(answer));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(None)
}

/// What Metadata said about a topic.
enum Found {
    Missing,
    /// Some partition has no leader, or one that is not among the brokers yet.
    NotReady,
    Ready(Topic),
}

fn found(
    name: &str,
    topics: &[MetadataResponseTopic<'_>],
    brokers: &BTreeMap<i32, String>,
) -> Result<Found, BenchError> {
    let topic = topics.iter().find(|topic| topic.name.as_deref() == Some(name));
    let Some(topic) = topic else { return Ok(Found::Missing) };
    match ErrorCode::from_code(topic.error_code) {
        Some(ErrorCode::None) => {}
        Some(ErrorCode::UnknownTopicOrPartition) => return Ok(Found::Missing),
        Some(ErrorCode::LeaderNotAvailable) => return Ok(Found::NotReady),
        _ => return Err(BenchError::Topic { name: name.to_owned(), what: code_name(topic.error_code) }),
    }
    let mut leaders = BTreeMap::<i32, Vec<i32>>::new();
    for partition in &topic.partitions {
        leaders.entry(partition.leader_id).or_default().push(partition.partition_index);
    }
    if leaders.is_empty() || leaders.keys().any(|node| !brokers.contains_key(node)) {
        return Ok(Found::NotReady);
    }
    leaders.values_mut().for_each(|partitions| partitions.sort_unstable());
    Ok(Found::Ready(Topic { name: name.to_owned(), id: topic.topic_id, leaders }))
}

/// `host:port`, with the brackets that an IPv6 address needs.
fn address(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{FakeBroker, Script};

    #[test]
    fn the_version_is_the_highest_that_both_speak() {
        let broker = FakeBroker::start(Script { produce_version_max: 9, ..Script::default() });
        let cluster = Cluster::open(broker.address()).expect("a broker");
        assert_eq!(cluster.version(ApiKey::Produce).ok(), Some(9));
        assert_eq!(cluster.version(ApiKey::Fetch).ok(), Some(*ApiKey::Fetch.versions().end()));
        let error = cluster.version(ApiKey::OffsetCommit).expect_err("not offered");
        assert!(error.to_string().contains("serves no version of OffsetCommit"), "{error}");
        let broker = FakeBroker::start(Script { produce_version_max: 2, ..Script::default() });
        let cluster = Cluster::open(broker.address()).expect("a broker");
        assert!(cluster.version(ApiKey::Produce).is_err(), "2 is before all that there is");
    }

    #[test]
    fn a_missing_topic_is_made_and_awaited_until_it_has_leaders() {
        let broker = FakeBroker::start(Script { leaderless_replies: 2, ..Script::default() });
        let mut cluster = Cluster::open(broker.address()).expect("a broker");
        let new = |partitions| NewTopic { partitions, replication_factor: -1, config: &[] };
        assert_eq!(cluster.find_topic("t").expect("an answer"), None);
        let topic = cluster.find_or_create("t", &new(3)).expect("a topic");
        assert_eq!((topic.partition_count(), topic.leaders.get(&1)), (3, Some(&vec![0, 1, 2])));
        assert!(!topic.id.is_zero());
        assert_eq!(cluster.find_or_create("t", &new(9)).expect("the same").partition_count(), 3);
        assert_eq!(broker.seen().topics_created, 1);
    }

    #[test]
    fn the_next_bootstrap_server_is_tried() {
        let broker = FakeBroker::start(Script::default());
        let nobody = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.local_addr().expect("it is bound").to_string()
        };
        assert!(Cluster::open(&format!("{nobody}, {}", broker.address())).is_ok());
        let error = Cluster::open(&nobody).expect_err("nobody is there").to_string();
        assert!(
            error.starts_with(&format!("no broker at {nobody}: ")) && error.lines().count() == 1,
            "{error}"
        );
    }

    #[test]
    fn a_topic_is_named_or_has_its_id() {
        let leaders = BTreeMap::from([(1, vec![0, 2]), (5, vec![1])]);
        let topic = Topic { name: "t".to_owned(), id: Uuid([1; 16]), leaders };
        assert_eq!((topic.named(12), topic.named(13)), (("t", Uuid::ZERO), ("", Uuid([1; 16]))));
        assert_eq!(topic.partition_count(), 3);
        assert_eq!(address("::1", 9092), "[::1]:9092");
    }
}
