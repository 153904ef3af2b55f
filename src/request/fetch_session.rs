//! Fetch sessions (KIP-227): what a client asked for last time, so that it need not say it again, and what it was
//! told last time, so that it is told only what changed.
//!
//! Each shard keeps the sessions of its own connections; a client that comes back through another shard gets
//! `FETCH_SESSION_ID_NOT_FOUND` and starts a new one, as it does after a broker's restart. What must hold: the
//! number of sessions is bounded by `slots_max`, that of their partitions by `partitions_max`, and a client whose
//! session has no room, or a name that no topic has, is served without one; an incremental reply leaves out exactly
//! the partitions without news; the order rotates so that no partition starves behind a full one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::errors::ErrorCode;
use crate::ids::{Offset, Uuid};
use crate::limits::TOPIC_NAME_BYTES_MAX;
use crate::time::Monotonic;

/// The epoch that asks for a new session.
const INITIAL_EPOCH: i32 = 0;
/// The epoch that closes the session and asks for everything once.
const FINAL_EPOCH: i32 = -1;
/// A session used within this time is never evicted for another (`min.incremental.fetch.session.eviction.ms`).
const EVICTION_AGE_MIN: Duration = Duration::from_secs(120);

/// How a request names a topic: by id from version 13 on, by name before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicRef {
    /// By name.
    Name(Arc<str>),
    /// By id.
    Id(Uuid),
}

/// A partition as a fetch request names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionRef {
    /// The topic.
    pub topic: TopicRef,
    /// The partition's index.
    pub partition: i32,
}

/// What a client wants of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The next offset that the client has not seen.
    pub fetch_offset: Offset,
    /// The most bytes of records to return.
    pub max_bytes: i32,
    /// The leader epoch that the client knows; -1 for none.
    pub current_leader_epoch: i32,
    /// The epoch of the last record that the client has; -1 for none.
    pub last_fetched_epoch: i32,
}

/// What a client was told of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The error, or none.
    pub error: ErrorCode,
    /// The high watermark.
    pub high_watermark: Offset,
    /// The last stable offset.
    pub last_stable_offset: Offset,
    /// The log start offset.
    pub log_start_offset: Offset,
    /// Whether there are records, or a diverging epoch: always news.
    pub has_news: bool,
}

/// The part of a request that says which session it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct SessionRequest {
    /// The session's number; 0 for none.
    pub session_id: i32,
    /// The session's epoch.
    pub epoch: i32,
    /// Whether this version names topics by id.
    pub uses_topic_ids: bool,
}

/// What kind of reply a request will get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// Everything, and no session.
    Sessionless,
    /// Everything, and a session is made if there is room.
    New {
        /// Whether topics are named by id.
        uses_topic_ids: bool,
    },
    /// Only what changed.
    Incremental {
        /// The session's number.
        session_id: i32,
    },
}

/// A partition within a session: what is wanted and what was told last.
#[derive(Clone, Debug)]
struct Cached {
    partition: PartitionRef,
    wanted: Wanted,
    told: Option<Told>,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    uses_topic_ids: bool,
    used: Monotonic,
    next_place: u64,
    places: BTreeMap<PartitionRef, u64>,
    partitions: BTreeMap<u64, Cached>,
}

/// Whether a partition is worth remembering: no topic has a name as long as that.
fn is_possible(partition: &PartitionRef) -> bool {
    !matches!(&partition.topic, TopicRef::Name(name) if name.len() > TOPIC_NAME_BYTES_MAX)
}

impl Session {
    fn new(now: Monotonic, uses_topic_ids: bool) -> Self {
        let (places, partitions) = (BTreeMap::new(), BTreeMap::new());
        Self { epoch: 1, uses_topic_ids, used: now, next_place: 0, places, partitions }
    }

    fn want(&mut self, partition: PartitionRef, wanted: Wanted) {
        if let Some(place) = self.places.get(&partition) {
            self.partitions.get_mut(place).expect("a place has its partition").wanted = wanted;
            return;
        }
        self.push(Cached { partition, wanted, told: None });
    }

    fn push(&mut self, cached: Cached) {
        self.places.insert(cached.partition.clone(), self.next_place);
        self.partitions.insert(self.next_place, cached);
        self.next_place += 1;
    }

    fn remove(&mut self, partition: &PartitionRef) -> Option<Cached> {
        let place = self.places.remove(partition)?;
        self.partitions.remove(&place)
    }

    /// Remembers what was told and says whether it was news. A partition with records goes to the end of the
    /// line, so that the next reply starts with others.
    fn tell(&mut self, partition: &PartitionRef, told: Told) -> bool {
        let Some(place) = self.places.get(partition) else { return true };
        let cached = self.partitions.get_mut(place).expect("a place has its partition");
        let news = told.has_news
            || !told.error.is_none()
            || cached.told.is_none_or(|before| Told { has_news: false, ..before } != told);
        cached.told = Some(Told { has_news: false, ..told });
        if !told.error.is_none() {
            cached.told = None;
        }
        if told.has_news {
            let cached = self.remove(partition).expect("it was just found");
            self.push(cached);
        }
        news
    }

    fn list(&self) -> Vec<(PartitionRef, Wanted)> {
        self.partitions.values().map(|cached| (cached.partition.clone(), cached.wanted)).collect()
    }
}

