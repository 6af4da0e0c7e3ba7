//! Answering what other nodes ask.

use std::sync::Arc;

use broker::bus::Bus;
use broker::census;
use broker::control::{Control, Reply};
use broker::link::Aside;
use broker::quota::Quotas;
use broker::topic::Topic;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::shard::inbox::{Inbox, Mail};

/// Answers until the link has ended.
pub async fn answer(
    mut asides: mpsc::Receiver<Aside>,
    shards: Vec<Arc<Inbox>>,
    bus: Bus,
    quotas: Quotas,
) {
    while let Some(aside) = asides.recv().await {
        match serde_json::from_slice(&aside.payload) {
            Ok(Control::RecipientStatus {
                question,
                topic,
                node,
            }) => {
                let Some(topic) = Topic::parse(&topic) else {
                    continue;
                };
                // Late, it would count for nothing; and a shard that has hung
                // must not keep the process from ending.
                let counting = count(question, &topic, &shards);
                let Ok(reply) = tokio::time::timeout(census::PATIENCE, counting).await else {
                    continue;
                };
                if let Err(error) = bus.reply(&node, &reply).await {
                    warn!(%error, "a question of another node could not be answered");
                }
            }
            Ok(Control::QuotaChanged { tenant }) => {
                if let Ok(tenant) = tenant.parse() {
                    quotas.forget(&tenant);
                }
            }
            // Gateways check no access keys.
            Ok(Control::KeyChanged { .. }) => {}
            Err(error) => warn!(%error, "a frame on the control channel cannot be read"),
        }
    }
}

async fn count(question: u64, topic: &Topic, shards: &[Arc<Inbox>]) -> Reply {
    let mut reply = Reply {
        question,
        sockets: 0,
        since: None,
    };
    for shard in shards {
        let (asker, answer) = oneshot::channel();
        shard.send(Mail::Count(topic.clone(), asker));
        // A shard that has been drained holds no sockets.
        let here = answer.await.unwrap_or_default();
        reply.sockets += here.sockets;
        let since = here.since.map(broker::Timestamp::millis);
        reply.since = reply.since.into_iter().chain(since).min();
    }
    reply
}
