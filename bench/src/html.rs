//! One self-contained page: what a run, or several over each other, or a comparison of brokers looks like.
//!
//! A [`Page`] is put together from text, tables and [`Plot`]s, and [`runs`] knows which of them a run needs. No shard
//! owns it. What must hold: the page needs nothing from anywhere else, is well-formed XML as much as it is HTML, and
//! everything that was not written here is escaped, so that a topic with the name of a tag is text.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

mod axis;
mod ladder;
mod plot;
pub mod runs;

pub use axis::{Axis, duration};
pub use ladder::{Ladder, Rung};
pub use plot::{GAP, Line, Plot, Stroke};

use crate::result::{FileError, RunResult, file};

const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/script.js");

/// Arguments of `ottla bench report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Results that --json wrote; several are drawn over each other
    #[arg(required = true, value_name = "RESULT.json")]
    pub results: Vec<PathBuf>,
    /// The page
    #[arg(long, short, value_name = "FILE", default_value = "report.html")]
    pub output: PathBuf,
}

/// Reads results and draws them over each other into one page at `output`, over what stands there.
///
/// Results of the same title are told apart by the names of their files.
///
/// # Errors
/// [`FileError`] for a result that cannot be read, or a page that cannot be written.
pub fn overlay(paths: &[PathBuf], output: &Path) -> Result<(), FileError> {
    let mut results: Vec<RunResult> = paths.iter().map(|path| file::read(path)).collect::<Result<_, _>>()?;
    let titles: Vec<String> = results.iter().map(|result| result.title.clone()).collect();
    for (result, path) in results.iter_mut().zip(paths) {
        if titles.iter().filter(|title| **title == result.title).count() > 1 {
            result.title = format!("{} ({})", result.title, path.display());
        }
    }
    write(&runs::page(&results), output)
}

/// Writes a page.
///
/// # Errors
/// [`FileError::Io`].
pub fn write(page: &str, output: &Path) -> Result<(), FileError> {
    std::fs::write(output, page).map_err(|error| FileError::Io { path: output.to_owned(), error })
}

/// Text as it stands in a page, inside of elements and of quoted attributes.
///
/// What XML has no way to write, control characters, becomes the sign for what cannot be shown.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\t' | '\n' => safe.push(character),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            control if control.is_control() => safe.push('\u{fffd}'),
            plain => safe.push(plain),
        }
    }
    safe
}

/// How a cell of a table is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// As any other.
    #[default]
    Plain,
    /// As what is wanted.
    Good,
    /// As what is not.
    Bad,
    /// As what differs from its neighbours.
    Marked,
    /// As what matters less.
    Quiet,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Tone::Plain => "",
            Tone::Good => "good",
            Tone::Bad => "bad",
            Tone::Marked => "marked",
            Tone::Quiet => "quiet",
        }
    }
}

/// A cell of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Its text, as it was given.
    pub text: String,
    /// How it is shown.
    pub tone: Tone,
}

impl Cell {
    /// A cell of a tone.
    #[must_use]
    pub fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// A page that is being put together.
#[derive(Debug)]
pub struct Page {
    title: String,
    body: String,
}

impl Page {
    /// An empty page under a title.
    #[must_use]
    pub fn new(title: &str) -> Self {
        Self { title: escaped(title), body: String::new() }
    }

    /// A heading of a part of the page.
    pub fn heading(&mut self, text: &str) {
        self.add(format_args!("<h2>{}</h2>", escaped(text)));
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) {
        self.add(format_args!("<p>{}</p>", escaped(text)));
    }

    /// A paragraph that must not be overlooked.
    pub fn warning(&mut self, text: &str) {
        self.add(format_args!("<p class=\"warning\">{}</p>", escaped(text)));
    }

    /// Text of which every blank counts: commands.
    pub fn verbatim(&mut self, text: &str) {
        self.add(format_args!("<pre>{}</pre>", escaped(text)));
    }

    /// The names of what is drawn, each with its colour; the colours of the lines with the same numbers.
    pub fn legend(&mut self, names: &[String]) {
        let entries = names.iter().enumerate().map(|(number, name)| {
            let colour = plot::colour(number);
            format!("<span class=\"entry\"><i class=\"swatch {colour}\"></i>{}</span>", escaped(name))
        });
        let entries: String = entries.collect();
        self.add(format_args!("<div class=\"legend\">{entries}</div>"));
    }

    /// A table whose first column names the rows.
    pub fn table(&mut self, header: &[String], rows: &[Vec<Cell>]) {
        let header: String = header.iter().map(|cell| format!("<th>{}</th>", escaped(cell))).collect();
        let mut table = format!("<div class=\"scroll\"><table><thead><tr>{header}</tr></thead><tbody>");
        for row in rows {
            table.push_str("<tr>");
            for Cell { text, tone } in row {
                match tone {
                    Tone::Plain => write!(table, "<td>{}</td>", escaped(text)),
                    toned => write!(table, "<td class=\"{}\">{}</td>", toned.class(), escaped(text)),
                }
                .expect("text takes what is written");
            }
            table.push_str("</tr>\n");
        }
        table.push_str("</tbody></table></div>");
        self.add(format_args!("{table}"));
    }

    /// A plot under its title; nothing where no line has a point.
    pub fn plot(&mut self, plot: &Plot) {
        if let Some(svg) = plot.svg() {
            let title = escaped(&plot.title);
            self.add(format_args!("<figure><figcaption>{title}</figcaption>{svg}</figure>"));
        }
    }

    /// Ratios under their title; nothing where there are none.
    pub fn ladder(&mut self, ladder: &Ladder) {
        if let Some(svg) = ladder.svg() {
            let title = escaped(&ladder.title);
            self.add(format_args!("<figure><figcaption>{title}</figcaption>{svg}</figure>"));
        }
    }

    /// The whole document.
    #[must_use]
    pub fn finish(&self) -> String {
        let Self { title, body } = self;
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta name=\"color-scheme\" content=\"light dark\"/>\n<title>{title}</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}</main>\n\
             <script>\n{SCRIPT}</script>\n</body>\n</html>\n"
        )
    }

    fn add(&mut self, part: std::fmt::Arguments<'_>) {
        self.body.write_fmt(part).expect("text takes what is written");
        self.body.push('\n');
    }
}

#[cfg(test)]
mod tests;
