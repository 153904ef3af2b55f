//! Questions for several owner shards at once: parts grouped by owner, all asked before the first answer is awaited.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use ottla::ids::{ShardId, TopicIdPartition};
use ottla::placement::owner;

use crate::drive::Shard;
use crate::drive::messages::{Answer, Query};
use crate::host::{LocalBoxFuture, spawn};

/// Groups `parts` by the shard that owns the partition of each, in the order of first mention.
pub fn by_owner<P>(
    parts: Vec<P>,
    shards: u16,
    partition_of: impl Fn(&P) -> TopicIdPartition,
) -> Vec<(ShardId, Vec<P>)> {
    let mut groups: Vec<(ShardId, Vec<P>)> = Vec::new();
    for part in parts {
        let shard = owner(partition_of(&part), shards);
        match groups.iter_mut().find(|(of, _)| *of == shard) {
            Some((_, group)) => group.push(part),
            None => groups.push((shard, vec![part])),
        }
    }
    groups
}

/// Asks every shard of `queries` and returns the answers in their order. All are on their way when this returns
/// for the first time, so that requests of one connection reach each owner in order.
pub async fn ask_all(shard: &Shard, queries: Vec<(ShardId, Query)>) -> Vec<Answer> {
    let calls: Vec<_> = queries.into_iter().map(|(to, query)| shard.mesh.call(to, query)).collect();
    let mut answers = Vec::with_capacity(calls.len());
    for call in calls {
        answers.push(call.await);
    }
    answers
}

/// Asks every shard of the process the same.
pub async fn ask_everyone(shard: &Shard, query: impl Fn() -> Query) -> Vec<Answer> {
    ask_all(shard, (0..shard.shards).map(|to| (ShardId(to), query())).collect()).await
}

/// Does `work` for each of very many `items`, on `at_once` of them at a time, and returns when all is done: each
/// step of one costs the others nothing, and what one item takes is bounded by `at_once`.
pub async fn for_each_of<T: 'static, F>(
    items: Vec<T>,
    at_once: usize,
    work: impl Fn(T) -> F + Clone + 'static,
) where
    F: Future<Output = ()> + 'static,
{
    let workers = at_once.min(items.len());
    let items = Rc::new(RefCell::new(items.into_iter()));
    let tasks: Vec<_> = (0..workers)
        .map(|_| {
            let (items, work) = (Rc::clone(&items), work.clone());
            spawn(async move {
                loop {
                    let next = items.borrow_mut().next();
                    let Some(item) = next else { break };
                    work(item).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
}

/// Awaits the first of several futures to end and drops the others.
pub async fn first_of(mut futures: Vec<LocalBoxFuture<()>>) {
    poll_fn(|context| {
        let is_ready = futures.iter_mut().any(|future| Pin::new(future).poll(context).is_ready());
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
