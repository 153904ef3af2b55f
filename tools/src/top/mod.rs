//! `ottla top`: what a broker does now, shard by shard, and where its requests spend their time.
//!
//! A process of its own that reads the page of `metrics.listener` again and again and shows the difference. No shard
//! owns it; nothing is on disk. What must hold: what is shown is of one interval by the broker's own clock; a broker
//! that goes away and comes back is shown again when it is back.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use thiserror::Error;

mod figures;
mod scrape;
mod screen;
mod terminal;
mod text;

pub use figures::{Figures, Reading};
pub use scrape::page;
pub use screen::{Style, draw};
pub use text::{Sample, parse};

use terminal::Screen;

/// Arguments of `ottla top`.
#[derive(Args, Debug)]
pub struct TopArgs {
    /// Where the broker serves its metrics: its setting metrics.listener
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:9644")]
    pub metrics: String,
    /// How long each look lasts, such as 1s or 500ms
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval, allow_hyphen_values = true)]
    pub interval: Duration,
    /// The stages of the connections of one shard instead of all
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub shard: Option<u16>,
    /// Print one look as plain text and end, as without a terminal
    #[arg(long, conflicts_with = "batch")]
    pub once: bool,
    /// Print look after look as plain text
    #[arg(long)]
    pub batch: bool,
}

/// Why there is nothing to show: one line.
#[derive(Debug, Error)]
pub enum TopError {
    /// Nobody listens there.
    #[error(
        "nobody serves metrics at {place}; a broker does where its setting metrics.listener says, for example: \
         ottla start --override metrics.listener=localhost:9644"
    )]
    Nobody {
        /// Where.
        place: String,
    },
    /// It is no place.
    #[error("--metrics {place}: must be HOST:PORT, as localhost:9644 or [::1]:9644")]
    NoPlace {
        /// What was given.
        place: String,
    },
    /// The connection failed.
    #[error("--metrics {place}: {why}")]
    Failed {
        /// Where.
        place: String,
        /// How.
        why: String,
    },
    /// Something else is there.
    #[error(
        "{place} does not serve the metrics of an Ottla broker; is it the place of its metrics.listener?"
    )]
    Stranger {
        /// Where.
        place: String,
    },
    /// There is no such shard.
    #[error("--shard {0}: the broker has no such shard")]
    NoShard(u16),
    /// Standard output or the terminal.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads a time: a number of seconds, or one with `ms`, `s` or `m`.
fn interval(text: &str) -> Result<Duration, String> {
    let number_ends = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(number_ends);
    let unit = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        _ => return Err("a time such as 1s, 500ms or 1m is needed".to_owned()),
    };
    let seconds = number.trim().parse::<f64>().map_err(|_| "a time such as 1s or 500ms is needed")? * unit;
    if !(0.1..=3_600.0).contains(&seconds) {
        return Err("100ms to 60m are allowed".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Shows the broker until a key ends it, or prints as the arguments say. The exit code is 0.
///
/// # Errors
/// When the first look finds no broker, or the terminal fails.
pub fn run(args: &TopArgs, out: &mut dyn Write) -> Result<u8, TopError> {
    let first = read(args)?;
    let shown = if args.once || args.batch { None } else { Screen::take()? };
    match shown {
        Some(screen) => live(args, first, &screen)?,
        None => match print(args, first, out) {
            // Whoever reads has seen enough.
            Err(TopError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
            printed => printed?,
        },
    }
    Ok(0)
}

fn read(args: &TopArgs) -> Result<Reading, TopError> {
    let stranger = || TopError::Stranger { place: args.metrics.clone() };
    let reading = Reading::new(parse(&page(&args.metrics)?).map_err(|_| stranger())?);
    if !reading.is_ottlas() {
        return Err(stranger());
    }
    match args.shard.filter(|shard| !reading.has_shard(*shard)) {
        Some(shard) => Err(TopError::NoShard(shard)),
        None => Ok(reading),
    }
}

fn figures(args: &TopArgs, before: &Reading, now: &Reading) -> Option<Figures> {
    let shard = args.shard.map(|shard| shard.to_string());
    Figures::between(before, now, shard.as_deref())
}

/// One look, or look after look, as plain text.
fn print(args: &TopArgs, first: Reading, out: &mut dyn Write) -> Result<(), TopError> {
    let mut before = first;
    loop {
        std::thread::sleep(args.interval);
        let now = read(args)?;
        let Some(figures) = figures(args, &before, &now) else {
            before = now;
            continue;
        };
        out.write_all(draw(&figures, &args.metrics, Style::PLAIN).as_bytes())?;
        if !args.batch {
            return Ok(());
        }
        writeln!(out)?;
        out.flush()?;
        before = now;
    }
}

/// On the terminal, until a key ends it.
fn live(args: &TopArgs, first: Reading, screen: &Screen) -> Result<(), TopError> {
    let mut before = first;
    screen.show(&format!("looking at {} for {:?}; q ends it\n", args.metrics, args.interval))?;
    while !screen.wait(args.interval)? {
        match read(args) {
            Ok(now) => {
                if let Some(figures) = figures(args, &before, &now) {
                    screen.show(&draw(&figures, &args.metrics, screen.style()))?;
                }
                before = now;
            }
            Err(error) => screen.show(&format!("{error}\n\nlooking again; q ends it\n"))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_a_unit() {
        for (text, ms) in [("1s", 1_000), ("500ms", 500), ("2", 2_000), ("1.5s", 1_500), ("1m", 60_000)] {
            assert_eq!(interval(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "1h", "0", "50ms", "2h", "-1s", "1 second"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_stranger_is_told_from_a_broker() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let place = listener.local_addr().expect("it is bound").to_string();
        let server = std::thread::spawn(move || {
            for body in ["go_goroutines 7\n", "<html></html>"] {
                let (mut stream, _) = listener.accept().expect("a client comes");
                let _ = io::Read::read(&mut stream, &mut [0; 1024]).expect("it asks");
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                    .expect("it listens");
            }
        });
        let interval = Duration::from_secs(1);
        let args = TopArgs { metrics: place.clone(), interval, shard: None, once: true, batch: false };
        for _ in 0..2 {
            let error = run(&args, &mut Vec::new()).expect_err("no broker");
            assert!(matches!(error, TopError::Stranger { .. }), "{error}");
            assert!(error.to_string().contains(&place));
        }
        server.join().expect("the server ends");
    }
}
