//! The schemas as data: messages, the structs inside them, their fields.
//!
//! Rules that are easily missed, all from Kafka's `FieldSpec`: a field without `versions` exists where it is tagged; a
//! default that is JSON's `null` is no default, while the text `"null"` is one; a struct is named by the type of the
//! field that declares it, and `commonStructs` are shared by the whole message.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::text;
use crate::versions::Versions;

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request of an api.
    Request,
    /// The answer of an api.
    Response,
    /// The header of requests or of responses.
    Header,
    /// A record of the metadata log.
    Metadata,
    /// The key of a record of a coordinator.
    CoordinatorKey,
    /// The value of a record of a coordinator.
    CoordinatorValue,
    /// Anything else that is kept on disk or inside other messages.
    Data,
}

/// The type of a value, or of the elements of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// `bool`, the integers, `float64` and `uuid`.
    Fixed {
        /// The Rust type.
        rust: &'static str,
        /// The name of the method of reader and writer.
        method: &'static str,
        /// Bytes on the wire.
        bytes: usize,
    },
    /// UTF-8 text.
    Text,
    /// Opaque bytes.
    Bytes,
    /// Record batches.
    Records,
    /// A struct of the same message, by name.
    Struct(String),
    /// An array of anything but arrays.
    Array(Box<Type>),
}

/// A field of a struct.
#[derive(Clone, Debug)]
pub struct Field {
    /// Kafka's name.
    pub name: String,
    /// Our name.
    pub rust: String,
    /// What it holds.
    pub of: Type,
    /// Where it exists.
    pub versions: Versions,
    /// Where it may be null.
    pub nullable: Versions,
    /// Where it is tagged; an open range or none.
    pub tagged: Versions,
    /// Its tag, when it has one.
    pub tag: u32,
    /// The default as written, the text `null` for null.
    pub default: String,
    /// True when a value may be dropped silently in a version without the field.
    pub ignorable: bool,
    /// True when the field keeps the old encoding in flexible versions.
    pub never_flexible: bool,
}

/// A struct of a message; the message itself is one.
#[derive(Clone, Debug)]
pub struct Struct {
    /// Kafka's name.
    pub name: String,
    /// In the order of the wire.
    pub fields: Vec<Field>,
    /// The versions in which the struct can be met.
    pub versions: Versions,
    /// True when it holds text, bytes or records, and so borrows from the frame.
    pub borrows: bool,
}

/// One schema.
#[derive(Clone, Debug)]
pub struct Message {
    /// Kafka's name.
    pub name: String,
    /// The Rust module.
    pub module: String,
    /// The directory of the schema: numbers of records are unique in one area alone.
    pub area: String,
    /// What it is for.
    pub kind: Kind,
    /// The number that Kafka gave it.
    pub api_key: Option<i16>,
    /// The versions that exist, the unstable one among them.
    pub valid: Versions,
    /// The versions with compact lengths and tagged fields.
    pub flexible: Versions,
    /// True when the last version may still change.
    pub latest_unstable: bool,
    /// The message first, then the structs in it by name.
    pub structs: Vec<Struct>,
}

impl Message {
    /// The struct called `name`.
    pub fn find(&self, name: &str) -> &Struct {
        self.structs
            .iter()
            .find(|s| s.name == name)
            .unwrap_or_else(|| panic!("{}: no struct {name}", self.name))
    }
}

/// Reads every schema below `dir`, ordered by name.
///
/// # Panics
/// When a schema cannot be read or is not understood.
pub fn load(dir: &Path) -> Vec<Message> {
    let mut messages = BTreeMap::new();
    for area in fs::read_dir(dir).expect("the schema directory is readable") {
        let area = area.expect("the schema directory is readable").path();
        if !area.is_dir() {
            continue;
        }
        for file in fs::read_dir(&area).expect("an area of schemas is readable") {
            let file = file.expect("an area of schemas is readable").path();
            if file.extension().is_none_or(|e| e != "json") {
                continue;
            }
            let text = fs::read_to_string(&file).expect("a schema is readable");
            let area_name = area.file_name().expect("an area has a name").to_string_lossy();
            let message = parse(&area_name, &text).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
            assert!(
                messages.insert(message.name.clone(), message).is_none(),
                "{} is there twice",
                file.display()
            );
        }
    }
    messages.into_values().collect()
}

