//! The places of a reply: one for each partition of a request, in the request's order.
//!
//! Parts of a request travel to owner shards and their outcomes come back in any order; a slot's number says where
//! each belongs. What must hold: every place is answered exactly once before the reply is made.

use ottla_wire::Uuid;

/// One topic of the request: its name and id as the request gave them, and its partitions' indexes.
#[derive(Debug)]
struct TopicPlaces {
    name: String,
    id: Uuid,
    indexes: Vec<i32>,
}

/// A reply under construction, with an outcome of type `O` for each partition.
#[derive(Debug)]
pub struct Places<O> {
    topics: Vec<TopicPlaces>,
    outcomes: Vec<Option<O>>,
}

/// One topic of a finished reply.
#[derive(Debug)]
pub struct TopicOutcomes<O> {
    /// The topic's name as the request gave it; empty where it used the id.
    pub name: String,
    /// The topic's id as the request gave it; zero where it used the name.
    pub id: Uuid,
    /// Each partition's index and outcome, in the request's order.
    pub partitions: Vec<(i32, O)>,
}

impl<O> Default for Places<O> {
    fn default() -> Self {
        Self { topics: Vec::new(), outcomes: Vec::new() }
    }
}

impl<O> Places<O> {
    /// Begins a topic; the places that follow are its partitions.
    pub fn topic(&mut self, name: &str, id: Uuid) {
        self.topics.push(TopicPlaces { name: name.to_owned(), id, indexes: Vec::new() });
    }

    /// Adds a partition of the topic begun last and returns its slot.
    ///
    /// # Panics
    /// When no topic was begun.
    pub fn partition(&mut self, index: i32) -> u32 {
        let topic = self.topics.last_mut().expect("a topic is begun before its partitions");
        topic.indexes.push(index);
        self.outcomes.push(None);
        u32::try_from(self.outcomes.len() - 1).expect("a request has under 2^32 partitions")
    }

    /// Fills one place.
    ///
    /// # Panics
    /// When the slot is not of this request or is answered twice: both are our own bugs.
    pub fn answer(&mut self, slot: u32, outcome: O) {
        let place = &mut self.outcomes[slot as usize];
        assert!(place.is_none(), "a partition of a request is answered once");
        *place = Some(outcome);
    }

    /// The outcomes given so far.
    pub fn outcomes(&self) -> impl Iterator<Item = &O> {
        self.outcomes.iter().flatten()
    }

    /// The finished reply's topics, in the request's order.
    ///
    /// # Panics
    /// When a place was never filled.
    pub fn into_topics(self) -> impl Iterator<Item = TopicOutcomes<O>> {
        let mut outcomes = self.outcomes.into_iter();
        self.topics.into_iter().map(move |topic| {
            let outcome_of = |index| {
                let outcome = outcomes.next().expect("each partition has a place");
                (index, outcome.expect("every part is answered before the reply is made"))
            };
            let partitions = topic.indexes.into_iter().map(outcome_of).collect();
            TopicOutcomes { name: topic.name, id: topic.id, partitions }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_come_back_in_the_order_of_the_request() {
        let mut places = Places::default();
        places.topic("b", Uuid::ZERO);
        let (b0, b7) = (places.partition(0), places.partition(7));
        places.topic("a", Uuid::ZERO);
        let a3 = places.partition(3);
        places.answer(a3, 'z');
        places.answer(b0, 'x');
        places.answer(b7, 'y');
        let topics: Vec<_> = places.into_topics().map(|topic| (topic.name, topic.partitions)).collect();
        assert_eq!(
            topics,
            vec![("b".to_owned(), vec![(0, 'x'), (7, 'y')]), ("a".to_owned(), vec![(3, 'z')])]
        );
    }

    #[test]
    #[should_panic(expected = "answered once")]
    fn a_place_is_not_answered_twice() {
        let mut places = Places::default();
        places.topic("a", Uuid::ZERO);
        let slot = places.partition(0);
        places.answer(slot, ());
        places.answer(slot, ());
    }
}
