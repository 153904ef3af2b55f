//! What a cluster has, as its clients see it: to be compared from one broker to the next.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ottla_tests::reader::largest_timestamp;
use ottla_tests::topics::topic_id;
use ottla_tools::client::Client;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::load::{PATIENCE, client, reader};

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub offset: i64,
    pub timestamp: String,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionView {
    pub watermarks: (i64, i64),
    /// The largest timestamp and the offset of its record, as ListOffsets tells them.
    pub largest: (i64, i64),
    pub records: Vec<Row>,
    pub committed: Vec<Row>,
}

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    pub topic_ids: BTreeMap<String, String>,
    pub partitions: BTreeMap<(String, i32), PartitionView>,
    pub groups: BTreeMap<(String, String), (i64, String)>,
}

impl View {
    /// Says the first difference, which whole views would hide in their bulk.
    pub fn assert_same(&self, later: &View, when: &str) {
        assert_eq!(self.topic_ids, later.topic_ids, "{when}");
        for (place, before) in &self.partitions {
            let after = later.partitions.get(place).unwrap_or_else(|| panic!("{when}: {place:?} is gone"));
            assert_eq!(before.watermarks, after.watermarks, "{when}: {place:?}");
            assert_eq!(before.largest, after.largest, "{when}: {place:?}, the largest timestamp");
            for (kind, before, after) in [
                ("every record", &before.records, &after.records),
                ("committed", &before.committed, &after.committed),
            ] {
                let differs = before.iter().zip(after).find(|(before, after)| before != after);
                assert_eq!(differs, None, "{when}: {place:?}, {kind}");
                assert_eq!(before.len(), after.len(), "{when}: {place:?}, {kind}");
            }
        }
        assert_eq!(self.partitions.len(), later.partitions.len(), "{when}");
        assert_eq!(self.groups, later.groups, "{when}");
    }
}

/// A topic's name and a partition.
type At = (String, i32);

/// Looks at these topics and groups.
pub fn view(address: &str, topics: &[(&str, i32)], groups: &[(&str, &[&str])]) -> View {
    let mut view = View::default();
    let places: Vec<(&str, i32)> =
        topics.iter().flat_map(|(topic, partitions)| (0..*partitions).map(|index| (*topic, index))).collect();
    for (topic, _) in topics {
        view.topic_ids.insert((*topic).to_owned(), topic_id(address, topic));
    }
    let watcher = consumer(address, "read_uncommitted");
    let watermarks: Vec<_> =
        places.iter().map(|(topic, index)| watermarks(&watcher, topic, *index)).collect();
    let mut records = rows(address, &places, "read_uncommitted");
    let mut committed = rows(address, &places, "read_committed");
    let mut asking = Client::connect(address, "view").expect("the broker listens");
    for ((topic, partition), watermarks) in places.iter().zip(watermarks) {
        let place = ((*topic).to_owned(), *partition);
        let [records, committed] = [&mut records, &mut committed].map(|all| all.remove(&place));
        let (records, committed) = (records.unwrap_or_default(), committed.unwrap_or_default());
        let largest = largest_timestamp(&mut asking, topic, *partition);
        view.partitions.insert(place, PartitionView { watermarks, largest, records, committed });
    }
    for (group, topics) in groups {
        let consumer = reader(address, group);
        for topic in *topics {
            let mut list = TopicPartitionList::new();
            list.add_partition(topic, 0);
            let committed = consumer.committed_offsets(list, PATIENCE).expect("a coordinator");
            let one = &committed.elements()[0];
            let offset = one.offset().to_raw().unwrap_or(-1001);
            view.groups.insert(((*group).into(), (*topic).into()), (offset, one.metadata().to_owned()));
        }
    }
    view
}

/// First and next offset. A broker that has just started may not lead yet.
fn watermarks(consumer: &BaseConsumer, topic: &str, partition: i32) -> (i64, i64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match consumer.fetch_watermarks(topic, partition, PATIENCE) {
            Ok(watermarks) => return watermarks,
            Err(error) => assert!(Instant::now() < deadline, "{topic}-{partition}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn consumer(address: &str, isolation: &str) -> BaseConsumer {
    let mut config = client(address);
    config.set("group.id", "watcher").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    config.set("isolation.level", isolation).set("fetch.wait.max.ms", "10").set("check.crcs", "true");
    config.create().expect("the configuration is valid")
}

/// The records of partitions from their starts to their ends.
pub fn rows(address: &str, places: &[(&str, i32)], isolation: &str) -> BTreeMap<At, Vec<Row>> {
    let consumer = consumer(address, isolation);
    let mut list = TopicPartitionList::new();
    for (topic, partition) in places {
        list.add_partition_offset(topic, *partition, Offset::Beginning).expect("a valid offset");
    }
    consumer.assign(&list).expect("an assignment");
    let deadline = Instant::now() + PATIENCE;
    let mut rows: BTreeMap<At, Vec<Row>> = BTreeMap::new();
    let mut ended = 0;
    while ended < places.len() {
        assert!(Instant::now() < deadline, "{ended} of {places:?} have ended, with {isolation}");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let at = (message.topic().to_owned(), message.partition());
                rows.entry(at).or_default().push(row(&message));
            }
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => eprintln!("{error}"),
            None => {}
        }
    }
    rows
}

fn row<M: Message>(message: &M) -> Row {
    let headers = message.headers().map(|headers| {
        headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
    });
    Row {
        offset: message.offset(),
        timestamp: format!("{:?}", message.timestamp()),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    }
}
