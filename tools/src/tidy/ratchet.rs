//! The rules on the sizes of functions, and their exceptions.
//!
//! An exception is a line `path::function 85 lines` or `path::function 7 parameters` of the ratchet file; blank
//! lines and those that begin with `#` say nothing. The number is exact: a function that grows breaks the rule, and
//! one that shrinks or goes leaves an exception that must shrink or go with it. So the file can only get better.

use std::collections::BTreeMap;

use super::source::Function;
use super::{RATCHET, Violation};

/// The most lines of a function, from its `fn` to its brace.
const FUNCTION_LINES_MAX: usize = 70;
/// The most parameters of a function, without `self`.
const PARAMETERS_MAX: usize = 5;
/// What most functions stay within, tests aside.
const COMMON_LINES_MAX: usize = 40;
/// One function in so many may be longer than that.
const COMMON_SHARE: usize = 10;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Measure {
    Lines,
    Parameters,
}

impl Measure {
    const ALL: [Measure; 2] = [Measure::Lines, Measure::Parameters];

    fn unit(self) -> &'static str {
        match self {
            Measure::Lines => "lines",
            Measure::Parameters => "parameters",
        }
    }

    fn limit(self) -> usize {
        match self {
            Measure::Lines => FUNCTION_LINES_MAX,
            Measure::Parameters => PARAMETERS_MAX,
        }
    }

    fn of(self, function: &Function) -> usize {
        match self {
            Measure::Lines => function.lines,
            Measure::Parameters => function.parameters,
        }
    }
}

/// What is beyond a limit and what is excepted, by function and measure.
type Sizes = BTreeMap<(String, Measure), usize>;

/// Compares the functions of the tree with the limits and the exceptions.
pub(super) fn check(functions: &[(&str, Function)], exceptions: &str) -> Vec<Violation> {
    let (excepted, mut violations) = parse(exceptions);
    let mut beyond = Sizes::new();
    for measure in Measure::ALL {
        for (path, function) in functions {
            let size = measure.of(function);
            if size <= measure.limit() {
                continue;
            }
            let largest = beyond.entry((function.name.clone(), measure)).or_default();
            *largest = size.max(*largest);
            let allowed = excepted.get(&(function.name.clone(), measure)).copied().unwrap_or_default();
            if size > allowed {
                let (unit, limit) = (measure.unit(), allowed.max(measure.limit()));
                let message = format!("{} has {size} {unit}, which is above {limit}", function.name);
                violations.push(Violation::new(path, function.line, "function size", message));
            }
        }
    }
    violations.extend(stale(&excepted, &beyond));
    violations.extend(share(functions));
    violations
}

/// The exceptions that are larger than what they except.
fn stale(excepted: &Sizes, beyond: &Sizes) -> Vec<Violation> {
    let mut violations = Vec::new();
    for ((name, measure), allowed) in excepted {
        let unit = measure.unit();
        let message = match beyond.get(&(name.clone(), *measure)) {
            None => format!("no exception is needed any more: remove \"{name} {allowed} {unit}\""),
            Some(size) if size < allowed => format!("lower the exception to \"{name} {size} {unit}\""),
            Some(_) => continue,
        };
        violations.push(Violation::new(RATCHET, 0, "ratchet", message));
    }
    violations
}

fn share(functions: &[(&str, Function)]) -> Option<Violation> {
    let code = functions.iter().filter(|(_, function)| !function.is_test);
    let (mut all, mut long) = (0, 0);
    for (_, function) in code {
        all += 1;
        long += usize::from(function.lines > COMMON_LINES_MAX);
    }
    let message = format!(
        "{long} of {all} functions have more than {COMMON_LINES_MAX} lines; one in {COMMON_SHARE} may"
    );
    (long * COMMON_SHARE > all).then(|| Violation::new("", 0, "function share", message))
}

fn parse(exceptions: &str) -> (Sizes, Vec<Violation>) {
    let (mut sizes, mut violations) = (Sizes::new(), Vec::new());
    for (number, line) in (1..).zip(exceptions.lines()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match parse_line(line) {
            Some((key, size)) if !sizes.contains_key(&key) => {
                sizes.insert(key, size);
            }
            Some(_) => violations.push(Violation::new(RATCHET, number, "ratchet", "said twice")),
            None => {
                let message = "a line is `path::function 85 lines` or `path::function 7 parameters`";
                violations.push(Violation::new(RATCHET, number, "ratchet", message));
            }
        }
    }
    (sizes, violations)
}

fn parse_line(line: &str) -> Option<((String, Measure), usize)> {
    let mut words = line.split(' ');
    let (name, size, unit) = (words.next()?, words.next()?, words.next()?);
    let measure = Measure::ALL.into_iter().find(|measure| measure.unit() == unit)?;
    let size = size.parse().ok()?;
    words.next().is_none().then(|| ((name.to_owned(), measure), size))
}
