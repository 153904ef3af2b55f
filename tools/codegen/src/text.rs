//! Names: how Kafka's names look in Rust.

const KEYWORDS: &[&str] = &[
    "as", "async", "await", "box", "break", "const", "continue", "crate", "do", "dyn", "else", "enum",
    "extern", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "match", "mod", "move", "mut",
    "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true", "try",
    "type", "typeof", "unsafe", "use", "virtual", "where", "while", "yield",
];

/// `TopicId` ⇒ `topic_id`, `KRaftVersion` ⇒ `k_raft_version`.
pub fn snake(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::with_capacity(name.len() + 8);
    for (i, c) in chars.iter().enumerate() {
        if c.is_ascii_uppercase() && i > 0 {
            let after_lower = !chars[i - 1].is_ascii_uppercase();
            let before_lower = chars.get(i + 1).is_some_and(|n| n.is_ascii_lowercase());
            if after_lower || before_lower {
                out.push('_');
            }
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// The name of a field: snake case, and a trailing underscore where Rust has the word for itself.
pub fn field(name: &str) -> String {
    let mut out = snake(name);
    if KEYWORDS.contains(&out.as_str()) {
        out.push('_');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_snake_case() {
        assert_eq!(snake("TopicId"), "topic_id");
        assert_eq!(snake("timeoutMs"), "timeout_ms");
        assert_eq!(snake("KRaftVersionRecord"), "k_raft_version_record");
        assert_eq!(snake("ISRNodes"), "isr_nodes");
    }

    #[test]
    fn keywords_get_an_underscore() {
        assert_eq!(field("Type"), "type_");
        assert_eq!(field("Match"), "match_");
        assert_eq!(field("Types"), "types");
    }
}
