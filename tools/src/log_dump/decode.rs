//! Keys and values as text: plain, or as the records of one of Kafka's own topics.

use ottla_wire::consumer_protocol_assignment::ConsumerProtocolAssignment;
use ottla_wire::consumer_protocol_subscription::ConsumerProtocolSubscription;
use ottla_wire::{
    DecodeError, Json, Message, MetadataRecord, ToJson, coordinator_key_json, coordinator_value_json,
    decode_version, metadata_frame,
};

use super::{DumpArgs, DumpError};

/// The package of Kafka's decoders.
const PACKAGE: &str = "org.apache.kafka.tools.api.";
/// The version of every key of a coordinator.
const KEY_VERSION: i16 = 0;
/// The kind of record that holds a classic group.
const GROUP_METADATA: i16 = 2;

/// How bytes of one kind become text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    /// UTF-8, with a mark in place of what is none.
    Text,
    /// Four bytes.
    Integer,
    /// Eight bytes.
    Long,
}

/// How records become text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoder {
    /// Keys and values by themselves.
    Plain {
        /// The keys.
        key: Plain,
        /// The values.
        value: Plain,
    },
    /// The records of a coordinator, by the area of its schemas.
    Coordinator(&'static str),
    /// The records of the metadata log.
    Metadata,
}

/// A record's key and value as text, where there is one.
pub type Decoded = (Option<String>, Option<String>);

impl Decoder {
    /// The decoder that the flags name; of several, the first in Kafka's order.
    pub fn of(args: &DumpArgs) -> Result<Decoder, DumpError> {
        if args.offsets_decoder {
            return Ok(Decoder::Coordinator("group"));
        }
        if args.transaction_log_decoder {
            return Ok(Decoder::Coordinator("transaction"));
        }
        if args.cluster_metadata_decoder {
            return Ok(Decoder::Metadata);
        }
        if args.remote_log_metadata_decoder {
            return Err(DumpError::Refused(
                "--remote-log-metadata-decoder: there is no tiered storage here, and its records are not read"
                    .to_owned(),
            ));
        }
        if args.share_group_state_decoder {
            return Ok(Decoder::Coordinator("share"));
        }
        let class = |given: &Option<Option<String>>| Plain::of(given.as_ref().and_then(Option::as_deref));
        Ok(Decoder::Plain { key: class(&args.key_decoder_class)?, value: class(&args.value_decoder_class)? })
    }

    /// Whether contents are to be printed at all.
    pub fn is_asked_for(self, args: &DumpArgs) -> bool {
        args.print_data_log
            || args.key_decoder_class.is_some()
            || args.value_decoder_class.is_some()
            || !matches!(self, Decoder::Plain { .. })
    }

    /// The text of a record.
    ///
    /// # Errors
    /// Where Kafka's tool ends too: a key that is missing, a number of another size.
    pub fn decode(self, offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Decoded, DumpError> {
        match self {
            Decoder::Plain { key: of_key, value: of_value } => {
                let text =
                    |decoder: Plain, bytes: Option<&[u8]>| bytes.map(|bytes| decoder.text(bytes)).transpose();
                Ok((text(of_key, key)?, text(of_value, value)?))
            }
            Decoder::Coordinator(area) => {
                let Some(key) = key else {
                    return Err(DumpError::Refused(format!(
                        "Failed to decode message at offset {offset} using the specified decoder (message had a \
                         missing key)"
                    )));
                };
                Ok(coordinator(area, offset, key, value))
            }
            Decoder::Metadata => {
                let text = metadata(value.unwrap_or_default());
                Ok((None, Some(text.unwrap_or_else(|error| format!("Error at {offset}, skipping. {error}")))))
            }
        }
    }
}

impl Plain {
    fn of(class: Option<&str>) -> Result<Plain, DumpError> {
        let Some(class) = class else { return Ok(Plain::Text) };
        match class.strip_prefix(PACKAGE) {
            Some("StringDecoder") => Ok(Plain::Text),
            Some("IntegerDecoder") => Ok(Plain::Integer),
            Some("LongDecoder") => Ok(Plain::Long),
            _ => Err(DumpError::Refused(format!(
                "Failed to load decoder class {class}: there are {PACKAGE}StringDecoder, {PACKAGE}IntegerDecoder and \
                 {PACKAGE}LongDecoder"
            ))),
        }
    }

