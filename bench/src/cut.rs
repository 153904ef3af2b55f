//! What cuts clients off from a load before its time, and the line that says so.
//!
//! The shards note it through what they share; the text is made once the load is over. What must hold: the first
//! cause is the one that is told, since those behind it follow from it; every client that ended with it is counted.

use std::time::Duration;

use crate::result::table::grouped;

/// What a client did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It produced.
    Producer,
    /// It fetched.
    Consumer,
}

/// Why it was cut off, with the reason in a few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// There was no connection to begin with.
    Unreachable(String),
    /// The connection ended.
    Lost(String),
    /// The broker answered with an error that ends an idempotent producer.
    Refused(String),
}

/// The first client that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// From the start of the load.
    pub at: Duration,
    /// The broker, as `HOST:PORT`.
    pub address: String,
    /// What happened.
    pub why: Why,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cuts {
    /// The first.
    pub first: Option<Cut>,
    /// Producers that were cut off.
    pub producers: usize,
    /// Consumers that were.
    pub consumers: usize,
    /// Connections that were lost and opened again, and the longest time that this took.
    pub returns: (u64, Duration),
}

/// The load that they were cut off from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole {
    /// All its producers.
    pub producers: usize,
    /// All its consumers.
    pub consumers: usize,
    /// How long it was to last, if time is what ends it.
    pub end: Option<Duration>,
    /// Whether the broker answers after the load.
    pub answers: bool,
}

impl Cuts {
    /// Notes that a client was cut off.
    pub(crate) fn note(&mut self, role: Role, cut: Cut) {
        match role {
            Role::Producer => self.producers += 1,
            Role::Consumer => self.consumers += 1,
        }
        self.first.get_or_insert(cut);
    }

    /// Notes that a client is back that was away so long.
    pub(crate) fn note_return(&mut self, away: Duration) {
        let (count, longest) = self.returns;
        self.returns = (count + 1, longest.max(away));
    }

    /// What happened to those that came back, in one line; `None` where nobody did.
    pub(crate) fn returns_line(&self) -> Option<String> {
        let (count, longest) = self.returns;
        let connections = match count {
            0 => return None,
            1 => "1 connection was".to_owned(),
            many => format!("{} connections were", grouped(many)),
        };
        Some(format!("{connections} lost and opened again, after {} s at most", short(longest)))
    }

    /// Whether nobody was left to do what the load is about.
    pub(crate) fn ended(&self, whole: &Whole) -> bool {
        match whole.producers {
            0 => self.consumers == whole.consumers,
            producers => self.producers == producers,
        }
    }

    /// What happened in one line; `None` where nobody was cut off.
    pub(crate) fn line(&self, whole: &Whole) -> Option<String> {
        let Cut { at, address, why } = self.first.as_ref()?;
        let who = if self.ended(whole) { "the load".to_owned() } else { self.who(whole) };
        let of = whole.end.map(|end| format!(" of {} s", short(end))).unwrap_or_default();
        let what = match why {
            Why::Unreachable(reason) => format!("no connection to {address}: {reason}"),
            Why::Lost(reason) => format!("the connection to {address} was lost ({reason})"),
            Why::Refused(code) => {
                format!("{address} answered {code}, and an idempotent producer ends with its first error")
            }
        };
        let now = match (why, whole.answers) {
            (Why::Refused(_), _) => "",
            (Why::Unreachable(_) | Why::Lost(_), true) => {
                "; it answers again, but only the clients of a soak come back"
            }
            (Why::Unreachable(_) | Why::Lost(_), false) => "; nobody answers there now",
        };
        Some(format!("{who} ended after {} s{of}: {what}{now}", short(*at)))
    }

    fn who(&self, whole: &Whole) -> String {
        let part = |cut: usize, all: usize, name: &str| {
            (cut > 0).then(|| format!("{} of {} {name}", grouped(cut as u64), grouped(all as u64)))
        };
        let producers = part(self.producers, whole.producers, "producers");
        let consumers = part(self.consumers, whole.consumers, "consumers");
        let parts: Vec<String> = producers.into_iter().chain(consumers).collect();
        parts.join(" and ")
    }
}

/// Seconds with a tenth where there is one.
pub(crate) fn short(time: Duration) -> String {
    let text = format!("{:.1}", time.as_secs_f64());
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Duration = Duration::from_secs(6);

    fn lost() -> Cut {
        let why = Why::Lost("connection closed by the broker".to_owned());
        Cut { at: Duration::from_millis(1_912), address: "there:9092".to_owned(), why }
    }

    #[test]
    fn a_load_without_its_broker_says_when_and_where_it_ended() {
        let whole = Whole { producers: 2, consumers: 1, end: Some(END), answers: false };
        let mut cuts = Cuts::default();
        assert_eq!(cuts.line(&whole), None);
        cuts.note(Role::Producer, lost());
        let line = "1 of 2 producers ended after 1.9 s of 6 s: the connection to there:9092 was lost (connection \
                    closed by the broker); nobody answers there now";
        assert_eq!(cuts.line(&whole).as_deref(), Some(line));
        cuts.note(Role::Consumer, Cut { at: END, ..lost() });
        let text = cuts.line(&whole).expect("two were cut off");
        assert!(
            text.starts_with("1 of 2 producers and 1 of 1 consumers ended after 1.9 s of 6 s: "),
            "{text}"
        );
        cuts.note(Role::Producer, Cut { at: END, ..lost() });
        let text = cuts.line(&Whole { answers: true, ..whole }).expect("all were cut off");
        assert!(
            text.starts_with("the load ended after 1.9 s of 6 s: the connection to there:9092"),
            "{text}"
        );
        assert!(text.ends_with("; it answers again, but only the clients of a soak come back"), "{text}");
    }

    #[test]
    fn who_came_back_is_counted_and_not_cut_off() {
        let mut cuts = Cuts::default();
        assert_eq!(cuts.returns_line(), None);
        cuts.note_return(Duration::from_millis(1_240));
        let line = "1 connection was lost and opened again, after 1.2 s at most";
        assert_eq!(cuts.returns_line().as_deref(), Some(line));
        cuts.note_return(Duration::from_millis(300));
        let line = "2 connections were lost and opened again, after 1.2 s at most";
        assert_eq!(cuts.returns_line().as_deref(), Some(line));
        assert_eq!(cuts.first, None);
    }

    #[test]
    fn consumers_alone_are_a_load_too() {
        let whole = Whole { producers: 0, consumers: 1, end: None, answers: false };
        let mut cuts = Cuts::default();
        let why = Why::Unreachable("Connection refused (os error 111)".to_owned());
        cuts.note(Role::Consumer, Cut { at: Duration::ZERO, why, ..lost() });
        let line = "the load ended after 0 s: no connection to there:9092: Connection refused (os error 111); \
                    nobody answers there now";
        assert_eq!(cuts.line(&whole).as_deref(), Some(line));
    }
}
