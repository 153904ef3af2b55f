//! The modules, the structs and their defaults.

use std::fmt::Write;

use crate::schema::{Field, Message, Struct, Type};
use crate::versions::Versions;
use crate::{Options, arbitrary, decode, encode, json, size};

/// Writes the module of one message.
pub fn module(out: &mut String, message: &Message, options: Options) {
    let doc = format!("`{}`, versions {}.", message.name, range_text(message.valid));
    let _ = writeln!(out, "/// {doc}");
    let _ = writeln!(out, "#[allow(clippy::all, missing_docs, unused)]\npub mod {} {{", message.module);
    out.push_str("use std::borrow::Cow;\nuse crate::generated_prelude::*;\n");
    for one in &message.structs {
        declare(out, message, one);
        default(out, message, one);
        let lifetime = lifetime(one);
        let _ = writeln!(out, "impl<'a> Part<'a> for {}{lifetime} {{", one.name);
        min_wire(out, message, one);
        decode::method(out, message, one);
        size::method(out, message, one);
        encode::method(out, message, one);
        out.push_str("}\n");
        if json::has_json(message) {
            json::implementation(out, message, one);
        }
        if options.arbitrary {
            arbitrary::implementation(out, message, one);
        }
    }
    message_impl(out, message);
    out.push_str("}\n");
}

fn range_text(versions: Versions) -> String {
    if versions.is_empty() { "none".to_owned() } else { format!("{} to {}", versions.low, versions.high) }
}

fn message_impl(out: &mut String, message: &Message) {
    let top = &message.structs[0];
    let flexible = if message.flexible.is_empty() { i16::MAX } else { message.flexible.low };
    let _ = writeln!(
        out,
        "impl<'a> Message<'a> for {name}{lifetime} {{\n\
         const NAME: &'static str = \"{name}\";\n\
         const VERSIONS: RangeInclusive<i16> = RangeInclusive::new({low}, {high});\n\
         const FLEXIBLE_FROM: i16 = {flexible};\n\
         const API_KEY: Option<i16> = {key:?};\n}}",
        name = top.name,
        lifetime = lifetime(top),
        low = message.valid.low,
        high = message.valid.high,
        key = message.api_key,
    );
}

/// `<'a>` for a struct that borrows.
pub fn lifetime(one: &Struct) -> &'static str {
    if one.borrows { "<'a>" } else { "" }
}

/// True when the field is an `Option` in Rust.
pub fn optional(field: &Field) -> bool {
    !field.nullable.is_empty() || field.of == Type::Records
}

/// The condition under which a struct has compact lengths, as Rust.
pub fn flexible(message: &Message, one: &Struct) -> String {
    message.flexible.test(one.versions).rust()
}

/// The Rust type of a value.
pub fn rust_type(message: &Message, of: &Type) -> String {
    match of {
        Type::Fixed { rust, .. } => (*rust).to_owned(),
        Type::Text => "Cow<'a, str>".to_owned(),
        Type::Bytes => "Cow<'a, [u8]>".to_owned(),
        Type::Records => "Records<'a>".to_owned(),
        Type::Struct(name) => format!("{name}{}", lifetime(message.find(name))),
        Type::Array(element) => format!("Vec<{}>", rust_type(message, element)),
    }
}

fn declare(out: &mut String, message: &Message, one: &Struct) {
    let derived = if one.fields.iter().all(natural_default) { ", Default" } else { "" };
    let _ = writeln!(
        out,
        "#[derive(Clone, Debug, PartialEq{derived})]\npub struct {}{} {{",
        one.name,
        lifetime(one)
    );
    for field in &one.fields {
        let inner = rust_type(message, &field.of);
        let whole = if optional(field) { format!("Option<{inner}>") } else { inner };
        let _ = writeln!(out, "pub {}: {whole},", field.rust);
    }
    out.push_str("}\n");
}

fn natural_default(field: &Field) -> bool {
    if optional(field) {
        return default_is_null(field);
    }
    matches!(field.default.as_str(), "" | "0" | "false")
}

/// True when the default of an optional field is null.
pub fn default_is_null(field: &Field) -> bool {
    field.default == "null" || field.of == Type::Records
}

fn default(out: &mut String, message: &Message, one: &Struct) {
    if one.fields.iter().all(natural_default) {
        return;
    }
    let lifetime = lifetime(one);
    let generic = if one.borrows { "<'a>" } else { "" };
    let _ = writeln!(
        out,
        "impl{generic} Default for {}{lifetime} {{\nfn default() -> Self {{\nSelf {{",
        one.name
    );
    for field in &one.fields {
        let _ = writeln!(out, "{}: {},", field.rust, default_value(message, field));
    }
    out.push_str("}\n}\n}\n");
}

