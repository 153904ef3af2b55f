//! DescribeCluster (key 60, versions 0-2): the brokers and the cluster's id, for admin clients.
//!
//! | version | change |
//! |---|---|
//! | 1 | the client says whether it wants brokers or controllers (KIP-919); this endpoint is a broker's |
//! | 2 | fenced brokers, where asked for |

use std::borrow::Cow;

use ottla_wire::describe_cluster_request::DescribeClusterRequest;
use ottla_wire::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};

use super::{RequestContext, operations};
use crate::controller::Image;
use crate::errors::ErrorCode;

/// The endpoint type of brokers.
const BROKERS: i8 = 1;
/// The endpoint type of controllers.
const CONTROLLERS: i8 = 2;

/// Answers a request.
#[must_use]
pub fn handle<'a>(
    context: &RequestContext<'_>,
    image: &'a Image,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse<'a> {
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            let text = "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type \
                        CONTROLLER";
            return refused(ErrorCode::MismatchedEndpointType, text.to_owned());
        }
        other => {
            return refused(ErrorCode::UnsupportedEndpointType, format!("Unsupported endpoint type {other}"));
        }
    }
    let brokers = image.brokers.values().filter(|broker| !broker.fenced || request.include_fenced_brokers);
    let reachable = brokers.filter_map(|broker| Some((broker, broker.endpoint(context.listener)?)));
    let brokers: Vec<_> = reachable
        .map(|(broker, endpoint)| DescribeClusterBroker {
            broker_id: broker.id.0,
            host: Cow::Borrowed(&*endpoint.host),
            port: i32::from(endpoint.port),
            rack: broker.rack.as_deref().map(Cow::Borrowed),
            is_fenced: broker.fenced,
        })
        .collect();
    // A controller that is not among the brokers of this listener would confuse the client.
    let controller = image.controller_for_clients().0;
    let is_listed = brokers.iter().any(|broker| broker.broker_id == controller);
    let asked = request.include_cluster_authorized_operations;
    DescribeClusterResponse {
        cluster_id: Cow::Borrowed(&*image.cluster_id),
        controller_id: if is_listed { controller } else { -1 },
        brokers,
        cluster_authorized_operations: if asked { operations::CLUSTER_ALL } else { operations::NOT_ASKED },
        ..Default::default()
    }
}

fn refused(error: ErrorCode, text: String) -> DescribeClusterResponse<'static> {
    DescribeClusterResponse {
        error_code: error.code(),
        error_message: Some(Cow::Owned(text)),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_wire::ApiKey;

    use super::*;
    use crate::ids::NodeId;
    use crate::request::tests::{context, image};

    fn ask(
        image: &Image,
        version: i16,
        request: &DescribeClusterRequest,
    ) -> DescribeClusterResponse<'static> {
        let reply = handle(&context(ApiKey::DescribeCluster, version), image, request);
        let mut writer = ottla_wire::Writer::with_capacity(256);
        use ottla_wire::Message;
        reply.size(version).expect("the version carries it");
        reply.encode(&mut writer, version);
        let bytes = Box::leak(writer.buf.into_boxed_slice());
        DescribeClusterResponse::decode(&mut ottla_wire::Reader::new(bytes), version).expect("it is whole")
    }

    #[test]
    fn names_the_brokers_of_the_clients_listener() {
        let image = image();
        let request =
            DescribeClusterRequest { include_cluster_authorized_operations: true, ..Default::default() };
        for version in 0..=2 {
            let reply = ask(&image, version, &request);
            assert_eq!((reply.error_code, reply.controller_id), (0, 1));
            assert_eq!(reply.cluster_id, "cluster-id");
            assert_eq!(reply.cluster_authorized_operations, 8096);
            let broker = &reply.brokers[0];
            assert_eq!((broker.broker_id, &*broker.host, broker.port), (1, "inside", 9092));
            assert_eq!(broker.rack.as_deref(), Some("r1"));
        }
        let other = RequestContext { listener: "EXTERNAL", ..context(ApiKey::DescribeCluster, 2) };
        assert_eq!(handle(&other, &image, &request).brokers[0].host, "outside");
        let absent = RequestContext { listener: "ABSENT", ..context(ApiKey::DescribeCluster, 2) };
        let reply = handle(&absent, &image, &request);
        assert!(reply.brokers.is_empty());
        assert_eq!(reply.controller_id, -1);
        let quiet = ask(&image, 0, &DescribeClusterRequest::default());
        assert_eq!(quiet.cluster_authorized_operations, i32::MIN);
    }

    #[test]
    fn fenced_brokers_are_shown_on_request_alone() {
        let mut image = image();
        let mut broker = (*image.brokers[&NodeId(1)]).clone();
        broker.fenced = true;
        image.brokers.insert(NodeId(1), Arc::new(broker));
        assert!(ask(&image, 2, &DescribeClusterRequest::default()).brokers.is_empty());
        let request = DescribeClusterRequest { include_fenced_brokers: true, ..Default::default() };
        let reply = ask(&image, 2, &request);
        assert!(reply.brokers[0].is_fenced);
        assert_eq!(reply.controller_id, -1);
    }

    #[test]
    fn other_endpoints_are_refused_in_kafkas_words() {
        let image = image();
        let request = |endpoint_type| DescribeClusterRequest { endpoint_type, ..Default::default() };
        let reply = ask(&image, 1, &request(2));
        assert_eq!(reply.error_code, 114);
        assert_eq!(
            reply.error_message.as_deref(),
            Some(
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
            )
        );
        let reply = ask(&image, 1, &request(9));
        assert_eq!(
            (reply.error_code, reply.error_message.as_deref()),
            (115, Some("Unsupported endpoint type 9"))
        );
        assert!(reply.brokers.is_empty());
    }
}
