//! `ottla tune`: looks at the machine, measures what its disks do durably, and writes the settings that follow.
//!
//! Runs in a process of its own; no shard owns it. On disk it writes the properties file that it was asked for, and
//! for as long as it measures, files in the log directories that have no name. It changes nothing else: what could be
//! better it says, with the command. Reading `/proc` and `/sys` goes through [`Root`], so that tests look at made-up
//! machines.
//!
//! | module | does |
//! |---|---|
//! | [`finding`] | one line of the report |
//! | [`root`], [`surroundings`], [`mounts`] | reading the machine |
//! | [`kernel`], [`cpu`], [`memory`], [`network`], [`disk`] | the checks |
//! | [`ceiling`], [`budget`] | what was measured, and the settings that follow |

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use ottla::config::{BrokerConfig, ConfigError, Layers};
use ottla_shards::boot::{SettingsError, read_file};
use ottla_shards::host;
use ottla_shards::tune::{MeasureError, Measured, Progress, STEPS, measure};
use serde_json::json;
use thiserror::Error;

pub mod budget;
pub mod ceiling;
pub mod cpu;
pub mod disk;
pub mod finding;
pub mod kernel;
pub mod memory;
pub mod mounts;
pub mod network;
pub mod root;
pub mod surroundings;
#[cfg(test)]
mod tests;

use budget::Setting;
use ceiling::Ceiling;
use cpu::{Cpus, Shards};
use finding::{Finding, Level};
use kernel::Ring;
use root::Root;
use surroundings::Surroundings;

use crate::output::check_writable;

/// How long all measuring takes together, apart from writing the files first.
const MEASURE_TIME: Duration = Duration::from_secs(52);
/// The least and the most for one step.
const STEP_TIME: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(6_500));
/// A step's time where it is to be quick.
const STEP_TIME_QUICK: Duration = Duration::from_millis(500);
/// Where the data is when nothing says otherwise.
const DATA_DEFAULT: &str = "./ottla-data";

/// Arguments of `ottla tune`.
#[derive(Args, Debug)]
pub struct TuneArgs {
    /// The broker's properties file, for its log directories and its shards
    #[arg(long, short = 'c', value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The log directories, instead of those of the properties file
    #[arg(long, value_name = "DIR", value_delimiter = ',')]
    pub log_dirs: Vec<PathBuf>,
    /// Where to write the settings that were found
    #[arg(long, short = 'o', value_name = "FILE", default_value = "ottla-tune.properties")]
    pub output: PathBuf,
    /// Overwrite that file
    #[arg(long)]
    pub force: bool,
    /// Only look: do not measure the disks, and write no settings
    #[arg(long, conflicts_with = "quick")]
    pub no_measure: bool,
    /// Measure for a few seconds instead of a minute
    #[arg(long)]
    pub quick: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Why there is no report: one line.
#[derive(Debug, Error)]
pub enum TuneError {
    /// A file cannot be read or written.
    #[error("{}: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The output cannot be written.
    #[error("--output {}: {error}", .path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The properties file cannot be read, or is none.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The output is there already.
    #[error("{} is there already: --force overwrites it, --output FILE takes another", .0.display())]
    OutputExists(PathBuf),
    /// A disk could not be measured.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// The report could not be printed.
    #[error(transparent)]
    Print(#[from] io::Error),
}

/// Looks, measures, writes, and prints to `out`. The exit code is 0 where nothing is a problem, else 1.
///
/// # Errors
/// [`TuneError`]; the caller prints it and exits with 1.
pub fn run(args: &TuneArgs, out: &mut dyn Write) -> Result<u8, TuneError> {
    let ring = match host::probe(&[]) {
        Err(error) => Ring::Refused(error.to_string()),
        Ok(()) => match host::missing_operations() {
            Err(error) => Ring::Refused(error.to_string()),
            Ok(missing) => Ring::Works {
                missing: missing.into_iter().map(str::to_owned).collect(),
                deferred: host::has_deferred_completions(),
            },
        },
    };
    let tuned = Tuner { args, root: Root::new("/"), ring, measure: &measure_with_bar }.run(out);
    match tuned {
        // Whoever reads it has seen enough; the file with the settings is written before.
        Err(TuneError::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        tuned => tuned,
    }
}

/// Measures a directory for so long a step.
type Measure = dyn Fn(&Path, Duration) -> Result<Vec<Measured>, MeasureError>;

/// A run, with the machine that it looks at.
struct Tuner<'a> {
    args: &'a TuneArgs,
    root: Root,
    ring: Ring,
    measure: &'a Measure,
}

/// Where log directories are looked at and measured.
struct Directory {
    /// One that is there: a log directory, or the nearest one above those that are not there yet.
    place: PathBuf,
    /// Those it stands for, with what the system says of them.
    missing: Vec<(PathBuf, io::Error)>,
}

impl Directory {
    /// A sentence for each directory that it only stands for.
    fn stands_for(&self) -> impl Iterator<Item = (&Path, String)> {
        self.missing.iter().map(|(dir, error)| {
            let what = match error.kind() {
                io::ErrorKind::NotFound => "does not exist".to_owned(),
                _ => error.to_string(),
            };
            (dir.as_path(), format!("{} {what}", dir.display()))
        })
    }

