//! The method that reads a struct: one straight line of fields, then the tagged section.

use std::fmt::Write;

use crate::schema::{Field, Message, Struct, Type};
use crate::structs::{default_value, flexible, optional};
use crate::versions::{Test, Versions};

/// Writes `read`.
pub fn method(out: &mut String, message: &Message, one: &Struct) {
    out.push_str("fn read(r: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {\n");
    let _ = writeln!(out, "let flex = {};", flexible(message, one));
    let mut rest = &one.fields[..];
    while let Some(first) = rest.first() {
        let test = untagged(first).test(one.versions);
        let together = rest.iter().take_while(|f| untagged(f).test(one.versions) == test).count();
        group(out, message, one, (&test, &rest[..together]));
        rest = &rest[together..];
    }
    tagged_section(out, message, one);
    let names: Vec<String> = one.fields.iter().map(|f| format!("{}: {}", f.rust, local(f))).collect();
    let _ = writeln!(out, "Ok(Self {{ {} }})\n}}", names.join(", "));
}

/// Where the field stands in the line, outside the tagged section.
pub fn untagged(field: &Field) -> Versions {
    field.versions.before(field.tagged)
}

/// The variable that holds the field while the struct is read: a field may be called `version` as well.
fn local(field: &Field) -> String {
    format!("f_{}", field.rust)
}

fn binding(field: &Field, one: &Struct) -> String {
    let tagged = !field.tagged.and(one.versions).is_empty();
    format!("{}{}", if tagged { "mut " } else { "" }, local(field))
}

fn group(out: &mut String, message: &Message, one: &Struct, (test, fields): (&Test, &[Field])) {
    match test {
        Test::Always => fields.iter().for_each(|f| {
            let _ = writeln!(out, "let {} = {};", binding(f, one), value(message, one, f));
        }),
        Test::Never => fields.iter().for_each(|f| {
            let _ = writeln!(out, "let {} = {};", binding(f, one), default_value(message, f));
        }),
        Test::When(condition) => {
            for f in fields {
                let _ = writeln!(out, "let {};", binding(f, one));
            }
            let _ = writeln!(out, "if {condition} {{");
            for f in fields {
                let _ = writeln!(out, "{} = {};", local(f), value(message, one, f));
            }
            out.push_str("} else {\n");
            for f in fields {
                let _ = writeln!(out, "{} = {};", local(f), default_value(message, f));
            }
            out.push_str("}\n");
        }
    }
}

/// The expression that reads one field.
fn value(message: &Message, one: &Struct, field: &Field) -> String {
    let flex = if field.never_flexible { "false" } else { "flex" };
    let here = field.versions.and(one.versions);
    if !optional(field) {
        return plain(&field.of, flex);
    }
    let nullable = field.nullable.test(here);
    let read = match &field.of {
        Type::Text => format!("r.nullable_string({flex})?"),
        Type::Bytes => format!("r.nullable_bytes({flex})?"),
        Type::Records => format!("r.nullable_records({flex})?"),
        Type::Array(element) => array(element, flex, "nullable_"),
        Type::Struct(name) => {
            assert_eq!(nullable, Test::Always, "{}.{}: null in some versions only", message.name, field.name);
            return format!("if r.i8()? < 0 {{ None }} else {{ Some({name}::read(r, version)?) }}");
        }
        Type::Fixed { .. } => unreachable!("{}.{} cannot be null", message.name, field.name),
    };
    match nullable {
        Test::Always => read,
        Test::Never => format!("not_null(true, {read})?"),
        Test::When(condition) => format!("not_null(!({condition}), {read})?"),
    }
}

fn plain(of: &Type, flex: &str) -> String {
    match of {
        Type::Fixed { method, .. } => format!("r.{method}()?"),
        Type::Text => format!("r.string({flex})?"),
        Type::Bytes => format!("r.bytes({flex})?"),
        Type::Records => unreachable!("records are optional"),
        Type::Struct(name) => format!("{name}::read(r, version)?"),
        Type::Array(element) => array(element, flex, ""),
    }
}

fn array(element: &Type, flex: &str, nullable: &str) -> String {
    match element {
        Type::Fixed { method, .. } => format!("r.{nullable}{method}_array({flex})?"),
        Type::Text => format!("r.{nullable}string_array({flex})?"),
        Type::Struct(name) => format!("{nullable}structs::<{name}>(r, version, {flex})?"),
        Type::Bytes | Type::Records | Type::Array(_) => panic!("no array of bytes is known to Kafka"),
    }
}

fn tagged_section(out: &mut String, message: &Message, one: &Struct) {
    if message.flexible.and(one.versions).is_empty() {
        return;
    }
    let tagged: Vec<&Field> = one.fields.iter().filter(|f| !f.tagged.and(one.versions).is_empty()).collect();
    if tagged.is_empty() {
        out.push_str("if flex { r.skip_tags()?; }\n");
        return;
    }
    out.push_str(
        "if flex {\nlet mut tags = r.tags()?;\nwhile let Some(tag) = r.next_tag(&mut tags)? {\nmatch tag {\n",
    );
    for field in tagged {
        let within = one.versions.and(message.flexible);
        let read = tagged_value(message, one, field);
        let tag = field.tag;
        match field.tagged.test(within) {
            Test::Always => {
                let _ = writeln!(out, "{tag} => {} = {read},", local(field));
            }
            Test::When(condition) => {
                let _ = writeln!(out, "{tag} if {condition} => {} = {read},", local(field));
                let _ =
                    writeln!(out, "{tag} => return Err(DecodeError::TagNotInVersion {{ tag, version }}),");
            }
            Test::Never => unreachable!("filtered above"),
        }
    }
    out.push_str("_ => r.skip_tag(&tags),\n}\nr.end_tag(&tags)?;\n}\n}\n");
}

fn tagged_value(message: &Message, one: &Struct, field: &Field) -> String {
    match &field.of {
        Type::Struct(name) if optional(field) => {
            format!("if r.varint()? == 0 {{ None }} else {{ Some({name}::read(r, version)?) }}")
        }
        _ => value(message, one, field),
    }
}
