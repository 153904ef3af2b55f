//! Figures as a page of text: for a terminal with colours and bars, or plain.
//!
//! Pure; no shard owns it and nothing is on disk. No line is longer than the width that is asked for.

use std::fmt::Write;
use std::time::Duration;

use crate::output::cut_to;

use super::figures::{Figures, Journey, ShardRow, Spread};

/// How a page is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal.
    pub columns: usize,
    /// Lines of it; what does not fit is left out, the shards first.
    pub lines: usize,
    /// Colours and bold type.
    pub colours: bool,
}

impl Style {
    /// Without a terminal: nothing is left out.
    pub const PLAIN: Style = Style { columns: 100, lines: usize::MAX, colours: false };
}

/// The eighths of a column.
const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
/// The longest bar.
const BAR_COLUMNS: usize = 30;
/// The columns of a stage's line in front of its bar.
const BEFORE_BAR: usize = 60;

/// What a line is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Head,
    /// The stage that takes most of the time.
    Most,
    Alarm,
}

/// Draws a page; `place` is where it came from. Every line ends with a line break.
#[must_use]
pub fn draw(figures: &Figures, place: &str, style: Style) -> String {
    let mut lines = vec![(Kind::Head, title(figures, place))];
    lines.extend(alarms(figures).map(|line| (Kind::Alarm, line)));
    lines.push((Kind::Plain, String::new()));
    let mut rest = Vec::new();
    for journey in &figures.journeys {
        rest.push((Kind::Plain, String::new()));
        rest.extend(journey_lines(journey, figures.interval, style));
    }
    rest.push((Kind::Plain, String::new()));
    rest.extend(commit_lines(figures));
    let room = style.lines.saturating_sub(lines.len() + rest.len());
    lines.extend(shard_lines(figures, room));
    lines.extend(rest);
    let mut text = String::new();
    for (kind, line) in lines.iter().take(style.lines) {
        write_line(&mut text, *kind, line, style);
    }
    text
}

fn write_line(text: &mut String, kind: Kind, line: &str, style: Style) {
    let line = cut_to(line, style.columns);
    let code = match kind {
        Kind::Plain => None,
        Kind::Head => Some("1"),
        Kind::Most => Some("1;33"),
        Kind::Alarm => Some("1;31"),
    };
    let written = match code.filter(|_| style.colours && !line.is_empty()) {
        Some(code) => writeln!(text, "\x1b[{code}m{line}\x1b[0m"),
        None => writeln!(text, "{line}"),
    };
    written.expect("a string takes everything");
}

fn title(figures: &Figures, place: &str) -> String {
    format!(
        "Ottla {} at {place}   up {}   cpu {:.0} %   memory {:.1} MiB   last {:.1} s",
        figures.version,
        duration(figures.up),
        figures.cpu * 100.0,
        figures.resident / f64::from(1 << 20),
        figures.interval,
    )
}

fn alarms(figures: &Figures) -> impl Iterator<Item = String> {
    let offline = (figures.offline_dirs > 0.0).then(|| {
        format!("{:.0} log directories are OFFLINE: the broker's log says why", figures.offline_dirs)
    });
    let errors = (figures.errors > 0.0)
        .then(|| format!("{:.1} errors/s: ottla_errors_total says which", figures.errors));
    offline.into_iter().chain(errors)
}

fn shard_lines(figures: &Figures, room: usize) -> Vec<(Kind, String)> {
    let head = format!(
        "{:>5} {:>10} {:>9} {:>10} {:>7} {:>8} {:>7} {:>9} {:>7} {:>7}",
        "shard",
        "requests/s",
        "rec/s in",
        "rec/s out",
        "MB/s in",
        "MB/s out",
        "clients",
        "commits/s",
        "stall",
        "queued"
    );
    let mut lines = vec![(Kind::Head, head)];
    // The sum says most of it where not all have room.
    let shown = match figures.shards.len() {
        1 => 0,
        shards => shards.min(room.saturating_sub(2)),
    };
    lines.extend(figures.shards.iter().take(shown).map(|row| (Kind::Plain, shard_line(row))));
    lines.push((Kind::Plain, shard_line(&figures.all)));
    lines
}

