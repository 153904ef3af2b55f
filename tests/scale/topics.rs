//! Topics that go and come again under the same name.

use ottla_tests::broker::{Broker, Options};
use ottla_tests::topics::create_topic;
use ottla_tools::client::Client;
use ottla_wire::ApiKey;
use ottla_wire::delete_topics_request::DeleteTopicsRequest;
use ottla_wire::delete_topics_response::DeleteTopicsResponse;

use crate::load::{check_rounds, produce_round};

const PARTITIONS: i32 = 60;

#[test]
fn a_topic_that_is_made_again_at_once_is_a_new_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options::new(directory.path());
    let broker = Broker::start(&options);
    for _ in 0..5 {
        create_topic(broker.address(), "again", PARTITIONS, &[]);
        // The first record of every partition has offset 0, or this fails.
        produce_round(broker.address(), "again", 0..PARTITIONS, 0);
        let mut client = Client::connect(broker.address(), "scale").expect("the broker listens");
        let request = DeleteTopicsRequest {
            topic_names: vec!["again".into()],
            timeout_ms: 30_000,
            ..Default::default()
        };
        let reply: DeleteTopicsResponse<'_> =
            client.call(ApiKey::DeleteTopics, 4, &request).expect("the broker answers");
        assert_eq!(reply.responses[0].error_code, 0);
    }
    create_topic(broker.address(), "again", PARTITIONS, &[]);
    produce_round(broker.address(), "again", 0..PARTITIONS, 0);
    broker.kill();
    let broker = Broker::start(&options);
    check_rounds(broker.address(), "again", 0..PARTITIONS, 1);
    assert!(!broker.output().contains("offline"), "{}", broker.output());
    assert_eq!(broker.stop(), 0);
}
