//! Requests in progress on one connection, and their replies in the order of the requests.
//!
//! Clients match replies to requests by their order as well as by correlation id, so that a reply which is ready
//! behind one that is not waits for it. A request that is answered with silence (acks=0) takes its place in the order
//! and leaves nothing.
//!
//! Kafka begins a request when the one before it on its connection was answered, so that each sees what those before it
//! did. Here those begin side by side of which nobody can tell: appends, which take their places in their logs as they
//! begin, and whatever stands behind a Fetch, which changes nothing and may wait long.
//!
//! Invariants: at most `limit` requests are in progress or wait to leave; tickets are given and replies leave in one
//! order; nothing leaves after an answer that closes.

use std::collections::VecDeque;

use ottla_wire::ApiKey;

use crate::canary::{self, Canary};

/// Fetches of one connection that are in progress: each holds its partitions while it waits, which is more than its
/// bytes were. Clients have one; Kafka begins no other before it is answered.
const READS_MAX: usize = 4;

/// What a request may begin beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Produce: beside other appends.
    Append,
    /// Fetch: behind every append, and nothing waits for it but where there are [many](READS_MAX).
    Read,
    /// Everything else: when what stands before it is answered, and then what stands behind it waits.
    Alone,
}

impl Class {
    /// The class of a request by the first two bytes of its frame, which are its API key.
    #[must_use]
    pub fn of(frame: &[u8]) -> Class {
        let code = frame.first_chunk().map(|&code| i16::from_be_bytes(code));
        match code.and_then(ApiKey::from_code) {
            Some(ApiKey::Produce) => Class::Append,
            Some(ApiKey::Fetch) => Class::Read,
            Some(_) | None => Class::Alone,
        }
    }
}

/// A request's place in the order of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    number: u64,
    class: Class,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<R> {
    /// A reply to send.
    Reply(R),
    /// Nothing is sent (produce with acks=0).
    Silence,
    /// The connection ends once the replies before this one have left (Kafka's way with requests that it cannot
    /// parse or does not know).
    Close,
}

/// What is next to leave.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<R> {
    /// This reply.
    Reply(R),
    /// The end: an answer closed the connection.
    Close,
}

/// The order of one connection.
#[derive(Debug)]
pub struct Pipeline<R> {
    /// From the oldest request that has not left; `None` while in progress.
    waiting: VecDeque<Option<Answer<R>>>,
    /// The ticket of the front of `waiting`.
    first: u64,
    /// Appends in progress.
    appends: usize,
    /// Fetches in progress.
    reads: usize,
    /// Requests in progress that nothing may begin beside.
    alone: usize,
    limit: usize,
    /// An answer closes the connection when its turn comes: nothing more starts.
    closing: bool,
    /// Nothing starts or leaves any more.
    closed: bool,
}

impl<R> Pipeline<R> {
    /// At most `limit` requests at a time.
    #[must_use]
    pub fn new(limit: usize) -> Pipeline<R> {
        assert!(limit > 0, "a connection may have a request in progress");
        Pipeline {
            waiting: VecDeque::new(),
            first: 0,
            appends: 0,
            reads: 0,
            alone: 0,
            limit,
            closing: false,
            closed: false,
        }
    }

    /// Whether a request of this class may start now.
    #[must_use]
    pub fn may_start(&self, class: Class) -> bool {
        self.has_room()
            && self.alone == 0
            && (class == Class::Append || self.appends == 0)
            && (class != Class::Read || self.reads < READS_MAX)
    }