    fn findings(&self) -> impl Iterator<Item = Finding> {
        self.stands_for().map(|(dir, found)| {
            let why = format!("looked at {} instead, which may be another disk", self.place.display());
            Finding::better("log directory", found, why).mend(format!("mkdir -p {}", dir.display()))
        })
    }
}

/// What a run came to.
struct Report {
    surroundings: Surroundings,
    findings: Vec<(String, Finding)>,
    ceilings: Vec<Ceiling>,
    /// What was measured in place of something else, a sentence each.
    guesses: Vec<String>,
    settings: Vec<Setting>,
}

impl Tuner<'_> {
    fn run(&self, out: &mut dyn Write) -> Result<u8, TuneError> {
        let writes = !self.args.no_measure;
        if writes && !self.args.force && self.args.output.exists() {
            return Err(TuneError::OutputExists(self.args.output.clone()));
        }
        if writes {
            check_writable(&self.args.output).map_err(|error| self.no_output(error))?;
        }
        let config = self.config()?;
        let mut report = self.look(&config);
        let can_measure = matches!(&self.ring, Ring::Works { missing, .. } if missing.is_empty());
        if !self.args.json {
            self.print_findings(&report, out)?;
        }
        if writes && can_measure {
            self.measure_all(&config, &mut report)?;
            let memory = memory::limit(&self.root).into_iter().chain(memory::total(&self.root)).min();
            let cpus = Cpus::of(&self.root);
            let shards = Shards::of(&config, cpus);
            report.settings = budget::settings(&report.ceilings, cpus, shards, memory);
            self.write(&report)?;
        }
        if self.args.json {
            self.print_json(&report, out)?;
        } else {
            self.print_rest(&report, writes && can_measure, out)?;
        }
        let is_fine = report.findings.iter().all(|(_, finding)| finding.level != Level::Problem);
        Ok(u8::from(!is_fine))
    }

    fn config(&self) -> Result<BrokerConfig, TuneError> {
        let file = match &self.args.config {
            None => None,
            Some(path) => Some(read_file(path)?),
        };
        Ok(BrokerConfig::new(&Layers { file, ..Layers::default() })?)
    }