/// Reads one schema; whole lines that are comments are allowed, as Kafka allows them.
pub fn parse(area: &str, text: &str) -> Result<Message, String> {
    let plain: String =
        text.lines().filter(|l| !l.trim_start().starts_with("//")).flat_map(|l| [l, "\n"]).collect();
    let json: Value = serde_json::from_str(&plain).map_err(|e| e.to_string())?;
    known_keys(&json, MESSAGE_KEYS)?;
    let name = string(&json, "name")?;
    let valid = versions(&json, "validVersions").ok_or("no validVersions")?;
    let flexible = versions(&json, "flexibleVersions").unwrap_or(Versions::NONE);
    if !flexible.is_empty() && flexible.high != i16::MAX {
        return Err("flexibleVersions must be open".into());
    }
    let mut declared = BTreeMap::new();
    for common in list(&json, "commonStructs") {
        let fields = fields(common, &mut declared)?;
        declare(&mut declared, string(common, "name")?, fields)?;
    }
    let top = fields(&json, &mut declared)?;
    declare(&mut declared, name.clone(), top)?;
    let mut message = Message {
        module: text::snake(&name),
        area: area.to_owned(),
        kind: kind(&string(&json, "type")?)?,
        api_key: json.get("apiKey").and_then(Value::as_i64).map(|k| k as i16),
        valid,
        flexible,
        latest_unstable: json.get("latestVersionUnstable").and_then(Value::as_bool).unwrap_or(false),
        structs: Vec::new(),
        name,
    };
    resolve(&mut message, declared)?;
    Ok(message)
}

const MESSAGE_KEYS: &[&str] = &[
    "apiKey",
    "type",
    "listeners",
    "name",
    "validVersions",
    "flexibleVersions",
    "deprecatedVersions",
    "latestVersionUnstable",
    "fields",
    "commonStructs",
    "about",
];

const FIELD_KEYS: &[&str] = &[
    "name",
    "type",
    "versions",
    "nullableVersions",
    "taggedVersions",
    "tag",
    "default",
    "ignorable",
    "entityType",
    "mapKey",
    "zeroCopy",
    "flexibleVersions",
    "fields",
    "about",
];

fn known_keys(json: &Value, known: &[&str]) -> Result<(), String> {
    let object = json.as_object().ok_or("not an object")?;
    match object.keys().find(|k| !known.contains(&k.as_str())) {
        Some(key) => Err(format!("unknown key {key}")),
        None => Ok(()),
    }
}

fn declare(all: &mut BTreeMap<String, Vec<Field>>, name: String, fields: Vec<Field>) -> Result<(), String> {
    match all.insert(name.clone(), fields) {
        Some(_) => Err(format!("struct {name} is declared twice")),
        None => Ok(()),
    }
}

fn kind(text: &str) -> Result<Kind, String> {
    Ok(match text {
        "request" => Kind::Request,
        "response" => Kind::Response,
        "header" => Kind::Header,
        "metadata" => Kind::Metadata,
        "coordinator-key" => Kind::CoordinatorKey,
        "coordinator-value" => Kind::CoordinatorValue,
        "data" => Kind::Data,
        other => return Err(format!("unknown message type {other}")),
    })
}

fn fields(json: &Value, declared: &mut BTreeMap<String, Vec<Field>>) -> Result<Vec<Field>, String> {
    list(json, "fields").iter().map(|f| field(f, declared)).collect()
}