/// The default of a field as Rust.
pub fn default_value(message: &Message, field: &Field) -> String {
    if optional(field) && default_is_null(field) {
        return "None".to_owned();
    }
    let value = match &field.of {
        Type::Fixed { rust, .. } => fixed_default(rust, &field.default),
        Type::Text => format!("Cow::Borrowed({:?})", field.default),
        Type::Bytes => "Cow::Borrowed(&[])".to_owned(),
        Type::Records => unreachable!("records are null by default"),
        Type::Struct(name) => format!("{name}::default()"),
        Type::Array(_) => "Vec::new()".to_owned(),
    };
    let takes_text = matches!(field.of, Type::Text | Type::Fixed { .. });
    assert!(takes_text || field.default.is_empty(), "{}.{}: odd default", message.name, field.name);
    if optional(field) { format!("Some({value})") } else { value }
}

fn fixed_default(rust: &str, text: &str) -> String {
    match (rust, text) {
        ("bool", "" | "false") => "false".to_owned(),
        ("bool", "true") => "true".to_owned(),
        ("Uuid", "") => "Uuid::ZERO".to_owned(),
        ("f64", "") => "0.0".to_owned(),
        (_, "") => "0".to_owned(),
        (_, number) => {
            let digits = number.trim_start_matches('-').trim_start_matches("0x");
            assert!(digits.chars().all(|c| c.is_ascii_hexdigit()), "odd default {number}");
            number.to_owned()
        }
    }
}

/// The condition that a field has another value than its default, as Rust.
pub fn differs_from_default(message: &Message, field: &Field) -> String {
    let this = format!("self.{}", field.rust);
    if optional(field) {
        if default_is_null(field) {
            return format!("{this}.is_some()");
        }
        return match &field.of {
            Type::Text => format!("{this}.as_deref() != Some({:?})", field.default),
            Type::Bytes | Type::Array(_) => format!("{this}.as_ref().is_none_or(|v| !v.is_empty())"),
            Type::Struct(name) => format!("{this}.as_ref() != Some(&{name}::default())"),
            Type::Fixed { .. } | Type::Records => unreachable!("{} cannot be null", message.name),
        };
    }
    match &field.of {
        Type::Fixed { rust: "bool", .. } if field.default == "true" => format!("!{this}"),
        Type::Fixed { rust: "bool", .. } => this,
        Type::Text if !field.default.is_empty() => format!("{this} != {:?}", field.default),
        Type::Text | Type::Bytes | Type::Array(_) => format!("!{this}.is_empty()"),
        Type::Fixed { .. } | Type::Struct(_) | Type::Records => {
            format!("{this} != {}", default_value(message, field))
        }
    }
}

/// The method that tells the fewest bytes of a value in each version in which it is met.
fn min_wire(out: &mut String, message: &Message, one: &Struct) {
    out.push_str("fn min_wire(version: i16) -> usize {\n");
    let mut version = one.versions.high;
    while version > one.versions.low {
        let bytes = min_wire_at(message, one, version);
        while version > one.versions.low && min_wire_at(message, one, version - 1) == bytes {
            version -= 1;
        }
        if version > one.versions.low {
            let _ = writeln!(out, "if version >= {version} {{ return {bytes}; }}");
            version -= 1;
        }
    }
    let _ = writeln!(out, "{}\n}}", min_wire_at(message, one, one.versions.low));
}

fn min_wire_at(message: &Message, one: &Struct, version: i16) -> usize {
    let flexible = message.flexible.contains(version);
    let fields: usize = one
        .fields
        .iter()
        .filter(|f| f.versions.contains(version) && !f.tagged.contains(version))
        .map(|f| min_of_field(message, f, version))
        .sum();
    fields + usize::from(flexible)
}

fn min_of_field(message: &Message, field: &Field, version: i16) -> usize {
    let compact = message.flexible.contains(version) && !field.never_flexible;
    match &field.of {
        Type::Fixed { bytes, .. } => *bytes,
        Type::Text => {
            if compact {
                1
            } else {
                2
            }
        }
        Type::Bytes | Type::Records | Type::Array(_) => {
            if compact {
                1
            } else {
                4
            }
        }
        Type::Struct(_) if optional(field) => 1,
        Type::Struct(name) => min_wire_at(message, message.find(name), version),
    }
}