    /// The log directories, each place once.
    fn directories(&self, config: &BrokerConfig) -> Vec<Directory> {
        let named = match (&self.args.log_dirs, &self.args.config) {
            (dirs, _) if !dirs.is_empty() => dirs.clone(),
            (_, Some(_)) => config.storage.log_dirs.iter().map(PathBuf::from).collect(),
            (_, None) => vec![PathBuf::from(DATA_DEFAULT)],
        };
        let mut directories: Vec<Directory> = Vec::new();
        for dir in named {
            let absolute = std::path::absolute(&dir).unwrap_or(dir);
            let Some(place) = absolute.ancestors().find_map(|path| path.canonicalize().ok()) else {
                continue;
            };
            let missing = absolute.canonicalize().err().map(|error| (absolute, error));
            match directories.iter_mut().find(|known| known.place == place) {
                Some(known) => known.missing.extend(missing),
                None => directories.push(Directory { place, missing: missing.into_iter().collect() }),
            }
        }
        directories
    }

    fn look(&self, config: &BrokerConfig) -> Report {
        let (root, at) = (&self.root, Surroundings::of(&self.root));
        let shards = Shards::of(config, Cpus::of(root));
        let network = &config.network;
        let socket_bytes = network.send_buffer_bytes.max(network.receive_buffer_bytes).unwrap_or(0);
        let mut findings = Vec::new();
        let mut add = |part: &str, found: Vec<Finding>| {
            findings.extend(found.into_iter().map(|finding| (part.to_owned(), finding)));
        };
        add("kernel", kernel::check(root, at, &self.ring, shards.count));
        add("processors", cpu::check(root, at, shards));
        add("memory", memory::check(root, at, shards.count));
        add("network", network::check(root, at, u64::from(socket_bytes)));
        let mut guesses = Vec::new();
        for dir in self.directories(config) {
            let found = dir.findings().chain(disk::check(root, at, &dir.place)).collect();
            add(&dir.place.display().to_string(), found);
            let instead = dir.place.display();
            guesses
                .extend(dir.stands_for().map(|(_, what)| format!("{what}: {instead} was measured instead")));
        }
        Report { surroundings: at, findings, ceilings: Vec::new(), guesses, settings: Vec::new() }
    }

    /// One directory of each file system: others on the same disk would measure the same.
    fn measure_all(&self, config: &BrokerConfig, report: &mut Report) -> Result<(), TuneError> {
        let mounts = mounts::parse(&self.root.text("/proc/self/mountinfo").unwrap_or_default());
        let mut measured: Vec<(String, PathBuf)> = Vec::new();
        for Directory { place: dir, .. } in self.directories(config) {
            let device = mounts::of(&mounts, &dir).map_or_else(String::new, |mount| mount.device.clone());
            if !measured.iter().any(|(known, _)| *known == device) {
                measured.push((device, dir));
            }
        }
        let steps = u32::try_from(measured.len() * STEPS.len()).unwrap_or(u32::MAX).max(1);
        let step = match self.args.quick {
            true => STEP_TIME_QUICK,
            false => (MEASURE_TIME / steps).clamp(STEP_TIME.0, STEP_TIME.1),
        };
        for (_, dir) in measured {
            let part = dir.display().to_string();
            match (self.measure)(&dir, step) {
                Ok(measured) => {
                    let ceiling = Ceiling { dir, measured };
                    report.findings.extend(ceiling.sync_cost(report.surroundings).map(|found| (part, found)));
                    report.ceilings.push(ceiling);
                }
                Err(error) => {
                    let finding = Finding::problem("measuring", "not done", error.to_string());
                    report.findings.push((part, finding));
                }
            }
        }
        Ok(())
    }

    fn write(&self, Report { settings, guesses, .. }: &Report) -> Result<(), TuneError> {
        if settings.is_empty() {
            return Ok(());
        }
        std::fs::write(&self.args.output, budget::properties(settings, guesses))
            .map_err(|error| self.no_output(error))
    }

    fn no_output(&self, error: io::Error) -> TuneError {
        TuneError::Output { path: self.args.output.clone(), error }
    }

