//! From what was measured and found to settings: what background work may take of the disk, and what must be smaller
//! than its default because the machine is.
//!
//! Pure. What must hold: every key is one that the broker acts on, and every value one that it accepts; a setting
//! stands there only where the machine asks for it.

use super::ceiling::Ceiling;
use super::cpu::{Cpus, Shards};
use super::memory;

/// The share of the disk's slower direction that compaction may take, reading and writing together: the rest is for
/// producers and consumers.
const BACKGROUND_SHARE: f64 = 0.25;
/// The least that compaction gets, in bytes per second: below it a log that grows slowly is never done.
const BACKGROUND_MIN: f64 = 1_048_576.0;
/// The share of the memory that the newest blocks of all shards may take where the default is too much.
const CACHE_SHARE: u64 = 8;
/// The same for the cleaner's keys.
const KEYS_SHARE: u64 = 16;
const MIB: u64 = 1 << 20;

/// A setting, and the formula behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: &'static str,
    /// The value.
    pub value: String,
    /// Where it comes from: the formula with its figures.
    pub formula: String,
}

/// What the machine asks for, for a broker with these shards. `memory`: the least of its memory and the control group's
/// limit, in bytes.
#[must_use]
pub fn settings(ceilings: &[Ceiling], cpus: Cpus, shards: Shards, memory: Option<u64>) -> Vec<Setting> {
    let mut settings = Vec::new();
    let Shards { count: shards, configured } = shards;
    settings.extend(background(ceilings, shards));
    if !configured && shards < cpus.allowed {
        let formula =
            format!("{:.2} cores' worth of time for {} cpus", cpus.quota.unwrap_or(0.0), cpus.allowed);
        settings.push(Setting { key: "shards", value: shards.to_string(), formula });
    }
    if let Some(memory) = memory.filter(|memory| *memory < memory::wanted(shards)) {
        let cache = (memory / CACHE_SHARE / shards).clamp(MIB, 32 * MIB);
        let formula = format!("{} MiB of memory / {CACHE_SHARE} / {shards} shards", memory / MIB);
        settings.push(Setting { key: "ottla.tail.cache.bytes", value: cache.to_string(), formula });
        let keys = (memory / KEYS_SHARE).clamp(2 * MIB, 128 * MIB);
        let formula = format!("{} MiB of memory / {KEYS_SHARE}", memory / MIB);
        settings.push(Setting { key: "log.cleaner.dedupe.buffer.size", value: keys.to_string(), formula });
    }
    settings
}

/// The setting is the whole process's; its formula says what that is for a shard.
fn background(ceilings: &[Ceiling], shards: u64) -> Option<Setting> {
    let slower = |ceiling: &Ceiling| Some(ceiling.appended()?.min(ceiling.read()?));
    let slowest = ceilings.iter().filter_map(slower).min_by(f64::total_cmp)?;
    let rate = (slowest * BACKGROUND_SHARE).max(BACKGROUND_MIN).round();
    let formula = format!(
        "{:.0} MB/s, the slower of durable appends and direct reads on the slowest log dir, x {BACKGROUND_SHARE}; \
        {:.0} MB/s for each of {shards} shards",
        slowest / 1e6,
        rate / 1e6 / shards as f64,
    );
    Some(Setting { key: "log.cleaner.io.max.bytes.per.second", value: format!("{rate:.0}"), formula })
}