fn shard_line(row: &ShardRow) -> String {
    format!(
        "{:>5} {:>10} {:>9} {:>10} {:>7} {:>8} {:>7} {:>9} {:>7} {:>7}",
        row.shard,
        number(row.requests),
        number(row.records),
        fetched(row),
        decimals(row.bytes_in / 1e6),
        decimals(row.bytes_out / 1e6),
        number(row.connections),
        number(row.commits),
        time(Some(row.stall)),
        number(row.queued),
    )
}

/// The records that are sent; a plus says that there are more, from files, which are not counted.
fn fetched(row: &ShardRow) -> String {
    let more = if row.fetched_uncounted > 0.0 { "+" } else { "" };
    format!("{}{more}", number(row.fetched))
}

fn spread_line(name: &str, spread: &Spread) -> String {
    let quantile = |part| time(spread.quantile(part));
    format!("{name:>12} {:>10} {:>10} {:>10}", quantile(0.5), quantile(0.99), quantile(0.999))
}

fn journey_lines(journey: &Journey, interval: f64, style: Style) -> Vec<(Kind, String)> {
    if journey.is_empty() {
        return vec![(Kind::Head, format!("{:>12} {:>10}", journey.name, "none"))];
    }
    let rate = number(journey.whole.count / interval);
    let head =
        format!("{:>12} {:>10} {:>10} {:>10}   share of the time", journey.name, "p50", "p99", "p99.9");
    let mut lines = vec![(Kind::Head, head)];
    let most = journey.stages.iter().map(|stage| stage.share).fold(0.0, f64::max);
    for stage in &journey.stages {
        let percent = match stage.share {
            share if share > 0.0 => format!("{:>5.1} %", share * 100.0),
            _ => String::new(),
        };
        let bar_columns = style.columns.saturating_sub(BEFORE_BAR).min(BAR_COLUMNS);
        let line = format!(
            "{}  {percent:>7} {}",
            spread_line(stage.name, &stage.spread),
            bar(stage.share, bar_columns)
        );
        let is_most = most > 0.0 && stage.share >= most;
        lines.push((if is_most { Kind::Most } else { Kind::Plain }, line));
    }
    lines.push((Kind::Plain, format!("{}   {rate} requests/s", spread_line("whole", &journey.whole))));
    lines
}

fn commit_lines(figures: &Figures) -> Vec<(Kind, String)> {
    let head = format!("{:>12} {:>10} {:>10} {:>10}", "disk writes", "p50", "p99", "p99.9");
    let mut lines = vec![(Kind::Head, head)];
    lines.extend(figures.commits.iter().map(|(kind, spread)| {
        let rate = number(spread.count / figures.interval);
        (Kind::Plain, format!("{}   {rate}/s", spread_line(kind, spread)))
    }));
    lines
}

/// A bar for a part of one, in eighths of a column.
fn bar(part: f64, columns: usize) -> String {
    let eighths = (part.clamp(0.0, 1.0) * columns as f64 * 8.0).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[eighths % 8]);
    }
    bar
}