    fn print_findings(&self, report: &Report, out: &mut dyn Write) -> Result<(), TuneError> {
        writeln!(out, "This is {}.", report.surroundings.text())?;
        print_parts(&report.findings, out)?;
        out.flush()?;
        Ok(())
    }

    /// What came after the first findings were printed.
    fn print_rest(&self, report: &Report, measured: bool, out: &mut dyn Write) -> Result<(), TuneError> {
        for ceiling in &report.ceilings {
            writeln!(out, "\nWhat the disk does at {}:\n{}", ceiling.dir.display(), ceiling.table())?;
        }
        if measured {
            let late = ["durable write", "measuring"];
            let late = report.findings.iter().filter(|(_, finding)| late.contains(&finding.name.as_str()));
            print_parts(&late.cloned().collect::<Vec<_>>(), out)?;
        }
        if !report.settings.is_empty() {
            writeln!(out, "\nWritten to {}:", self.args.output.display())?;
            for guess in &report.guesses {
                writeln!(out, "  a guess, for {guess}")?;
            }
            for Setting { key, value, formula } in &report.settings {
                writeln!(out, "  {key}={value}\n    {formula}")?;
            }
        }
        let count = |level| report.findings.iter().filter(|(_, finding)| finding.level == level).count();
        let (fine, better, problem) = (count(Level::Fine), count(Level::Better), count(Level::Problem));
        let problems = if problem == 1 { "problem" } else { "problems" };
        writeln!(out, "\n{fine} fine, {better} could be better, {problem} {problems}.")?;
        Ok(())
    }

    fn print_json(&self, report: &Report, out: &mut dyn Write) -> Result<(), TuneError> {
        let findings = report.findings.iter().map(|(part, finding)| {
            let mut value = finding.json();
            value["part"] = json!(part);
            value
        });
        let settings = report
            .settings
            .iter()
            .map(|setting| json!({ "key": setting.key, "value": setting.value, "formula": setting.formula }));
        let wrote = !report.settings.is_empty();
        let value = json!({
            "surroundings": report.surroundings.text(),
            "findings": findings.collect::<Vec<_>>(),
            "disks": report.ceilings.iter().map(Ceiling::json).collect::<Vec<_>>(),
            "settings": settings.collect::<Vec<_>>(),
            "output": wrote.then(|| self.args.output.display().to_string()),
        });
        writeln!(out, "{value:#}")?;
        Ok(())
    }
}

fn print_parts(findings: &[(String, Finding)], out: &mut dyn Write) -> io::Result<()> {
    let mut last = "";
    for (part, finding) in findings {
        if part != last {
            writeln!(out, "\n{part}")?;
            last = part;
        }
        writeln!(out, "{}", finding.text())?;
    }
    Ok(())
}

/// Measures in a thread of its own, with a bar on a terminal meanwhile.
fn measure_with_bar(dir: &Path, step: Duration) -> Result<Vec<Measured>, MeasureError> {
    let progress = Arc::new(Progress::default());
    let measuring = {
        let (dir, progress) = (dir.to_owned(), Arc::clone(&progress));
        std::thread::spawn(move || measure(&dir, step, &progress))
    };
    let (begun, total) = (Instant::now(), step * u32::try_from(STEPS.len()).expect("few"));
    let bar = ProgressBar::new(u64::try_from(total.as_millis()).unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("measuring {msg} [{bar:40}] {percent} %, {eta} left");
    bar.set_style(style.expect("the template is a constant that a test has seen").progress_chars("=> "));
    bar.set_message(dir.display().to_string());
    while !measuring.is_finished() {
        // A step may take longer than asked; the bar never runs ahead of what has ended by more than one.
        let ahead = step * u32::try_from(progress.steps() + 1).unwrap_or(u32::MAX);
        bar.set_position(u64::try_from(begun.elapsed().min(ahead).as_millis()).unwrap_or(u64::MAX));
        std::thread::sleep(Duration::from_millis(100));
    }
    bar.finish_and_clear();
    measuring.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
