//! What is written over all messages together: the api keys, the metadata records, the walks over everything.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::json;
use crate::schema::{Kind, Message};
use crate::structs::lifetime;

/// Writes the parts that know every message.
pub fn write(out: &mut String, messages: &[Message]) {
    let apis = apis(messages);
    api_keys(out, &apis);
    decode_any(out, &apis);
    metadata_records(out, messages);
    json::lookups(out, messages);
    for_each(out, messages);
}

struct Api<'m> {
    name: &'m str,
    request: &'m Message,
    response: &'m Message,
}

fn apis(messages: &[Message]) -> BTreeMap<i16, Api<'_>> {
    let mut apis = BTreeMap::new();
    for request in messages.iter().filter(|m| m.kind == Kind::Request) {
        let name = request.name.strip_suffix("Request").expect("a request is called so");
        let key = request.api_key.expect("a request has an api key");
        let response = messages
            .iter()
            .find(|m| m.kind == Kind::Response && m.api_key == Some(key))
            .expect("every request has its response");
        assert_eq!(response.valid, request.valid, "{name}: request and response have the same versions");
        assert!(apis.insert(key, Api { name, request, response }).is_none(), "api key {key} is there twice");
    }
    apis
}

fn api_keys(out: &mut String, apis: &BTreeMap<i16, Api<'_>>) {
    out.push_str(
        "/// Every api of Kafka's protocol, by its number on the wire.\n\
         #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\n#[repr(i16)]\npub enum ApiKey {\n",
    );
    for (key, api) in apis {
        let _ = writeln!(out, "/// Api key {key}.\n{} = {key},", api.name);
    }
    let _ = writeln!(out, "}}\n#[allow(clippy::all)]\nimpl ApiKey {{");
    let names: Vec<String> = apis.values().map(|a| format!("ApiKey::{}", a.name)).collect();
    let _ = writeln!(
        out,
        "/// All of them, by number.\npub const ALL: [ApiKey; {}] = [{}];",
        names.len(),
        names.join(", ")
    );
    out.push_str(
        "/// The api with this number.\npub fn from_code(code: i16) -> Option<ApiKey> {\nSome(match code {\n",
    );
    for (key, api) in apis {
        let _ = writeln!(out, "{key} => ApiKey::{},", api.name);
    }
    out.push_str("_ => return None,\n})\n}\n");
    out.push_str(
        "/// Kafka's name of the api, without `Request`.\
    \npub const fn name(self) -> &'static str {\nmatch self {\n",
    );
    for api in apis.values() {
        let _ = writeln!(out, "ApiKey::{0} => \"{0}\",", api.name);
    }
    out.push_str("}\n}\n");
    out.push_str("pub(crate) const fn facts(self) -> ApiFacts {\nmatch self {\n");
    for api in apis.values() {
        let (r, s) = (api.request, api.response);
        let from = |m: &Message| if m.flexible.is_empty() { i16::MAX } else { m.flexible.low };
        let _ = writeln!(
            out,
            "ApiKey::{} => ApiFacts {{ low: {}, high: {}, unstable: {}, \
            request_flexible: {}, response_flexible: {} }},",
            api.name,
            r.valid.low,
            r.valid.high,
            r.latest_unstable,
            from(r),
            from(s)
        );
    }
    out.push_str("}\n}\n}\n");
}

fn decode_any(out: &mut String, apis: &BTreeMap<i16, Api<'_>>) {
    for (what, response) in [("request", false), ("response", true)] {
        let _ = writeln!(
            out,
            "/// Decodes the whole body of a {what} and drops it: what a test needs to reach every decoder.\n\
             #[allow(clippy::all)]\npub fn decode_{what}_any(api: ApiKey, version: i16, \
             body: &[u8]) -> Result<(), DecodeError> {{\n\
             let r = &mut Reader::new(body);\nmatch api {{"
        );
        for api in apis.values() {
            let m = if response { api.response } else { api.request };
            let _ =
                writeln!(out, "ApiKey::{} => {{ {}::{}::decode(r, version)?; }}", api.name, m.module, m.name);
        }
        out.push_str("}\nr.finish()\n}\n");
    }
}