fn field(json: &Value, declared: &mut BTreeMap<String, Vec<Field>>) -> Result<Field, String> {
    known_keys(json, FIELD_KEYS)?;
    let name = string(json, "name")?;
    let of = of(&string(json, "type")?)?;
    if json.get("fields").is_some() {
        let inner = fields(json, declared)?;
        let struct_name = struct_of(&of).ok_or(format!("{name} has fields and is no struct"))?;
        declare(declared, struct_name.to_owned(), inner)?;
    }
    let tagged = versions(json, "taggedVersions").unwrap_or(Versions::NONE);
    let own = versions(json, "versions").or((!tagged.is_empty()).then_some(tagged));
    let tag = json.get("tag").and_then(Value::as_u64);
    if tagged.is_empty() != tag.is_none() || !(tagged.is_empty() || tagged.high == i16::MAX) {
        return Err(format!("{name}: a tag needs taggedVersions, and these must be open"));
    }
    Ok(Field {
        rust: text::field(&name),
        versions: own.ok_or(format!("{name} has no versions"))?,
        nullable: versions(json, "nullableVersions").unwrap_or(Versions::NONE),
        tagged,
        tag: tag.unwrap_or(0) as u32,
        default: default(json),
        ignorable: json.get("ignorable").and_then(Value::as_bool).unwrap_or(false),
        never_flexible: json.get("flexibleVersions").is_some_and(|v| v == "none"),
        of,
        name,
    })
}