/// The fetch sessions of one shard.
#[derive(Debug)]
pub struct FetchSessions {
    slots_max: usize,
    partitions_max: usize,
    /// Partitions of all sessions together.
    partitions: usize,
    sessions: BTreeMap<i32, Session>,
}

/// What to read for a request, and how its reply is made.
#[derive(Debug)]
pub struct SessionPlan {
    /// The kind of reply.
    pub kind: SessionKind,
    /// The partitions to read, in order.
    pub partitions: Vec<(PartitionRef, Wanted)>,
}

impl FetchSessions {
    /// Keeps at most `slots_max` sessions with `partitions_max` partitions together.
    #[must_use]
    pub fn new(slots_max: usize, partitions_max: usize) -> Self {
        Self { slots_max, partitions_max, partitions: 0, sessions: BTreeMap::new() }
    }

    /// The number of sessions kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether no session is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Finds out what a request wants read.
    ///
    /// # Errors
    /// `FETCH_SESSION_ID_NOT_FOUND`, `INVALID_FETCH_SESSION_EPOCH` or `FETCH_SESSION_TOPIC_ID_ERROR`, for the
    /// whole request; the session stays as it was, unless it has grown beyond all bounds: then it is gone.
    pub fn begin(
        &mut self,
        now: Monotonic,
        request: SessionRequest,
        wanted: Vec<(PartitionRef, Wanted)>,
        forgotten: &[PartitionRef],
    ) -> Result<SessionPlan, ErrorCode> {
        if matches!(request.epoch, INITIAL_EPOCH | FINAL_EPOCH) {
            self.forget(request.session_id);
            let kind = match request.epoch {
                FINAL_EPOCH => SessionKind::Sessionless,
                _ => SessionKind::New { uses_topic_ids: request.uses_topic_ids },
            };
            return Ok(SessionPlan { kind, partitions: wanted });
        }
        let session = self.sessions.get_mut(&request.session_id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != request.epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.uses_topic_ids != request.uses_topic_ids {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        let before = session.partitions.len();
        for partition in forgotten {
            session.remove(partition);
        }
        let are_possible = wanted.iter().all(|(partition, _)| is_possible(partition));
        for (partition, wanted) in wanted {
            session.want(partition, wanted);
        }
        self.partitions = self.partitions - before + session.partitions.len();
        if self.partitions > self.partitions_max || !are_possible {
            // The client asks for everything anew, and is served with or without a session.
            self.forget(request.session_id);
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        session.used = now;
        session.epoch = if session.epoch == i32::MAX { 1 } else { session.epoch + 1 };
        if session.partitions.is_empty() {
            self.forget(request.session_id);
            return Ok(SessionPlan { kind: SessionKind::Sessionless, partitions: Vec::new() });
        }
        let kind = SessionKind::Incremental { session_id: request.session_id };
        Ok(SessionPlan { kind, partitions: session.list() })
    }

    /// Ends a request: the session's number for the reply (0 for none) and, for each told partition, whether the
    /// reply must contain it. `candidate_id` is a random number for a session that is made now.
    pub fn finish(
        &mut self,
        now: Monotonic,
        kind: SessionKind,
        told: &[(PartitionRef, Wanted, Told)],
        candidate_id: u32,
    ) -> (i32, Vec<bool>) {
        match kind {
            SessionKind::Sessionless => (0, vec![true; told.len()]),
            SessionKind::New { uses_topic_ids } => {
                let everything = vec![true; told.len()];
                let candidate = i32::try_from(candidate_id & 0x7fff_ffff).expect("31 bits fit").max(1);
                let taken = self.sessions.contains_key(&candidate);
                let are_possible = told.iter().all(|(partition, _, _)| is_possible(partition));
                if told.is_empty() || taken || !are_possible || !self.make_room(now, told.len()) {
                    return (0, everything);
                }
                let mut session = Session::new(now, uses_topic_ids);
                for (partition, wanted, _) in told {
                    session.want(partition.clone(), *wanted);
                }
                for (partition, _, told) in told {
                    session.tell(partition, *told);
                }
                self.partitions += session.partitions.len();
                self.sessions.insert(candidate, session);
                (candidate, everything)
            }
            SessionKind::Incremental { session_id } => {
                let Some(session) = self.sessions.get_mut(&session_id) else {
                    return (session_id, vec![true; told.len()]);
                };
                let news = told.iter().map(|(partition, _, told)| session.tell(partition, *told));
                (session_id, news.collect())
            }
        }
    }

    fn forget(&mut self, session_id: i32) {
        if let Some(session) = self.sessions.remove(&session_id) {
            self.partitions -= session.partitions.len();
        }
    }

    /// Makes room for one session of so many partitions, evicting those that were unused for longest if that is long
    /// enough.
    fn make_room(&mut self, now: Monotonic, partitions: usize) -> bool {
        if partitions > self.partitions_max {
            return false;
        }
        while self.sessions.len() >= self.slots_max || self.partitions + partitions > self.partitions_max {
            let oldest = self.sessions.iter().min_by_key(|(_, session)| session.used);
            let Some((&id, session)) = oldest else { return false };
            if now.since(session.used) < EVICTION_AGE_MIN {
                return false;
            }
            self.forget(id);
        }
        true
    }
}

#[cfg(test)]
mod tests;
