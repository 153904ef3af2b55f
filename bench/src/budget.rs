//! The budget sheet of tuning.md: what each step of a record's path may take, and what it took when last measured.
//!
//! No shard owns it; on disk it is the table between two comments of tuning.md, which is the only place where the
//! budgets stand. `make bench` reads them there and writes the column "measured" back.
//!
//! What must hold: every row has a question of its own; a budget that is a multiple of another row's figure names a row
//! that is there; what is written back differs in the figures alone.

use std::fmt::Write as _;

use thiserror::Error;

/// The line before the table.
pub const BEGIN: &str = "<!-- budgets: `make bench` fills in what was measured -->";
/// The line behind it.
pub const END: &str = "<!-- end of the budgets -->";

const HEADER: &str = "| question | budget | measured | share | where the budget comes from |";
const RULE: &str = "|---|---|---|---|---|";

/// Why tuning.md holds no budget sheet.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SheetError {
    /// The lines around the table are missing, or not there once.
    #[error("the line `{0}` is not there exactly once")]
    Mark(&'static str),
    /// A row that is none.
    #[error("not a row of budgets: {0}")]
    Row(String),
    /// A budget or a figure that is no time.
    #[error("{0:?} is no time such as `12 ns`, and no multiple such as `1.2 × [another question]`")]
    Time(String),
    /// Two rows with one question.
    #[error("the question {0:?} stands there twice")]
    Twice(String),
    /// A row or a measurement names a question that has no row.
    #[error("there is no budget for {0:?}")]
    Unknown(String),
}

/// What a step may take.
#[derive(Clone, Debug, PartialEq)]
pub enum Budget {
    /// Nanoseconds.
    Nanos(f64),
    /// As often what another question took in the same run.
    Times(f64, String),
    /// As long as it takes: what others are compared with.
    Reference,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What is asked, which is the bench's name too.
    pub question: String,
    /// What it may take.
    pub budget: Budget,
    /// What it took, in nanoseconds.
    pub measured: Option<f64>,
    /// Where the budget comes from.
    pub origin: String,
}

/// The sheet, with the text around it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sheet {
    before: String,
    after: String,
    /// Where and when the figures were measured: the line above the table.
    pub machine: String,
    rows: Vec<Row>,
}

impl Sheet {
    /// Reads the sheet out of the whole text of tuning.md.
    ///
    /// # Errors
    /// [`SheetError`] where the marks, a row or a reference to another row is not as it must be.
    pub fn parse(text: &str) -> Result<Sheet, SheetError> {
        let (before, rest) = split_once(text, BEGIN)?;
        let (inside, after) = split_once(rest, END)?;
        let mut sheet = Sheet {
            before: before.to_owned(),
            after: after.to_owned(),
            machine: String::new(),
            rows: Vec::new(),
        };
        for line in inside.lines().filter(|line| !line.is_empty() && *line != HEADER && *line != RULE) {
            if !line.starts_with('|') {
                line.clone_into(&mut sheet.machine);
                continue;
            }
            let row = row(line)?;
            if sheet.row(&row.question).is_some() {
                return Err(SheetError::Twice(row.question));
            }
            sheet.rows.push(row);
        }
        for row in &sheet.rows {
            match &row.budget {
                Budget::Times(_, other) if sheet.row(other).is_none() => {
                    return Err(SheetError::Unknown(other.clone()));
                }
                Budget::Times(..) | Budget::Nanos(_) | Budget::Reference => {}
            }
        }
        Ok(sheet)
    }

