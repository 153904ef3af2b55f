//! A request on its way through its connection: what kind it is, and when it got where.
//!
//! A value that travels with the request and then with its reply; the times become observations when the reply leaves.

use ottla::metrics::{ShardMetrics, Timing};
use ottla::time::Monotonic;

/// Which requests are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Produce,
    Fetch,
    Other,
}

/// Where a request has been.
#[derive(Clone, Copy, Debug)]
pub(super) struct Journey {
    kind: Kind,
    /// Its last byte was there.
    ready: Monotonic,
    /// What the connection did last with it.
    last: Monotonic,
}

impl Journey {
    /// The journey of a frame whose bytes were there at `ready`. The API is what a request begins with.
    pub(super) fn new(frame: &[u8], ready: Monotonic) -> Journey {
        let kind = match frame {
            [0, 0, ..] => Kind::Produce,
            [0, 1, ..] => Kind::Fetch,
            _ => Kind::Other,
        };
        Journey { kind, ready, last: ready }
    }

    /// The reply stands; `since` is when the handler had what it needed for it.
    pub(super) fn answered(&mut self, metrics: &ShardMetrics, since: Option<Monotonic>, now: Monotonic) {
        if let (Some(timing), Some(since)) = (self.kind.reply(), since) {
            metrics.span(timing, since, now);
        }
        self.last = now;
    }

    /// The reply's turn has come, in the turn of the loop that began at `turn`: before that it stood behind others.
    pub(super) fn in_order(&mut self, metrics: &ShardMetrics, turn: Monotonic) {
        if let Some(timing) = self.kind.order() {
            metrics.span(timing, self.last, turn);
        }
        self.last = self.last.max(turn);
    }

    /// The kernel has the reply's last byte.
    pub(super) fn sent(self, metrics: &ShardMetrics, now: Monotonic) {
        if let Some(timing) = self.kind.send() {
            metrics.span(timing, self.last, now);
        }
        metrics.span(self.kind.total(), self.ready, now);
    }
}

impl Kind {
    fn reply(self) -> Option<Timing> {
        match self {
            Kind::Produce => Some(Timing::ProduceReply),
            Kind::Fetch => Some(Timing::FetchReply),
            Kind::Other => None,
        }
    }

    fn order(self) -> Option<Timing> {
        match self {
            Kind::Produce => Some(Timing::ProduceOrder),
            Kind::Fetch => Some(Timing::FetchOrder),
            Kind::Other => None,
        }
    }

    fn send(self) -> Option<Timing> {
        match self {
            Kind::Produce => Some(Timing::ProduceSend),
            Kind::Fetch => Some(Timing::FetchSend),
            Kind::Other => None,
        }
    }

    fn total(self) -> Timing {
        match self {
            Kind::Produce => Timing::ProduceTotal,
            Kind::Fetch => Timing::FetchTotal,
            Kind::Other => Timing::OtherTotal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(metrics: &ShardMetrics, timings: &[Timing]) -> Vec<(u64, u64)> {
        let snapshot = metrics.snapshot(0);
        let sum = |timing: &Timing| (snapshot.times(*timing).count(), snapshot.times(*timing).sum_nanos);
        timings.iter().map(sum).collect()
    }

    #[test]
    fn the_stages_of_a_reply_add_up() {
        let metrics = ShardMetrics::default();
        let mut journey = Journey::new(&[0, 0, 0, 9], Monotonic(100));
        journey.answered(&metrics, Some(Monotonic(150)), Monotonic(200));
        journey.in_order(&metrics, Monotonic(260));
        journey.sent(&metrics, Monotonic(300));
        let timings = [Timing::ProduceReply, Timing::ProduceOrder, Timing::ProduceSend, Timing::ProduceTotal];
        assert_eq!(sums(&metrics, &timings), [(1, 50), (1, 60), (1, 40), (1, 200)]);
    }

    #[test]
    fn a_reply_that_leaves_in_the_turn_of_its_answer_has_waited_for_nobody() {
        let metrics = ShardMetrics::default();
        let mut journey = Journey::new(&[0, 1], Monotonic(100));
        journey.answered(&metrics, None, Monotonic(200));
        journey.in_order(&metrics, Monotonic(90));
        journey.sent(&metrics, Monotonic(210));
        let timings = [Timing::FetchReply, Timing::FetchOrder, Timing::FetchSend, Timing::FetchTotal];
        assert_eq!(sums(&metrics, &timings), [(0, 0), (1, 0), (1, 10), (1, 110)]);
    }

    #[test]
    fn others_count_as_a_whole() {
        let metrics = ShardMetrics::default();
        for frame in [&[0, 3][..], &[1, 0], &[0]] {
            let mut journey = Journey::new(frame, Monotonic(0));
            journey.answered(&metrics, Some(Monotonic(0)), Monotonic(1));
            journey.in_order(&metrics, Monotonic(2));
            journey.sent(&metrics, Monotonic(5));
        }
        assert_eq!(sums(&metrics, &[Timing::OtherTotal, Timing::ProduceTotal]), [(3, 15), (0, 0)]);
    }
}
