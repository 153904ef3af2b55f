//! `make compare`: Ottla beside the real Kafka, and whatever else has a driver file, on the same machine.
//!
//! Brokers take turns in every round, each question in a fresh directory, brokers pinned to one set of CPUs and the
//! load to the other. Nothing here passes or fails: a table and a page are printed and drawn, and everything that
//! they are made from is kept under `target/compare/<time>/`. In the environment:
//!
//! | variable | |
//! |---|---|
//! | `ROUNDS` | rounds; 3 without it |
//! | `ONLY` | the questions to put, with blanks between; all without it |
//! | `QUICK` | anything for short loads: to see that everything runs |
//! | `BROKERS` | driver files, with blanks between; those in `bench/compare/brokers` without it |
//! | `BROKER_CPUS`, `LOAD_CPUS` | as `taskset` lists CPUs; the first and the second half without them |

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use ottla_bench::result::rfc3339;
use ottla_tests::broker::binary;

pub mod driver;
pub mod field;
pub mod figures;
pub mod first;
pub mod least;
mod load;
pub mod many;
pub mod questions;
pub mod report;
mod running;
pub mod samples;
pub mod watchdog;

use driver::{Driver, Surroundings};
use field::{Field, Lengths};
use samples::Samples;

const ROUNDS: usize = 3;
/// The driver files of this repository, in the order of the table.
const BROKERS: [&str; 4] = ["ottla", "kafka", "kafka-flush", "least"];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["least", address, file] => least::serve(address, file),
        _ => compare(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            eprintln!("compare: {line}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    let surroundings = Surroundings { root: root.to_owned(), ottla: binary() };
    let mut drivers = drivers(&surroundings)?;
    drivers.retain(|driver| match driver.lacks(&surroundings) {
        Some(file) => {
            eprintln!("{} is left out: {file} is not there (make clients)", driver.name);
            false
        }
        None => true,
    });
    let questions = questions()?;
    let rounds = match std::env::var("ROUNDS") {
        Ok(text) => {
            text.parse().ok().filter(|rounds| *rounds > 0).ok_or("ROUNDS must be a number above 0")?
        }
        Err(_) => ROUNDS,
    };
    let field = field(root, surroundings)?;
    let mut samples = Samples::default();
    for round in 1..=rounds {
        for question in &questions {
            for driver in drivers.iter().filter(|driver| driver.answers(question)) {
                eprintln!("round {round} of {rounds}: {question}, {} …", driver.name);
                // A broker that fails at one question is still asked the others.
                let answer = catch_unwind(AssertUnwindSafe(|| questions::ask(question, &field, driver)));
                match answer {
                    Ok(answer) => samples.take(driver, round, answer, &field.kept),
                    Err(_) => {
                        samples.failures.push(format!("{question}, {}, round {round}", driver.name));
                        field.keep_log(driver, &format!("{question}-{}-{round}", driver.id));
                    }
                }
            }
        }
    }
    let text = report::write(&field, &drivers, rounds, &samples)?;
    println!("{text}\nkept in {}", field.kept.display());
    Ok(())
}

fn drivers(surroundings: &Surroundings) -> Result<Vec<Driver>, String> {
    let folder = surroundings.root.join("bench/compare/brokers");
    let files: Vec<PathBuf> = match std::env::var("BROKERS") {
        Ok(files) => files.split_whitespace().map(|file| surroundings.root.join(file)).collect(),
        Err(_) => BROKERS.iter().map(|name| folder.join(format!("{name}.yaml"))).collect(),
    };
    files.iter().map(|file| Driver::read(file, surroundings)).collect()
}

fn questions() -> Result<Vec<&'static str>, String> {
    let all = || figures::QUESTIONS.iter().map(|(name, _)| *name);
    let Ok(only) = std::env::var("ONLY") else { return Ok(all().collect()) };
    let chosen: Vec<&str> = only.split([' ', ',']).filter(|name| !name.is_empty()).collect();
    if let Some(unknown) = chosen.iter().find(|name| all().all(|known| known != **name)) {
        return Err(format!("ONLY={unknown}: the questions are {}", all().collect::<Vec<_>>().join(" ")));
    }
    Ok(all().filter(|name| chosen.contains(name)).collect())
}

fn field(root: &Path, surroundings: Surroundings) -> Result<Field, String> {
    let allowed = field::allowed_cpus();
    let (first, second) = allowed.split_at(allowed.len() / 2);
    if first.is_empty() {
        return Err("one CPU is too few: the broker needs one and the load another".to_owned());
    }
    let chosen = |name: &str, half: &[usize]| std::env::var(name).unwrap_or_else(|_| field::list(half));
    let (broker_cpus, load_cpus) = (chosen("BROKER_CPUS", first), chosen("LOAD_CPUS", second));
    let kept = root.join("target/compare").join(rfc3339(SystemTime::now()).replace(':', ""));
    let data = kept.join("data");
    std::fs::create_dir_all(&data).map_err(|error| format!("{}: {error}", data.display()))?;
    field::pin_to(&load_cpus);
    let lengths = if std::env::var_os("QUICK").is_some() { Lengths::QUICK } else { Lengths::WHOLE };
    Ok(Field {
        watchdog: watchdog::Watchdog::start(&data),
        data,
        kept,
        surroundings,
        load_cpu_count: field::cpus(&load_cpus).len(),
        can_be_urgent: field::can_be_urgent(),
        broker_cpus,
        load_cpus,
        lengths,
        commands: RefCell::default(),
    })
}
