//! What a cluster has, as its clients see it: to be compared from one broker to the next.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ottla_tests::topics::topic_id;
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

/// Looks at these topics and groups.
pub fn view(address: &str, topics: &[(&str, i32)], groups: &[(&str, &[&str])]) -> View {
    let mut view = View::default();
    let watcher: BaseConsumer = reader(address, "watcher");
    for (topic, partitions) in topics {
        view.topic_ids.insert((*topic).to_owned(), topic_id(address, topic));
        for partition in 0..*partitions {
            let watermarks = watcher.fetch_watermarks(topic, partition, PATIENCE).expect("a leader");
            let records = rows(address, topic, partition, "read_uncommitted");
            let committed = rows(address, topic, partition, "read_committed");
            let place = ((*topic).to_owned(), partition);
            view.partitions.insert(place, PartitionView { watermarks, records, committed });
        }
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

/// The records of a partition from its start to its end.
pub fn rows(address: &str, topic: &str, partition: i32, isolation: &str) -> Vec<Row> {
    let mut config = client(address);
    config.set("group.id", "watcher").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    config.set("isolation.level", isolation).set("fetch.wait.max.ms", "10").set("check.crcs", "true");
    let consumer: BaseConsumer = config.create().expect("the configuration is valid");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Beginning).expect("a valid offset");
    consumer.assign(&list).expect("an assignment");
    let deadline = Instant::now() + PATIENCE;
    let mut rows = Vec::new();
    loop {
        assert!(Instant::now() < deadline, "{topic}-{partition} does not end after {} records", rows.len());
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => rows.push(row(&message)),
            Some(Err(KafkaError::PartitionEOF(_))) => return rows,
            Some(Err(error)) => eprintln!("{topic}-{partition}: {error}"),
            None => {}
        }
    }
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