fn default(json: &Value) -> String {
    match json.get("default") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn of(text: &str) -> Result<Type, String> {
    if let Some(element) = text.strip_prefix("[]") {
        return match of(element)? {
            Type::Array(_) => Err("an array of arrays".into()),
            element => Ok(Type::Array(Box::new(element))),
        };
    }
    let fixed = |rust, method, bytes| Ok(Type::Fixed { rust, method, bytes });
    match text {
        "bool" => fixed("bool", "bool", 1),
        "int8" => fixed("i8", "i8", 1),
        "int16" => fixed("i16", "i16", 2),
        "uint16" => fixed("u16", "u16", 2),
        "int32" => fixed("i32", "i32", 4),
        "uint32" => fixed("u32", "u32", 4),
        "int64" => fixed("i64", "i64", 8),
        "float64" => fixed("f64", "f64", 8),
        "uuid" => fixed("Uuid", "uuid", 16),
        "string" => Ok(Type::Text),
        "bytes" => Ok(Type::Bytes),
        "records" => Ok(Type::Records),
        name if name.starts_with(|c: char| c.is_ascii_uppercase()) => Ok(Type::Struct(name.to_owned())),
        other => Err(format!("unknown type {other}")),
    }
}

fn struct_of(of: &Type) -> Option<&str> {
    match of {
        Type::Struct(name) => Some(name),
        Type::Array(element) => struct_of(element),
        Type::Fixed { .. } | Type::Text | Type::Bytes | Type::Records => None,
    }
}

/// Finds in which versions each struct is met and which of them borrow.
fn resolve(message: &mut Message, declared: BTreeMap<String, Vec<Field>>) -> Result<(), String> {
    let mut reach: BTreeMap<String, Versions> = BTreeMap::new();
    let mut todo = vec![(message.name.clone(), message.valid, 0)];
    while let Some((name, versions, depth)) = todo.pop() {
        if depth > 16 {
            return Err(format!("{name} holds itself"));
        }
        let known = reach.entry(name.clone()).or_insert(Versions::NONE);
        *known = known.hull(versions);
        let fields = declared.get(&name).ok_or(format!("no struct {name}"))?;
        for field in fields {
            if !field.tagged.is_empty() && holds_records(&field.of, &declared) {
                return Err(format!("{}: record batches are never tagged", field.name));
            }
            if let Some(inner) = struct_of(&field.of) {
                todo.push((inner.to_owned(), versions.and(field.versions), depth + 1));
            }
        }
    }
    let mut structs = Vec::new();
    for (name, fields) in &declared {
        let versions = *reach.get(name).ok_or(format!("struct {name} is never used"))?;
        let borrows = borrows(name, &declared);
        structs.push(Struct { name: name.clone(), fields: fields.clone(), versions, borrows });
    }
    structs.sort_by_key(|s| (s.name != message.name, s.name.clone()));
    message.structs = structs;
    Ok(())
}

fn holds_records(of: &Type, declared: &BTreeMap<String, Vec<Field>>) -> bool {
    match of {
        Type::Records => true,
        Type::Array(element) => holds_records(element, declared),
        Type::Struct(name) => {
            declared.get(name).is_some_and(|fields| fields.iter().any(|f| holds_records(&f.of, declared)))
        }
        Type::Fixed { .. } | Type::Text | Type::Bytes => false,
    }
}

fn borrows(name: &str, declared: &BTreeMap<String, Vec<Field>>) -> bool {
    fn type_borrows(of: &Type, declared: &BTreeMap<String, Vec<Field>>) -> bool {
        match of {
            Type::Fixed { .. } => false,
            Type::Text | Type::Bytes | Type::Records => true,
            Type::Struct(name) => borrows(name, declared),
            Type::Array(element) => type_borrows(element, declared),
        }
    }
    declared[name].iter().any(|f| type_borrows(&f.of, declared))
}

fn string(json: &Value, key: &str) -> Result<String, String> {
    json.get(key).and_then(Value::as_str).map(str::to_owned).ok_or(format!("no {key}"))
}

fn versions(json: &Value, key: &str) -> Option<Versions> {
    json.get(key).and_then(Value::as_str).map(Versions::parse)
}

fn list<'a>(json: &'a Value, key: &str) -> &'a [Value] {
    json.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field_of(field: &str) -> Result<Field, String> {
        let text = format!(
            r#"// A comment.
            {{"name": "XRequest", "type": "request", "apiKey": 1, "validVersions": "0-3", "flexibleVersions": "2+",
              "fields": [{field}]}}"#
        );
        parse("rpc", &text).map(|m| m.structs[0].fields[0].clone())
    }

    #[test]
    fn null_as_json_is_no_default_and_null_as_text_is() {
        let default = |d| {
            let text = format!(
                r#"{{"name": "A", "type": "string", "versions": "0+", "nullableVersions": "0+", "default": {d}}}"#
            );
            field_of(&text).map(|f| f.default)
        };
        assert_eq!(default("null"), Ok(String::new()));
        assert_eq!(default("\"null\""), Ok("null".to_owned()));
        assert_eq!(default("-1"), Ok("-1".to_owned()));
    }

    #[test]
    fn a_field_without_versions_is_where_it_is_tagged() {
        let field = field_of(r#"{"name": "A", "type": "int8", "taggedVersions": "2+", "tag": 0}"#);
        assert_eq!(field.map(|f| f.versions), Ok(Versions::parse("2+")));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let refused = |field: &str| field_of(field).expect_err("the schema is wrong");
        assert!(
            refused(r#"{"name": "A", "type": "int8", "versions": "0+", "new": 1}"#)
                .contains("unknown key new")
        );
        assert!(refused(r#"{"name": "A", "type": "int9", "versions": "0+"}"#).contains("unknown type int9"));
        assert!(
            refused(r#"{"name": "A", "type": "[][]int8", "versions": "0+"}"#).contains("array of arrays")
        );
        assert!(
            refused(r#"{"name": "A", "type": "Missing", "versions": "0+"}"#).contains("no struct Missing")
        );
        assert!(
            refused(r#"{"name": "A", "type": "int8", "versions": "0+", "tag": 1}"#)
                .contains("taggedVersions")
        );
        let tagged =
            r#"{"name": "A", "type": "records", "versions": "2+", "taggedVersions": "2+", "tag": 0}"#;
        assert!(refused(tagged).contains("never tagged"));
        assert!(refused(r#"{"name": "A", "type": "int8"}"#).contains("no versions"));
    }

    #[test]
    fn a_struct_is_met_where_its_field_is() {
        let text = r#"{"name": "XRequest", "type": "request", "apiKey": 1, "validVersions": "0-9",
            "fields": [{"name": "A", "type": "[]B", "versions": "3-7", "fields": [
                {"name": "C", "type": "D", "versions": "5+", "fields": [
                    {"name": "E", "type": "string", "versions": "0+"}]}]}]}"#;
        let message = parse("rpc", text).expect("the schema is right");
        assert_eq!(message.find("B").versions, Versions::parse("3-7"));
        assert_eq!(message.find("D").versions, Versions::parse("5-7"));
        assert!(message.structs.iter().all(|s| s.borrows));
        assert_eq!(message.structs[0].name, "XRequest");
    }
}
