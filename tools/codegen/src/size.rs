//! The method that measures a struct: the first pass of encoding, and the one that refuses.

use std::fmt::Write;

use crate::decode::untagged;
use crate::schema::{Field, Message, Struct, Type};
use crate::structs::{differs_from_default, flexible, optional};
use crate::versions::Test;

/// Writes `measure`.
pub fn method(out: &mut String, message: &Message, one: &Struct) {
    out.push_str("fn measure(&self, version: i16) -> Result<usize, EncodeError> {\n");
    let _ = writeln!(out, "let flex = {};\nlet mut n = 0usize;", flexible(message, one));
    refuse_absent(out, message, one);
    let mut rest = &one.fields[..];
    while let Some(first) = rest.first() {
        let test = untagged(first).test(one.versions);
        let together = rest.iter().take_while(|f| untagged(f).test(one.versions) == test).count();
        if test != Test::Never {
            group(out, one, (&test, &rest[..together]));
        }
        rest = &rest[together..];
    }
    tagged_section(out, message, one);
    out.push_str("Ok(n)\n}\n");
}

/// A field that this version does not have must be at its default, unless the schema calls it ignorable.
fn refuse_absent(out: &mut String, message: &Message, one: &Struct) {
    for field in one.fields.iter().filter(|f| !f.ignorable) {
        let differs = differs_from_default(message, field);
        let name = &field.name;
        let refusal = format!("{{ return Err(EncodeError::Unsupported {{ field: {name:?}, version }}); }}");
        let _ = match field.versions.test(one.versions) {
            Test::Always => Ok(()),
            Test::Never => writeln!(out, "if {differs} {refusal}"),
            Test::When(condition) => writeln!(out, "if !({condition}) && {differs} {refusal}"),
        };
    }
}

fn group(out: &mut String, one: &Struct, (test, fields): (&Test, &[Field])) {
    if let Test::When(condition) = test {
        let _ = writeln!(out, "if {condition} {{");
    }
    let mut fixed = 0;
    for field in fields {
        match &field.of {
            Type::Fixed { bytes, .. } => fixed += bytes,
            _ => add(out, one, field),
        }
    }
    if fixed > 0 {
        let _ = writeln!(out, "n += {fixed};");
    }
    if matches!(test, Test::When(_)) {
        out.push_str("}\n");
    }
}

fn add(out: &mut String, one: &Struct, field: &Field) {
    let here = field.versions.and(one.versions);
    if optional(field) {
        let refusal = format!("return Err(EncodeError::Null {{ field: {:?}, version }});", field.name);
        let this = &field.rust;
        let _ = match field.nullable.test(here) {
            Test::Always => Ok(()),
            Test::Never => writeln!(out, "if self.{this}.is_none() {{ {refusal} }}"),
            Test::When(c) => writeln!(out, "if !({c}) && self.{this}.is_none() {{ {refusal} }}"),
        };
    }
    let _ = writeln!(out, "n += {};", value(field));
}

/// The expression for the bytes of one field.
fn value(field: &Field) -> String {
    let flex = if field.never_flexible { "false" } else { "flex" };
    if !optional(field) {
        return plain(field, &field.of, &format!("&self.{}", field.rust), flex);
    }
    let some = plain(field, &field.of, "v", flex);
    let none = match &field.of {
        Type::Text => format!("size::null_string({flex})"),
        Type::Struct(_) => {
            return format!("1 + match &self.{} {{ Some(v) => {some}, None => 0 }}", field.rust);
        }
        Type::Bytes | Type::Records | Type::Array(_) => format!("size::null({flex})"),
        Type::Fixed { .. } => unreachable!("{} cannot be null", field.name),
    };
    format!("match &self.{} {{ Some(v) => {some}, None => {none} }}", field.rust)
}

fn plain(field: &Field, of: &Type, this: &str, flex: &str) -> String {
    let name = &field.name;
    let this_dot = this.trim_start_matches('&');
    match of {
        Type::Fixed { bytes, .. } => bytes.to_string(),
        Type::Text => format!("size::string({name:?}, {this}, {flex})?"),
        Type::Bytes => format!("size::bytes({name:?}, {this}, {flex})?"),
        Type::Records => format!("size::records({name:?}, {this}, {flex})?"),
        Type::Struct(_) => format!("{this_dot}.measure(version)?"),
        Type::Array(element) => match &**element {
            Type::Fixed { bytes, .. } => format!("size::fixed_array({this_dot}.len(), {bytes}, {flex})"),
            Type::Text => format!("size::strings({name:?}, {this}, {flex})?"),
            Type::Struct(_) => format!("size::structs({this}, version, {flex})?"),
            Type::Bytes | Type::Records | Type::Array(_) => panic!("no array of bytes is known to Kafka"),
        },
    }
}

fn tagged_section(out: &mut String, message: &Message, one: &Struct) {
    if message.flexible.and(one.versions).is_empty() {
        return;
    }
    let tagged = in_tag_order(one);
    if tagged.is_empty() {
        out.push_str("if flex { n += 1; }\n");
        return;
    }
    out.push_str("if flex {\nlet mut tags = 0usize;\n");
    for field in tagged {
        let present = present(message, one, field);
        let _ = writeln!(out, "if {present} {{\nlet len = {};\ntags += 1;", value(field));
        let _ = writeln!(out, "n += size::tag({}, len);\n}}", field.tag);
    }
    out.push_str("n += size::varint(tags);\n}\n");
}

/// The fields that are tagged in some version, by tag.
pub fn in_tag_order(one: &Struct) -> Vec<&Field> {
    let mut tagged: Vec<&Field> =
        one.fields.iter().filter(|f| !f.tagged.and(one.versions).is_empty()).collect();
    tagged.sort_by_key(|f| f.tag);
    assert!(tagged.windows(2).all(|w| w[0].tag < w[1].tag), "{}: a tag is there twice", one.name);
    tagged
}

/// The condition under which a tagged field is written, inside a flexible version.
pub fn present(message: &Message, one: &Struct, field: &Field) -> String {
    let differs = differs_from_default(message, field);
    match field.tagged.test(one.versions.and(message.flexible)) {
        Test::Always => differs,
        Test::When(condition) => format!("{condition} && {differs}"),
        Test::Never => unreachable!("filtered by in_tag_order"),
    }
}
