//! The method that gives a struct as JSON, for the kinds of message that people look at in a dump: what Kafka's
//! `JsonConverterGenerator` writes, field by field in the order of the schema.

use std::fmt::Write;

use crate::schema::{Field, Kind, Message, Struct, Type};
use crate::structs::{differs_from_default, lifetime, optional};
use crate::versions::Test;

/// The messages outside of the logs' record kinds that stand in dumps: control records, and what members of a group
/// say to one another.
const OTHERS: &[&str] = &[
    "ConsumerProtocolAssignment",
    "ConsumerProtocolSubscription",
    "KRaftVersionRecord",
    "LeaderChangeMessage",
    "SnapshotFooterRecord",
    "SnapshotHeaderRecord",
    "VotersRecord",
];

/// Whether a message can be given as JSON.
pub fn has_json(message: &Message) -> bool {
    match message.kind {
        Kind::Metadata => message.area == "metadata",
        Kind::CoordinatorKey | Kind::CoordinatorValue => true,
        Kind::Request | Kind::Response | Kind::Header | Kind::Data => OTHERS.contains(&message.name.as_str()),
    }
}

/// Writes `json`.
pub fn implementation(out: &mut String, message: &Message, one: &Struct) {
    let lifetime = if lifetime(one).is_empty() { "" } else { "<'_>" };
    let _ = writeln!(
        out,
        "impl ToJson for {}{lifetime} {{\nfn json(&self, version: i16) -> Json {{\nlet mut fields = Vec::new();",
        one.name
    );
    for field in &one.fields {
        let push = format!("fields.push(({:?}, {}));", name(&field.name), value(field));
        let push = match field.tagged.test(one.versions) {
            Test::Never => push,
            Test::Always => format!("if {} {{ {push} }}", differs_from_default(message, field)),
            Test::When(tagged) => {
                format!("if !({tagged}) || {} {{ {push} }}", differs_from_default(message, field))
            }
        };
        let _ = match field.versions.test(one.versions) {
            Test::Never => Ok(()),
            Test::Always => writeln!(out, "{push}"),
            Test::When(exists) => writeln!(out, "if {exists} {{ {push} }}"),
        };
    }
    out.push_str("Json::Object(fields)\n}\n}\n");
}

/// Kafka's name of a field, with a small letter in front.
fn name(field: &str) -> String {
    let mut chars = field.chars();
    let first = chars.next().expect("a field has a name");
    first.to_ascii_lowercase().to_string() + chars.as_str()
}

fn value(field: &Field) -> String {
    let this = format!("self.{}", field.rust);
    if optional(field) {
        return format!("match &{this} {{ Some(v) => {}, None => Json::Null }}", of(&field.of, "v"));
    }
    match &field.of {
        Type::Fixed { .. } => fixed(&field.of, &this),
        other => of(other, &this),
    }
}

/// The value of an expression; one that names a fixed value is a reference.
fn of(of_type: &Type, this: &str) -> String {
    match of_type {
        Type::Fixed { .. } => fixed(of_type, &format!("*{this}")),
        Type::Text => format!("Json::Text({this}.to_string())"),
        Type::Bytes => format!("Json::Bytes({this}.to_vec())"),
        Type::Records => unreachable!("no record kind holds batches"),
        Type::Struct(_) => format!("{this}.json(version)"),
        Type::Array(element) => {
            format!("Json::List({this}.iter().map(|v| {}).collect())", of(element, "v"))
        }
    }
}

fn fixed(of_type: &Type, this: &str) -> String {
    let Type::Fixed { rust, .. } = of_type else { unreachable!("only fixed values come here") };
    match *rust {
        "bool" => format!("Json::Bool({this})"),
        "f64" => format!("Json::Float({this})"),
        "Uuid" => format!("Json::Text(({this}).to_string())"),
        _ => format!("Json::Int(i64::from({this}))"),
    }
}

/// Writes the functions that find a message by the area and number of a record.
pub fn lookups(out: &mut String, messages: &[Message]) {
    for (what, kind) in [("key", Kind::CoordinatorKey), ("value", Kind::CoordinatorValue)] {
        let _ = writeln!(
            out,
            "/// The {what} of a record of a coordinator as JSON: `area` is the directory of its schemas, `kind` its\n\
             /// number there. The reader stands behind the version and afterwards at the message's end.\n\
             #[allow(clippy::all)]\n\
             pub fn coordinator_{what}_json(area: &str, kind: i16, version: i16, r: &mut Reader<'_>) -> \
             Result<Json, DecodeError> {{\nOk(match (area, kind) {{"
        );
        for m in messages.iter().filter(|m| m.kind == kind) {
            let key = m.api_key.expect("a coordinator's record has a number");
            let _ = writeln!(
                out,
                "({:?}, {key}) => {}::{}::decode(r, version)?.json(version),",
                m.area, m.module, m.name
            );
        }
        out.push_str("_ => return Err(DecodeError::UnknownRecord { api_key: kind }),\n})\n}\n");
    }
}
