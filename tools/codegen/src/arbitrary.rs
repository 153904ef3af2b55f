//! Random values of every struct, for the tests: only what a version can carry is filled in.

use std::fmt::Write;

use crate::schema::{Field, Message, Struct, Type};
use crate::structs::{default_value, lifetime, optional};
use crate::versions::Test;

/// Writes the implementation of `Arbitrary`.
pub fn implementation(out: &mut String, message: &Message, one: &Struct) {
    let _ = writeln!(out, "impl<'a> Arbitrary for {}{} {{", one.name, lifetime(one));
    out.push_str("fn arbitrary(rng: &mut Rng, version: i16) -> Self {\nSelf {\n");
    for field in &one.fields {
        let value = value(one, field);
        let default = default_value(message, field);
        let _ = match field.versions.test(one.versions) {
            Test::Always => writeln!(out, "{}: {value},", field.rust),
            Test::Never => writeln!(out, "{}: {default},", field.rust),
            Test::When(c) => writeln!(out, "{}: if {c} {{ {value} }} else {{ {default} }},", field.rust),
        };
    }
    out.push_str("}\n}\n}\n");
}

fn value(one: &Struct, field: &Field) -> String {
    let value = plain(&field.of);
    if !optional(field) {
        return value;
    }
    match field.nullable.test(field.versions.and(one.versions)) {
        Test::Always => format!("rng.maybe(|rng| {value})"),
        Test::Never => format!("Some({value})"),
        Test::When(c) => format!("if {c} {{ rng.maybe(|rng| {value}) }} else {{ Some({value}) }}"),
    }
}

fn plain(of: &Type) -> String {
    match of {
        Type::Fixed { method, .. } => format!("rng.{method}()"),
        Type::Text => "rng.text()".to_owned(),
        Type::Bytes => "rng.bytes()".to_owned(),
        Type::Records => "Records::Inline(rng.bytes())".to_owned(),
        Type::Struct(name) => format!("{name}::arbitrary(rng, version)"),
        Type::Array(element) => format!("rng.many(|rng| {})", plain(element)),
    }
}
