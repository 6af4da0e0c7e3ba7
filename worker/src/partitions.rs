//! Going through all partitions, so that a server that fails holds up no other's.

use broker::Error;
use broker::keys::Partition;
use broker::topology::Redis;
use futures_util::future::join_all;
use rand::seq::SliceRandom;

/// Does the work of each partition: those of one server one after the other until
/// it fails, those of different servers at the same time. What came of it, and the
/// first failure if there was one. Workers that do this at once take the partitions
/// in different orders.
pub(crate) async fn each<T, W>(
    redis: &Redis,
    work: impl Fn(Partition) -> W,
) -> (Vec<T>, Option<Error>)
where
    W: Future<Output = Result<T, Error>>,
{
    let shards = redis.shards().await;
    let all = join_all(shards.into_iter().map(|shard| of_server(shard, &work))).await;
    let (done, failed): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    let failed = failed.into_iter().flatten().next();
    (done.into_iter().flatten().collect(), failed)
}

async fn of_server<T, W>(
    mut partitions: Vec<Partition>,
    work: &impl Fn(Partition) -> W,
) -> (Vec<T>, Option<Error>)
where
    W: Future<Output = Result<T, Error>>,
{
    partitions.shuffle(&mut rand::rng());
    let mut done = Vec::with_capacity(partitions.len());
    let mut failed = None;
    for partition in partitions {
        match work(partition).await {
            Ok(result) => done.push(result),
            // What is stored there is to blame, not the server.
            Err(error) if error.is_lasting() => failed = Some(error),
            Err(error) => return (done, Some(error)),
        }
    }
    (done, failed)
}
