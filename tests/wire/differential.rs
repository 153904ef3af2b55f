//! Our bytes through another implementation of the protocol: it must understand them and write the same.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey as TheirKey, RequestKind, ResponseKind};
use ottla_wire::ApiKey;
use ottla_wire::arbitrary::Rng;

use crate::every_api::{Case, Direction, all};

/// Random values of each message in each version.
const SEEDS: u64 = 8;

/// Versions that the other implementation lists with its api keys and then refuses in its messages.
fn refused_by_them(case: &Case) -> bool {
    matches!(
        (case.api, case.direction, case.version),
        (ApiKey::OffsetCommit | ApiKey::OffsetFetch, Direction::Request, 10)
            | (ApiKey::InitProducerId, Direction::Request, 6)
    )
}

/// Decodes and encodes with the other implementation.
fn theirs(case: &Case, key: TheirKey, body: &[u8]) -> Result<Vec<u8>, String> {
    let mut input = Bytes::copy_from_slice(body);
    let mut output = BytesMut::new();
    let version = case.version;
    match case.direction {
        Direction::Request => RequestKind::decode(key, &mut input, version)
            .and_then(|message| message.encode(&mut output, version)),
        Direction::Response => ResponseKind::decode(key, &mut input, version)
            .and_then(|message| message.encode(&mut output, version)),
    }
    .map_err(|why| format!("{why:#}"))?;
    if !input.is_empty() {
        return Err(format!("{} bytes are left", input.len()));
    }
    Ok(output.to_vec())
}

#[test]
fn another_implementation_reads_and_writes_the_same_bytes() {
    let (mut compared, mut wrong) = (0, Vec::new());
    for case in all() {
        let Ok(key) = TheirKey::try_from(case.api.code()) else { continue };
        let range = key.valid_versions();
        if case.version < range.min || case.version > range.max || refused_by_them(&case) {
            continue;
        }
        compared += 1;
        for seed in 0..SEEDS {
            let ours = case.random_bytes(&mut Rng::new(seed));
            let theirs = theirs(&case, key, &ours);
            if theirs.as_ref() != Ok(&ours) {
                wrong.push(format!(
                    "{} {:?} v{} seed {seed}: {theirs:?}",
                    case.api, case.direction, case.version
                ));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > 500, "only {compared} messages are in both");
}