    /// The rows, in their order.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    fn row(&self, question: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.question == question)
    }

    /// Takes a figure, in nanoseconds, with the three digits that are written: what is read back says the same.
    ///
    /// # Errors
    /// [`SheetError::Unknown`] where the question has no row.
    pub fn measure(&mut self, question: &str, figure: f64) -> Result<(), SheetError> {
        let row = self.rows.iter_mut().find(|row| row.question == question);
        let row = row.ok_or_else(|| SheetError::Unknown(question.to_owned()))?;
        row.measured = Some(nanos(&time(figure))?);
        Ok(())
    }

    /// Forgets every figure, so that those of this run stand out.
    pub fn clear(&mut self) {
        self.rows.iter_mut().for_each(|row| row.measured = None);
    }

    /// The questions without a figure.
    #[must_use]
    pub fn missing(&self) -> Vec<&str> {
        let missing = self.rows.iter().filter(|row| row.measured.is_none());
        missing.map(|row| row.question.as_str()).collect()
    }

    /// What a question may take, in nanoseconds; none for a reference, and where the figure that it is a multiple of
    /// is missing.
    #[must_use]
    pub fn allowed(&self, question: &str) -> Option<f64> {
        match &self.row(question)?.budget {
            Budget::Nanos(nanos) => Some(*nanos),
            Budget::Times(factor, other) => Some(factor * self.row(other)?.measured?),
            Budget::Reference => None,
        }
    }

    /// The share of its budget that a question took: 1 is all of it.
    #[must_use]
    pub fn share(&self, question: &str) -> Option<f64> {
        Some(self.row(question)?.measured? / self.allowed(question)?)
    }

    /// One line on what a question took.
    #[must_use]
    pub fn verdict(&self, question: &str) -> String {
        let Some(measured) = self.row(question).and_then(|row| row.measured) else { return String::new() };
        let took = time(measured);
        match (self.allowed(question), self.share(question)) {
            (Some(allowed), Some(share)) => {
                let over = if share > 1.0 { ", OVER BUDGET" } else { "" };
                format!("{took} of {} ({:.0} %{over})", time(allowed), share * 100.0)
            }
            (None, _) | (_, None) => took,
        }
    }

    /// The table as it stands in tuning.md.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |row: std::fmt::Arguments<'_>| {
            writeln!(text, "{row}").expect("a string takes everything");
        };
        if !self.machine.is_empty() {
            line(format_args!("{}\n", self.machine));
        }
        line(format_args!("{HEADER}\n{RULE}"));
        for row in &self.rows {
            let measured = row.measured.map_or_else(String::new, time);
            let share = match self.share(&row.question) {
                Some(share) if share > 1.0 => format!("**{:.0} %**", share * 100.0),
                Some(share) => format!("{:.0} %", share * 100.0),
                None => String::new(),
            };
            let (question, budget, origin) = (&row.question, budget_text(&row.budget), &row.origin);
            line(format_args!("| {question} | {budget} | {measured} | {share} | {origin} |"));
        }
        text
    }

    /// The whole text of tuning.md with this sheet in it.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{BEGIN}\n{}{END}{}", self.before, self.table(), self.after)
    }
}

fn split_once<'a>(text: &'a str, mark: &'static str) -> Result<(&'a str, &'a str), SheetError> {
    let (before, after) = text.split_once(mark).ok_or(SheetError::Mark(mark))?;
    if after.contains(mark) { Err(SheetError::Mark(mark)) } else { Ok((before, after)) }
}

fn row(line: &str) -> Result<Row, SheetError> {
    let refused = || SheetError::Row(line.to_owned());
    let inside = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')).ok_or_else(refused)?;
    let cells: Vec<&str> = inside.split('|').map(str::trim).collect();
    let &[question, budget, measured, _, origin] = cells.as_slice() else { return Err(refused()) };
    if question.is_empty() {
        return Err(refused());
    }
    let measured = match measured {
        "" => None,
        text => Some(nanos(text)?),
    };
    Ok(Row {
        question: question.to_owned(),
        budget: parse_budget(budget)?,
        measured,
        origin: origin.to_owned(),
    })
}

fn parse_budget(text: &str) -> Result<Budget, SheetError> {
    let refused = || SheetError::Time(text.to_owned());
    if text.is_empty() {
        return Ok(Budget::Reference);
    }
    let Some((factor, other)) = text.split_once('×') else { return Ok(Budget::Nanos(nanos(text)?)) };
    let other =
        other.trim().strip_prefix('[').and_then(|other| other.strip_suffix(']')).ok_or_else(refused)?;
    Ok(Budget::Times(factor.trim().parse().map_err(|_| refused())?, other.to_owned()))
}

fn budget_text(budget: &Budget) -> String {
    match budget {
        Budget::Nanos(nanos) => time(*nanos),
        Budget::Times(factor, other) => format!("{factor} × [{other}]"),
        Budget::Reference => String::new(),
    }
}

