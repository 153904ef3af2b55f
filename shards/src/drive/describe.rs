//! Requests that the image, the settings and the log's end answer, without asking anybody but the controller.

use std::rc::Rc;

use ottla::request::describe_quorum::QuorumState;
use ottla::request::{
    acls, api_versions, describe_cluster, describe_configs, describe_quorum, describe_topic_partitions,
    elect_leaders, list_config_resources, list_partition_reassignments, sasl,
};
use ottla_wire::ApiKey;

use crate::drive::Shard;
use crate::drive::dispatch::Body;
use crate::net::Answer;

/// Serves one such request.
pub fn describe(shard: &Rc<Shard>, body: Body<'_>) -> Answer {
    match try_describe(shard, body) {
        Ok(answer) | Err(answer) => answer,
    }
}

fn try_describe(shard: &Rc<Shard>, body: Body<'_>) -> Result<Answer, Answer> {
    let (context, image, config) = (&body.context, shard.image(), shard.config());
    Ok(match context.api {
        ApiKey::ApiVersions => body.reply(&api_versions::handle(context, &image, &body.decode()?)),
        ApiKey::DescribeTopicPartitions => {
            let partitions_max = i32::try_from(config.fetch.described_partitions_max).unwrap_or(i32::MAX);
            let request = body.decode()?;
            body.reply(&describe_topic_partitions::handle(context, &image, partitions_max, &request))
        }
        ApiKey::DescribeCluster => body.reply(&describe_cluster::handle(context, &image, &body.decode()?)),
        ApiKey::DescribeConfigs => {
            let request = body.decode()?;
            body.reply(&describe_configs::handle(&image, &config, &shard.loggers.list(), &request))
        }
        ApiKey::DescribeQuorum => {
            let end = ottla::ids::Offset(image.offset.0 + 1);
            let quorum = QuorumState {
                node_id: image.node_id,
                leader_epoch: image.epoch,
                high_watermark: end,
                log_end_offset: end,
                endpoints: &[],
            };
            let request = body.decode()?;
            body.reply(&describe_quorum::handle(context, &quorum, &request))
        }
        ApiKey::ListConfigResources => {
            body.reply(&list_config_resources::handle(context, &image, &body.decode()?))
        }
        ApiKey::DescribeAcls => body.reply(&acls::describe(&body.decode()?)),
        ApiKey::CreateAcls => body.reply(&acls::create(&body.decode()?)),
        ApiKey::DeleteAcls => body.reply(&acls::delete(&body.decode()?)),
        ApiKey::SaslHandshake => body.reply(&sasl::handshake(&body.decode()?)),
        ApiKey::SaslAuthenticate => body.reply(&sasl::authenticate(&body.decode()?)),
        ApiKey::ElectLeaders => body.reply(&elect_leaders::handle(&image, &body.decode()?)),
        ApiKey::ListPartitionReassignments => {
            body.reply(&list_partition_reassignments::handle(&body.decode()?))
        }
        api => unreachable!("{api} is served but has no handler"),
    })
}