    fn text(self, bytes: &[u8]) -> Result<String, DumpError> {
        let short = |need: usize| {
            DumpError::Refused(format!("a number of {need} bytes cannot be read from {}", bytes.len()))
        };
        match self {
            Plain::Text => Ok(String::from_utf8_lossy(bytes).into_owned()),
            Plain::Integer => {
                let first = bytes.first_chunk().ok_or_else(|| short(4))?;
                Ok(i32::from_be_bytes(*first).to_string())
            }
            Plain::Long => {
                let first = bytes.first_chunk().ok_or_else(|| short(8))?;
                Ok(i64::from_be_bytes(*first).to_string())
            }
        }
    }
}

fn coordinator(area: &str, offset: i64, key: &[u8], value: Option<&[u8]>) -> Decoded {
    match coordinator_parts(area, key, value) {
        Ok((key, value)) => (Some(key), Some(value.unwrap_or_else(|| "<DELETE>".to_owned()))),
        Err(DecodeError::UnknownRecord { api_key }) => {
            (Some(format!("Unknown record type {api_key} at offset {offset}, skipping.")), None)
        }
        Err(error) => (Some(format!("Error at offset {offset}, skipping. {error}")), None),
    }
}

fn coordinator_parts(
    area: &str,
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<(String, Option<String>), DecodeError> {
    let (kind, mut reader) = decode_version(key)?;
    let data = coordinator_key_json(area, kind, KEY_VERSION, &mut reader)?;
    let key = Json::Object(vec![("type", Json::Text(kind.to_string())), ("data", data)]);
    let Some(value) = value else { return Ok((key.to_string(), None)) };
    let (version, mut reader) = decode_version(value)?;
    let mut data = coordinator_value_json(area, kind, version, &mut reader)?;
    if area == "group" && kind == GROUP_METADATA {
        show_members(&mut data);
    }
    let value = Json::Object(vec![("version", Json::Text(version.to_string())), ("data", data)]);
    Ok((key.to_string(), Some(value.to_string())))
}

fn field<'j>(json: &'j mut Json, name: &str) -> Option<&'j mut Json> {
    let Json::Object(fields) = json else { return None };
    fields.iter_mut().find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// Shows what consumers said to one another, where a group's members are consumers.
fn show_members(group: &mut Json) {
    if field(group, "protocolType") != Some(&mut Json::Text("consumer".to_owned())) {
        return;
    }
    let Some(Json::List(members)) = field(group, "members") else { return };
    for member in members {
        show(member, "subscription", |bytes| {
            let (version, mut reader) = decode_version(bytes).ok()?;
            Some(ConsumerProtocolSubscription::decode(&mut reader, version).ok()?.json(version))
        });
        show(member, "assignment", |bytes| {
            let (version, mut reader) = decode_version(bytes).ok()?;
            Some(ConsumerProtocolAssignment::decode(&mut reader, version).ok()?.json(version))
        });
    }
}

fn show(member: &mut Json, name: &str, read: impl Fn(&[u8]) -> Option<Json>) {
    let Some(value) = field(member, name) else { return };
    if let Json::Bytes(bytes) = value
        && let Some(shown) = read(bytes)
    {
        *value = shown;
    }
}

fn metadata(value: &[u8]) -> Result<String, DecodeError> {
    let (_, version, _) = metadata_frame::decode(value)?;
    let record = MetadataRecord::decode(value)?;
    let json = Json::Object(vec![
        ("type", Json::Text(constant(record.name()))),
        ("version", Json::Int(i64::from(version))),
        ("data", record.json(version)),
    ]);
    Ok(json.to_string())
}

/// A name as Java's constants are written.
fn constant(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 8);
    for (place, character) in name.char_indices() {
        if place > 0 && character.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(character.to_ascii_uppercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_javas() {
        assert_eq!(constant("NoOpRecord"), "NO_OP_RECORD");
        assert_eq!(constant("UserScramCredentialRecord"), "USER_SCRAM_CREDENTIAL_RECORD");
    }

    #[test]
    fn plain_values_are_text_or_numbers() {
        assert_eq!(Plain::Text.text(b"a\xffb").expect("anything is text"), "a\u{fffd}b");
        assert_eq!(Plain::Integer.text(&[255, 255, 255, 254, 9]).expect("four bytes"), "-2");
        assert_eq!(Plain::Long.text(&[0, 0, 0, 0, 0, 0, 1, 0]).expect("eight bytes"), "256");
        assert!(Plain::Long.text(b"short").is_err());
    }

    #[test]
    fn decoders_are_named_as_kafka_names_them() {
        let named = |class: &str| Plain::of(Some(class));
        assert_eq!(named("org.apache.kafka.tools.api.LongDecoder").expect("known"), Plain::Long);
        let refused = named("org.example.Mine").expect_err("unknown").to_string();
        assert!(refused.contains("Failed to load decoder class org.example.Mine"), "{refused}");
        assert!(
            named("org.apache.kafka.tools.api.DefaultDecoder").is_err(),
            "Kafka prints addresses with it"
        );
        assert_eq!(Plain::of(None).expect("the default"), Plain::Text);
    }

    #[test]
    fn records_that_are_none_are_named() {
        let group = Decoder::Coordinator("group");
        assert!(group.decode(3, None, None).is_err());
        let (key, value) = group.decode(3, Some(&[0, 99]), None).expect("a line");
        assert_eq!(key.as_deref(), Some("Unknown record type 99 at offset 3, skipping."));
        assert_eq!(value, None);
        let (key, _) = group.decode(4, Some(&[0]), None).expect("a line");
        assert!(key.expect("a line").starts_with("Error at offset 4, skipping. "));
        let (_, value) = Decoder::Metadata.decode(5, None, Some(b"x")).expect("a line");
        assert!(value.expect("a line").starts_with("Error at 5, skipping. "));
    }
}