const UNITS: [(&str, f64); 4] = [("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1.0)];

/// Nanoseconds out of `12.5 µs`.
fn nanos(text: &str) -> Result<f64, SheetError> {
    let refused = || SheetError::Time(text.to_owned());
    let (number, unit) = text.split_once(' ').ok_or_else(refused)?;
    let (_, scale) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(refused)?;
    let number: f64 = number.parse().map_err(|_| refused())?;
    if number.is_finite() && number >= 0.0 { Ok(number * scale) } else { Err(refused()) }
}

/// A time with three digits and its unit, such as `12.5 µs`.
#[must_use]
pub fn time(nanos: f64) -> String {
    let (unit, scale) = UNITS.into_iter().find(|(_, scale)| nanos >= *scale).unwrap_or(("ns", 1.0));
    let number = nanos / scale;
    let text = match number {
        100.0.. => format!("{number:.0}"),
        10.0.. => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet_of(rows: &str) -> Result<Sheet, SheetError> {
        Sheet::parse(&format!("# Before\n{BEGIN}\nOn a machine.\n\n{HEADER}\n{RULE}\n{rows}{END}\nbehind\n"))
    }

    #[test]
    fn the_sheet_of_tuning_md_is_one_and_is_written_as_it_is_read() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tuning.md");
        let text = std::fs::read_to_string(path).expect("it is there");
        let sheet = Sheet::parse(&text).expect("it is there");
        assert!(sheet.rows().len() > 20);
        assert!(sheet.rows().iter().all(|row| !row.origin.is_empty()), "a budget comes from somewhere");
        assert_eq!(sheet.text(), text, "nobody edits a figure by hand into another form");
    }

    #[test]
    fn figures_are_held_against_budgets_of_both_kinds() {
        let rows = "| disk | | | | the disk's own |\n| commit | 1.2 × [disk] | | | one write |\n\
            | crc | 2 µs | | | 8 GB/s |\n";
        let mut sheet = sheet_of(rows).expect("it is there");
        assert_eq!(sheet.missing(), ["disk", "commit", "crc"]);
        assert_eq!(sheet.allowed("commit"), None, "nothing is known of the disk yet");
        sheet.measure("disk", 100_000.0).expect("it is there");
        sheet.measure("commit", 150_000.0).expect("it is there");
        sheet.measure("crc", 1_500.0).expect("it is there");
        assert_eq!(sheet.verdict("disk"), "100 µs");
        assert_eq!(sheet.verdict("crc"), "1.5 µs of 2 µs (75 %)");
        assert_eq!(sheet.verdict("commit"), "150 µs of 120 µs (125 %, OVER BUDGET)");
        assert!(sheet.table().contains("| commit | 1.2 × [disk] | 150 µs | **125 %** | one write |"));
        assert_eq!(Sheet::parse(&sheet.text()).expect("it is there"), sheet, "what is written is read again");
        assert!(sheet.text().starts_with("# Before\n") && sheet.text().ends_with("\nbehind\n"));
        sheet.measure("crc", 1_509.9).expect("it has a row");
        assert_eq!(Sheet::parse(&sheet.text()).expect("a sheet").text(), sheet.text(), "to the last digit");
        assert_eq!(sheet.measure("mesh", 1.0), Err(SheetError::Unknown("mesh".into())));
        sheet.clear();
        assert_eq!(sheet.missing().len(), 3);
    }

    #[test]
    fn what_is_no_sheet_is_refused() {
        let twice = sheet_of("| a | 1 ns | | | x |\n| a | 2 ns | | | x |\n");
        assert_eq!(twice.expect_err("it is refused"), SheetError::Twice("a".into()));
        let dangling = sheet_of("| a | 2 × [b] | | | x |\n");
        assert_eq!(dangling.expect_err("it is refused"), SheetError::Unknown("b".into()));
        for bad in ["| a | soon | | | x |\n", "| a | 2 × b | | | x |\n", "| a | 1 ns | -3 ns | | x |\n"] {
            assert!(matches!(sheet_of(bad), Err(SheetError::Time(_))), "{bad}");
        }
        assert!(matches!(sheet_of("| a | 1 ns |\n"), Err(SheetError::Row(_))));
        assert_eq!(Sheet::parse("nothing"), Err(SheetError::Mark(BEGIN)));
        assert_eq!(Sheet::parse(&format!("{BEGIN}\n{END}\n{BEGIN}\n{END}")), Err(SheetError::Mark(BEGIN)));
    }

    #[test]
    fn times_have_three_digits_and_are_read_back() {
        for (nanos, text) in [
            (0.0, "0 ns"),
            (0.85, "0.85 ns"),
            (12.34, "12.3 ns"),
            (999.0, "999 ns"),
            (1_500.0, "1.5 µs"),
            (2_000.0, "2 µs"),
            (123_456.0, "123 µs"),
            (4_560_000.0, "4.56 ms"),
            (1e9, "1 s"),
        ] {
            assert_eq!(time(nanos), text);
            assert!((super::nanos(text).expect("it is there") - nanos).abs() <= nanos * 0.005);
        }
    }
}