/// A count with its thousands apart; one decimal below ten.
fn number(value: f64) -> String {
    if value > 0.0 && value < 9.95 && value.fract() > 1e-9 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && digit.is_ascii_digit() {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Two decimals while they say something.
fn decimals(value: f64) -> String {
    if value < 99.995 { format!("{value:.2}") } else { number(value) }
}

/// A time in the unit that suits it.
fn time(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(seconds) if seconds < 0.000_999_5 => format!("{:.0} µs", seconds * 1e6),
        Some(seconds) if seconds < 0.009_995 => format!("{:.2} ms", seconds * 1e3),
        Some(seconds) if seconds < 0.999_5 => format!("{:.0} ms", seconds * 1e3),
        Some(seconds) => format!("{seconds:.1} s"),
    }
}

/// How long something has run, in its two largest units.
fn duration(seconds: f64) -> String {
    let seconds = Duration::from_secs_f64(seconds.max(0.0)).as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::Stage;
    use super::*;

    fn figures(shards: usize) -> Figures {
        let row =
            |shard: String| ShardRow { shard, requests: 1_234_567.0, stall: 0.0123, ..ShardRow::default() };
        let stage = |name, share| Stage { name, spread: Spread::default(), share };
        Figures {
            version: "1.2.3".to_owned(),
            up: 3_700.0,
            interval: 1.0,
            cpu: 0.42,
            resident: f64::from(3 << 20),
            shards: (0..shards).map(|shard| row(shard.to_string())).collect(),
            all: row("all".to_owned()),
            journeys: vec![
                Journey {
                    name: "Produce",
                    whole: Spread { count: 50.0, ..Spread::default() },
                    stages: vec![stage("append", 0.2), stage("commit", 0.8), stage("mesh", 0.0)],
                },
                Journey { name: "Fetch", whole: Spread::default(), stages: vec![stage("read", 0.0)] },
            ],
            commits: vec![("journal", Spread::default())],
            errors: 0.0,
            offline_dirs: 1.0,
        }
    }

    #[test]
    fn a_page_says_what_matters_within_its_width() {
        let style = Style { columns: 80, lines: 40, colours: false };
        let text = draw(&figures(2), "h:1", style);
        for part in [
            "Ottla 1.2.3 at h:1",
            "up 1 h 1 min",
            "1,234,567",
            "12 ms",
            "80.0 %",
            "50 requests/s",
            "OFFLINE",
            "journal",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(!text.contains('\x1b'));
        assert!(text.contains("Fetch       none") && !text.contains("read"), "no table of nothing:\n{text}");
        let bars: Vec<usize> =
            text.lines().map(|line| line.matches('█').count()).filter(|&bar| bar > 0).collect();
        assert_eq!(bars, [4, 16], "append and commit");
    }

    #[test]
    fn records_from_files_are_more_than_are_counted() {
        let row = ShardRow { records: 7.0, fetched: 1_234.0, ..ShardRow::default() };
        assert!(shard_line(&row).contains(" 7      1,234 "), "{}", shard_line(&row));
        let row = ShardRow { fetched_uncounted: 0.5, ..row };
        assert!(shard_line(&row).contains(" 7     1,234+ "), "{}", shard_line(&row));
        let lines = shard_lines(&figures(2), 40);
        let widths: Vec<usize> = lines.iter().map(|(_, line)| line.chars().count()).collect();
        assert!(
            widths.iter().all(|width| *width == widths[0] && *width <= Style::PLAIN.columns),
            "{widths:?}"
        );
    }

    #[test]
    fn where_room_is_short_shards_give_way_to_stages() {
        let style = Style { columns: 60, lines: 14, colours: true };
        let text = draw(&figures(64), "h:1", style);
        assert_eq!(text.lines().count(), 14, "{text}");
        assert!(text.contains("commit") && text.contains("all") && text.contains("\x1b[1;33m"), "{text}");
    }

    #[test]
    fn numbers_and_times_are_short() {
        assert_eq!(
            [0.0, 0.25, 7.0, 12.3, 1_000.0, 1_234_567.0].map(number),
            ["0", "0.2", "7", "12", "1,000", "1,234,567"]
        );
        assert_eq!([0.0, 99.9, 1_234.0].map(decimals), ["0.00", "99.90", "1,234"]);
        let times = [0.000_012, 0.000_999_9, 0.001_5, 0.25, 0.9999, 12.0].map(|seconds| time(Some(seconds)));
        assert_eq!(times, ["12 µs", "1.00 ms", "1.50 ms", "250 ms", "1.0 s", "12.0 s"]);
        assert_eq!(
            [59.0, 61.0, 3_600.0, 90_000.0].map(duration),
            ["59 s", "1 min 1 s", "1 h 0 min", "1 d 1 h"]
        );
        assert_eq!(bar(0.5, 10), "█████");
        assert_eq!(bar(0.01, 10), "▏");
        assert_eq!((bar(0.0, 10), bar(7.0, 2)), (String::new(), "██".to_owned()));
    }
}