fn metadata_records(out: &mut String, messages: &[Message]) {
    // The tiered storage has records of the same kind with numbers of their own, in another log.
    let mut records = BTreeMap::new();
    for m in messages.iter().filter(|m| m.kind == Kind::Metadata && m.area == "metadata") {
        let key = m.api_key.expect("a metadata record has an api key");
        assert!(records.insert(key, m).is_none(), "metadata record {key} is there twice");
    }
    out.push_str(
        "/// The records of the metadata log.\n#[allow(clippy::all, missing_docs, unused)]\npub mod metadata_record {\n\
         use crate::*;\nuse crate::generated_prelude::*;\n\
         /// One record of the metadata log, without its frame.\n#[derive(Clone, Debug, PartialEq)]\n\
         pub enum MetadataRecord<'a> {\n",
    );
    for m in records.values() {
        let _ = writeln!(out, "{0}({1}::{0}{2}),", m.name, m.module, lifetime(&m.structs[0]));
    }
    out.push_str("}\nimpl<'a> MetadataRecord<'a> {\n");
    metadata_facts(out, &records);
    metadata_codec(out, &records);
    out.push_str("}\n}\n");
}

fn match_all(
    out: &mut String,
    head: &str,
    records: &BTreeMap<i16, &Message>,
    arm: impl Fn(&Message) -> String,
) {
    let _ = writeln!(out, "{head} {{\nmatch self {{");
    for m in records.values() {
        let _ = writeln!(out, "Self::{}{},", m.name, arm(m));
    }
    out.push_str("}\n}\n");
}

fn metadata_facts(out: &mut String, records: &BTreeMap<i16, &Message>) {
    let head = "/// The number of this kind of record.\npub fn api_key(&self) -> i16";
    match_all(out, head, records, |m| format!("(_) => {}", m.api_key.unwrap_or_default()));
    let head = "/// Kafka's name of this kind of record.\npub fn name(&self) -> &'static str";
    match_all(out, head, records, |m| format!("(_) => {:?}", m.name));
    let head = "/// The highest version of this kind of record.\npub fn highest_version(&self) -> i16";
    match_all(out, head, records, |m| format!("(_) => {}", m.valid.high));
}

fn metadata_codec(out: &mut String, records: &BTreeMap<i16, &Message>) {
    let head = "/// The message as JSON, without the frame.\npub fn json(&self, version: i16) -> Json";
    match_all(out, head, records, |_| "(m) => m.json(version)".to_owned());
    let head = "/// The bytes of the message in `version`, without the frame.\n\
                pub(crate) fn size(&self, version: i16) -> Result<usize, EncodeError>";
    match_all(out, head, records, |_| "(m) => m.size(version)".to_owned());
    let head = "pub(crate) fn write(&self, w: &mut Writer, version: i16)";
    match_all(out, head, records, |_| "(m) => m.encode(w, version)".to_owned());
    out.push_str(
        "/// Reads the message behind a frame whose api key and version are known.\n\
         pub(crate) fn read(api_key: i16, r: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {\n\
         Ok(match api_key {\n",
    );
    for (key, m) in records {
        let _ = writeln!(out, "{key} => Self::{0}({1}::{0}::decode(r, version)?),", m.name, m.module);
    }
    out.push_str("other => return Err(DecodeError::UnknownRecord { api_key: other }),\n})\n}\n");
}

fn for_each(out: &mut String, messages: &[Message]) {
    out.push_str(
        "/// Calls `$each!(module, Message)` for every message that has a version: how a test walks over all of them.\n\
         #[macro_export]\nmacro_rules! for_each_message {\n($each:ident) => {\n",
    );
    for m in messages.iter().filter(|m| !m.valid.is_empty()) {
        let _ = writeln!(out, "$each!({}, {});", m.module, m.name);
    }
    out.push_str("};\n}\n");
    out.push_str(
        "/// Calls `$each!(Api, request_module, Request, response_module, Response)` \
        for every api that has a version.\n\
         #[macro_export]\nmacro_rules! for_each_api {\n($each:ident) => {\n",
    );
    for api in apis(messages).values().filter(|a| !a.request.valid.is_empty()) {
        let (r, s) = (api.request, api.response);
        let _ = writeln!(out, "$each!({}, {}, {}, {}, {});", api.name, r.module, r.name, s.module, s.name);
    }
    out.push_str("};\n}\n");
}
