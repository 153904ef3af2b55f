//! SaslHandshake (key 17, versions 0-1) and SaslAuthenticate (key 36, versions 0-2) on a listener without SASL.
//!
//! A client that wants to authenticate where nobody asks who it is hears so, in Kafka's words (`KafkaApis.scala`), and
//! the connection stays; a closed one would leave its user to guess.

use ottla_wire::sasl_authenticate_request::SaslAuthenticateRequest;
use ottla_wire::sasl_authenticate_response::SaslAuthenticateResponse;
use ottla_wire::sasl_handshake_request::SaslHandshakeRequest;
use ottla_wire::sasl_handshake_response::SaslHandshakeResponse;

use crate::errors::ErrorCode;

/// Answers a SaslHandshake request: there is no mechanism.
#[must_use]
pub fn handshake(_: &SaslHandshakeRequest<'_>) -> SaslHandshakeResponse<'static> {
    SaslHandshakeResponse {
        error_code: ErrorCode::IllegalSaslState.code(),
        ..SaslHandshakeResponse::default()
    }
}

/// Answers a SaslAuthenticate request.
#[must_use]
pub fn authenticate(_: &SaslAuthenticateRequest<'_>) -> SaslAuthenticateResponse<'static> {
    SaslAuthenticateResponse {
        error_code: ErrorCode::IllegalSaslState.code(),
        error_message: Some("SaslAuthenticate request received after successful authentication".into()),
        ..SaslAuthenticateResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::{Message, Writer};

    use super::*;

    fn bytes<'a>(reply: &impl Message<'a>, version: i16) -> Vec<u8> {
        let mut writer = Writer::with_capacity(reply.size(version).expect("the version carries it"));
        reply.encode(&mut writer, version);
        writer.buf
    }

    #[test]
    fn every_answer_is_that_of_kafka_on_a_plain_listener() {
        for version in 0..=1 {
            assert_eq!(bytes(&handshake(&SaslHandshakeRequest::default()), version), [0, 34, 0, 0, 0, 0]);
        }
        let reply = authenticate(&SaslAuthenticateRequest::default());
        let text = "SaslAuthenticate request received after successful authentication".as_bytes();
        assert_eq!(bytes(&reply, 0), [&[0, 34, 0, 65], text, &[0; 4]].concat());
        assert_eq!(bytes(&reply, 1), [&[0, 34, 0, 65], text, &[0; 12]].concat());
        assert_eq!(bytes(&reply, 2), [&[0, 34, 66], text, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat());
    }
}
