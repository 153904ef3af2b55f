//! A table of all messages of all apis: how to make a random one as bytes, and how to take it through our codec.

use ottla_wire::arbitrary::{Arbitrary, Rng};
use ottla_wire::{ApiKey, DecodeError, Message, Reader, Writer, for_each_api};

/// Which of the two messages of an api.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Request,
    Response,
}

/// One message of one api in one version.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub api: ApiKey,
    pub direction: Direction,
    pub version: i16,
    make: fn(&mut Rng, i16) -> Vec<u8>,
    again: fn(&[u8], i16) -> Result<Vec<u8>, DecodeError>,
}

impl Case {
    /// The bytes of a random body.
    pub fn random_bytes(&self, rng: &mut Rng) -> Vec<u8> {
        (self.make)(rng, self.version)
    }

    /// Decodes the whole body and encodes it again.
    pub fn decode_and_encode(&self, body: &[u8]) -> Result<Vec<u8>, DecodeError> {
        (self.again)(body, self.version)
    }
}

/// The bytes of a message that its version can carry.
pub fn bytes_of<'a, M: Message<'a>>(message: &M, version: i16) -> Vec<u8> {
    let size = message.size(version).unwrap_or_else(|why| panic!("{} v{version}: {why}", M::NAME));
    let mut w = Writer::with_capacity(size);
    message.encode(&mut w, version);
    assert_eq!(w.buf.len(), size, "{} v{version}: what was measured is what is written", M::NAME);
    w.buf
}

/// Every request and every response in every version.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    macro_rules! one {
        ($api:ident, $direction:ident, $module:ident, $message:ident) => {
            for version in <ottla_wire::$module::$message as Message>::VERSIONS {
                cases.push(Case {
                    api: ApiKey::$api,
                    direction: Direction::$direction,
                    version,
                    make: |rng, version| {
                        bytes_of(
                            &<ottla_wire::$module::$message as Arbitrary>::arbitrary(rng, version),
                            version,
                        )
                    },
                    again: |body, version| {
                        let mut r = Reader::new(body);
                        let message = <ottla_wire::$module::$message as Message>::decode(&mut r, version)?;
                        r.finish()?;
                        Ok(bytes_of(&message, version))
                    },
                });
            }
        };
    }
    macro_rules! both {
        ($api:ident, $request_module:ident, $request:ident, $response_module:ident, $response:ident) => {
            one!($api, Request, $request_module, $request);
            one!($api, Response, $response_module, $response);
        };
    }
    for_each_api!(both);
    cases
}

#[test]
fn the_table_holds_every_api_with_a_version() {
    let cases = all();
    for api in ApiKey::ALL {
        let versions = api.versions_with_unstable().count();
        for direction in [Direction::Request, Direction::Response] {
            let there = cases.iter().filter(|c| c.api == api && c.direction == direction).count();
            assert_eq!(there, versions, "{api} {direction:?}");
        }
    }
}