    /// Whether another request may start as far as there is room: not above the limit, and not behind an answer that
    /// closes.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting.len() < self.limit && !self.closing && !self.closed
    }

    /// Requests in progress, or whose replies have not left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing is in progress and nothing waits to leave.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether the front has been answered.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.waiting.front().is_some_and(Option::is_some)
    }

    /// Whether replies wait behind a request that has not been answered.
    #[must_use]
    pub fn holds_replies(&self) -> bool {
        !self.is_ready() && self.waiting.iter().any(|answer| matches!(answer, Some(Answer::Reply(_))))
    }

    /// A request starts. Only when it [may](Pipeline::may_start).
    pub fn start(&mut self, class: Class) -> Ticket {
        assert!(self.may_start(class), "a request starts when its turn has come");
        self.waiting.push_back(None);
        *self.in_progress(class) += 1;
        Ticket { number: self.first + self.waiting.len() as u64 - 1, class }
    }

    /// How many requests of a class are in progress.
    fn in_progress(&mut self, class: Class) -> &mut usize {
        match class {
            Class::Append => &mut self.appends,
            Class::Alone => &mut self.alone,
            Class::Read => &mut self.reads,
        }
    }

    /// A request's answer is there. An answer to a request of before a close is dropped.
    pub fn answer(&mut self, ticket: Ticket, answer: Answer<R>) {
        let Some(place) = ticket.number.checked_sub(self.first) else {
            assert!(self.closed, "a request is answered once");
            return;
        };
        let place = usize::try_from(place).expect("fewer requests than memory");
        let place = if canary::is(Canary::RepliesSwapped) { self.first_open() } else { place };
        let Some(slot) = self.waiting.get_mut(place) else {
            assert!(self.closed, "only a request that has started is answered");
            return;
        };
        assert!(slot.is_none(), "a request is answered once");
        self.closing |= matches!(answer, Answer::Close);
        *slot = Some(answer);
        *self.in_progress(ticket.class) -= 1;
    }

    /// A planted bug: the first place that has no answer, whoever's it is.
    fn first_open(&self) -> usize {
        self.waiting.iter().position(Option::is_none).unwrap_or(self.waiting.len())
    }

    /// What leaves next, when its turn has come. After [`Next::Close`] there is nothing more.
    pub fn leave(&mut self) -> Option<Next<R>> {
        loop {
            self.waiting.front()?.as_ref()?;
            let answer = self.waiting.pop_front().flatten().expect("looked at above");
            self.first += 1;
            match answer {
                Answer::Reply(reply) => return Some(Next::Reply(reply)),
                Answer::Silence => {}
                Answer::Close => {
                    self.close();
                    return Some(Next::Close);
                }
            }
        }
    }

    /// Nothing more starts or leaves; what is in progress is answered into the void.
    pub fn close(&mut self) {
        self.closed = true;
        self.waiting = VecDeque::new();
    }

    /// Gives back memory that only a burst needed.
    pub fn shrink(&mut self) {
        const KEPT: usize = 8;
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT {
            self.waiting = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_leave_in_the_order_of_their_requests() {
        let mut pipeline = Pipeline::new(8);
        let tickets: Vec<Ticket> = (0..3).map(|_| pipeline.start(Class::Append)).collect();
        pipeline.answer(tickets[2], Answer::Reply("third"));
        pipeline.answer(tickets[1], Answer::Reply("second"));
        assert_eq!(pipeline.leave(), None);
        assert!(!pipeline.is_ready());
        pipeline.answer(tickets[0], Answer::Reply("first"));
        assert!(pipeline.is_ready());
        let left: Vec<_> = std::iter::from_fn(|| pipeline.leave()).collect();
        assert_eq!(left, [Next::Reply("first"), Next::Reply("second"), Next::Reply("third")]);
        assert!(pipeline.is_empty());
    }

    #[test]
    fn only_appends_and_what_follows_a_fetch_begin_side_by_side() {
        let classes = [Class::Append, Class::Read, Class::Alone];
        let beside =
            [(Class::Append, [true, false, false]), (Class::Read, [true; 3]), (Class::Alone, [false; 3])];
        for (first, may_start) in beside {
            let mut pipeline = Pipeline::new(8);
            let ticket = pipeline.start(first);
            assert_eq!(classes.map(|class| pipeline.may_start(class)), may_start, "beside {first:?}");
            pipeline.answer(ticket, Answer::Reply(1));
            assert_eq!(classes.map(|class| pipeline.may_start(class)), [true; 3], "behind {first:?}");
        }
        let mut pipeline: Pipeline<()> = Pipeline::new(8);
        let [_fetch, alone] = [Class::Read, Class::Alone].map(|class| pipeline.start(class));
        assert_eq!(classes.map(|class| pipeline.may_start(class)), [false; 3]);
        pipeline.answer(alone, Answer::Silence);
        assert_eq!(classes.map(|class| pipeline.may_start(class)), [true; 3], "the Fetch is not waited for");
    }

    #[test]
    fn so_many_fetches_and_no_more_are_in_progress() {
        let mut pipeline: Pipeline<()> = Pipeline::new(64);
        let tickets: Vec<Ticket> = (0..READS_MAX).map(|_| pipeline.start(Class::Read)).collect();
        assert!(!pipeline.may_start(Class::Read));
        assert!(pipeline.may_start(Class::Append), "others do not wait for them");
        pipeline.answer(tickets[2], Answer::Reply(()));
        assert!(pipeline.may_start(Class::Read), "answered is not in progress, though it has not left");
    }

    #[test]
    fn a_frame_is_told_by_its_first_bytes() {
        let class = |code: i16| Class::of(&code.to_be_bytes());
        assert_eq!([0, 1, 3, 8, 11, 9_999].map(class)[..2], [Class::Append, Class::Read]);
        assert!([3, 8, 11, 9_999, -1].map(class).iter().all(|class| *class == Class::Alone));
        assert_eq!(Class::of(&[0]), Class::Alone, "too short to be a request");
    }

    #[test]
    fn silence_takes_its_place_and_leaves_nothing() {
        let mut pipeline = Pipeline::new(8);
        let (quiet, loud) = (pipeline.start(Class::Append), pipeline.start(Class::Append));
        pipeline.answer(loud, Answer::Reply(1));
        assert_eq!(pipeline.leave(), None);
        pipeline.answer(quiet, Answer::Silence);
        assert_eq!(pipeline.leave(), Some(Next::Reply(1)));
        assert_eq!(pipeline.leave(), None);
        let quiet = pipeline.start(Class::Append);
        pipeline.answer(quiet, Answer::Silence);
        assert_eq!(pipeline.leave(), None);
        assert!(pipeline.is_empty());
    }

    #[test]
    fn nothing_leaves_after_a_close_but_everything_before_it() {
        let mut pipeline = Pipeline::new(8);
        let tickets: Vec<Ticket> = (0..4).map(|_| pipeline.start(Class::Append)).collect();
        pipeline.answer(tickets[2], Answer::Reply(2));
        assert!(pipeline.has_room());
        pipeline.answer(tickets[1], Answer::Close);
        assert_eq!(pipeline.leave(), None);
        assert!(!pipeline.has_room(), "nothing starts behind a close");
        pipeline.answer(tickets[0], Answer::Reply(0));
        assert_eq!(pipeline.leave(), Some(Next::Reply(0)));
        assert_eq!(pipeline.leave(), Some(Next::Close));
        assert_eq!(pipeline.leave(), None);
        assert!(!pipeline.has_room());
        pipeline.answer(tickets[3], Answer::Reply(3));
        assert_eq!(pipeline.leave(), None);
    }

    #[test]
    fn the_limit_counts_what_is_in_progress_and_what_has_not_left() {
        let mut pipeline = Pipeline::new(2);
        let first = pipeline.start(Class::Append);
        let second = pipeline.start(Class::Append);
        assert!(!pipeline.has_room());
        pipeline.answer(second, Answer::Reply(2));
        assert!(!pipeline.has_room());
        pipeline.answer(first, Answer::Reply(1));
        assert!(!pipeline.has_room());
        assert_eq!(pipeline.leave(), Some(Next::Reply(1)));
        assert!(pipeline.has_room());
    }

    #[test]
    #[should_panic(expected = "a request is answered once")]
    fn a_second_answer_is_a_bug() {
        let mut pipeline = Pipeline::new(2);
        let ticket = pipeline.start(Class::Append);
        pipeline.answer(ticket, Answer::Reply(1));
        pipeline.answer(ticket, Answer::Reply(2));
    }

    #[test]
    #[should_panic(expected = "a request starts when its turn has come")]
    fn a_start_above_the_limit_is_a_bug() {
        let mut pipeline: Pipeline<()> = Pipeline::new(1);
        pipeline.start(Class::Append);
        pipeline.start(Class::Append);
    }
}