/// The properties file. `guesses`: what was measured in place of something else, a sentence each.
#[must_use]
pub fn properties(settings: &[Setting], guesses: &[String]) -> String {
    let mut text = String::from(
        "# Written by `ottla tune` for this machine. Append it to server.properties, or give it with --override.\n",
    );
    for guess in guesses {
        text.push_str(&format!("# A guess, for {guess}.\n"));
    }
    for Setting { key, value, formula } in settings {
        text.push_str(&format!("\n# {formula}\n{key}={value}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ottla::config::{BrokerConfig, Layers, properties};
    use ottla_shards::tune::{Figure, Load, Measured, Step};

    use super::*;

    fn ceiling(append_mb: u64, read_mb: u64) -> Ceiling {
        let load = Load { bytes: 1_000_000, depth: 1 };
        let figure = |operations| Figure {
            load,
            operations,
            elapsed: Duration::from_secs(1),
            p50: Duration::from_millis(1),
            p99: Duration::from_millis(1),
        };
        let measured = vec![
            Measured { step: Step::Append(load), figure: figure(append_mb) },
            Measured { step: Step::Read(load), figure: figure(read_mb) },
        ];
        Ceiling { dir: "data".into(), measured }
    }

    /// The shards of a broker whose configuration says nothing about them.
    fn own(cpus: Cpus) -> Shards {
        Shards { count: cpus.shards(), configured: false }
    }

    fn value<'a>(settings: &'a [Setting], key: &str) -> Option<&'a str> {
        settings.iter().find(|setting| setting.key == key).map(|setting| setting.value.as_str())
    }

    #[test]
    fn background_work_gets_a_quarter_of_the_slowest_direction_of_the_slowest_disk() {
        let cpus = Cpus { allowed: 4, quota: None };
        let settings = settings(&[ceiling(800, 900), ceiling(500, 400)], cpus, own(cpus), Some(64 << 30));
        assert_eq!(value(&settings, "log.cleaner.io.max.bytes.per.second"), Some("100000000"));
        assert_eq!(settings.len(), 1, "this machine needs nothing else: {settings:?}");
        assert!(settings[0].formula.contains("25 MB/s for each of 4 shards"), "{}", settings[0].formula);
        let crawling = super::settings(&[ceiling(1, 1)], cpus, own(cpus), None);
        assert_eq!(value(&crawling, "log.cleaner.io.max.bytes.per.second"), Some("1048576"));
        assert_eq!(super::settings(&[], cpus, own(cpus), None), [], "nothing was measured");
    }

    #[test]
    fn shards_that_are_configured_are_reckoned_with_and_not_written() {
        let cpus = Cpus { allowed: 16, quota: Some(2.5) };
        let of = |text: &str| {
            let file = properties::parse(text).expect("they are properties");
            let config = BrokerConfig::new(&Layers { file: Some(file), ..Layers::default() });
            Shards::of(&config.expect("the broker accepts it"), cpus)
        };
        assert_eq!(of(""), own(cpus));
        assert_eq!(of("cpus=0-3"), Shards { count: 4, configured: true });
        assert_eq!(of("cpus=0-3\nshards=8"), Shards { count: 8, configured: true });
        let settings = super::settings(&[ceiling(800, 800)], cpus, of("shards=8"), Some(256 << 20));
        assert_eq!(value(&settings, "shards"), None);
        assert_eq!(value(&settings, "ottla.tail.cache.bytes"), Some("4194304"));
        assert!(settings[0].formula.contains("25 MB/s for each of 8 shards"), "{}", settings[0].formula);
    }

    #[test]
    fn small_machines_get_fewer_shards_and_smaller_caches_that_the_broker_accepts() {
        let cpus = Cpus { allowed: 16, quota: Some(2.5) };
        let settings = settings(&[ceiling(100, 100)], cpus, own(cpus), Some(256 << 20));
        assert_eq!(value(&settings, "shards"), Some("2"));
        assert_eq!(value(&settings, "ottla.tail.cache.bytes"), Some("16777216"));
        assert_eq!(value(&settings, "log.cleaner.dedupe.buffer.size"), Some("16777216"));
        let file = properties::parse(&super::properties(&settings, &[])).expect("the broker accepts it");
        assert_eq!(file.len(), 4, "comments are comments");
        let config = BrokerConfig::new(&Layers { file: Some(file), ..Layers::default() })
            .expect("the broker accepts it");
        assert_eq!(config.runtime.shards, Some(2));
        assert_eq!(config.runtime.tail_cache_bytes, 16 << 20);
        assert_eq!(config.cleaner.io_bytes_per_second_max, 25e6);
        assert_eq!(config.cleaner.dedupe_buffer_bytes, 16 << 20);
        let notes = format!("{:?}", config.start_notes());
        assert!(!notes.contains("log.cleaner") && !notes.contains("ottla."), "every key acts: {notes}");
        let cpus = Cpus { allowed: 1, quota: Some(0.2) };
        let tiny = super::settings(&[], cpus, own(cpus), Some(16 << 20));
        assert_eq!(value(&tiny, "ottla.tail.cache.bytes"), Some("2097152"));
        assert_eq!(
            value(&tiny, "log.cleaner.dedupe.buffer.size"),
            Some("2097152"),
            "above the least for a thread"
        );
    }
}
