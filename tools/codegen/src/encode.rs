//! The method that writes a struct. It cannot fail: the measuring pass has refused whatever cannot be written.

use std::fmt::Write;

use crate::decode::untagged;
use crate::schema::{Field, Message, Struct, Type};
use crate::size::{in_tag_order, present};
use crate::structs::{flexible, optional};
use crate::versions::Test;

/// Writes `write`.
pub fn method(out: &mut String, message: &Message, one: &Struct) {
    out.push_str("fn write(&self, w: &mut Writer, version: i16) {\n");
    let _ = writeln!(out, "let flex = {};", flexible(message, one));
    let mut rest = &one.fields[..];
    while let Some(first) = rest.first() {
        let test = untagged(first).test(one.versions);
        let together = rest.iter().take_while(|f| untagged(f).test(one.versions) == test).count();
        let (group, after) = rest.split_at(together);
        rest = after;
        match &test {
            Test::Never => {}
            Test::Always => group.iter().for_each(|f| field(out, f, false)),
            Test::When(condition) => {
                let _ = writeln!(out, "if {condition} {{");
                group.iter().for_each(|f| field(out, f, false));
                out.push_str("}\n");
            }
        }
    }
    tagged_section(out, message, one);
    out.push_str("}\n");
}

fn field(out: &mut String, field: &Field, tagged: bool) {
    let this = format!("self.{}", field.rust);
    let flex = if field.never_flexible { "false" } else { "flex" };
    if !optional(field) {
        let _ = writeln!(out, "{};", plain(&field.of, &this, flex));
        return;
    }
    let _ = match &field.of {
        Type::Text => writeln!(out, "w.nullable_string({this}.as_deref(), {flex});"),
        Type::Bytes => writeln!(out, "w.nullable_bytes({this}.as_deref(), {flex});"),
        Type::Records => writeln!(out, "w.nullable_records({this}.as_ref(), {flex});"),
        Type::Array(_) => {
            let some = plain(&field.of, "v", flex);
            writeln!(out, "match &{this} {{ Some(v) => {some}, None => w.null({flex}) }}")
        }
        Type::Struct(_) => {
            let (there, none) = if tagged { ("w.varint(1)", "w.varint(0)") } else { ("w.i8(1)", "w.i8(-1)") };
            writeln!(out, "match &{this} {{ Some(v) => {{ {there}; v.write(w, version) }} None => {none} }}")
        }
        Type::Fixed { .. } => unreachable!("{} cannot be null", field.name),
    };
}

fn plain(of: &Type, this: &str, flex: &str) -> String {
    let borrowed = if this == "v" { "v".to_owned() } else { format!("&{this}") };
    match of {
        Type::Fixed { method, .. } => format!("w.{method}({this})"),
        Type::Text => format!("w.string({borrowed}, {flex})"),
        Type::Bytes => format!("w.bytes({borrowed}, {flex})"),
        Type::Records => unreachable!("records are optional"),
        Type::Struct(_) => format!("{this}.write(w, version)"),
        Type::Array(element) => match &**element {
            Type::Fixed { method, .. } => format!("w.{method}_array({borrowed}, {flex})"),
            Type::Text => format!("w.string_array({borrowed}, {flex})"),
            Type::Struct(_) => format!("write_structs(w, {borrowed}, version, {flex})"),
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
        out.push_str("if flex { w.varint(0); }\n");
        return;
    }
    out.push_str("if flex {\n");
    for f in &tagged {
        let _ = writeln!(out, "let tag{} = {};", f.tag, present(message, one, f));
    }
    let count: Vec<String> = tagged.iter().map(|f| format!("u32::from(tag{})", f.tag)).collect();
    let _ = writeln!(out, "w.varint({});", count.join(" + "));
    for f in &tagged {
        let _ = writeln!(out, "if tag{0} {{\nlet at = w.begin_tag({0});", f.tag);
        field(out, f, true);
        out.push_str("w.end_tag(at);\n}\n");
    }
    out.push_str("}\n");
}
