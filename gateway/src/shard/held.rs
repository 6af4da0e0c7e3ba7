//! What sockets hold of memory, and closing those that hold most.
//!
//! Bytes that wait are counted as they come and go, which takes frames that several
//! sockets share for as many. Only when that is too much are they weighed for what
//! they cost.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Shard;
use super::conn::State;
use super::out::Queue;
use crate::close::CloseReason;
use crate::hub::SessionKey;
use crate::session::Now;

/// How often sockets are weighed at most: it means to look at each of them.
pub(super) const WEIGH_INTERVAL: Duration = Duration::from_millis(20);

/// What all sockets of a node hold together, and may hold. Clones are the same.
#[derive(Clone, Debug)]
pub struct Held {
    node: Arc<OfNode>,
}

#[derive(Debug)]
struct OfNode {
    bytes: AtomicUsize,
    /// What sessions keep because their clients asked for it.
    kept: AtomicUsize,
    /// By settings.
    most: usize,
    /// By the memory that is left.
    bound: AtomicUsize,
}

impl Held {
    /// So many bytes at most, weighed.
    pub fn new(most: usize) -> Self {
        let node = OfNode {
            bytes: AtomicUsize::new(0),
            kept: AtomicUsize::new(0),
            most,
            bound: AtomicUsize::new(usize::MAX),
        };
        Self {
            node: Arc::new(node),
        }
    }

    /// How much they hold: what waits for clients, what clients have not said to its
    /// end, and what they asked for beyond the usual. What several sockets share counts
    /// for each.
    pub fn bytes(&self) -> usize {
        self.unread() + self.node.kept.load(Ordering::Relaxed)
    }

    /// The same without what they asked for.
    fn unread(&self) -> usize {
        self.node.bytes.load(Ordering::Relaxed)
    }

    /// Bounds how much they may hold, so counted.
    pub fn bound(&self, bytes: usize) {
        self.node.bound.store(bytes, Ordering::Relaxed);
    }
}

/// What a shard's own sockets hold.
#[derive(Debug)]
pub(super) struct Holding {
    all: Held,
    /// Bytes that wait for clients.
    queued: usize,
    /// Bytes of what clients have not said to its end.
    unfinished: usize,
    /// Bytes of what clients asked for.
    kept: usize,
    /// How much of the first two is in the node's count, of the second in the metrics,
    /// and of the third in the node's.
    told: (usize, i64, usize),
    weighed_at: Option<Instant>,
    /// All hold too much, and it is too soon to weigh them again.
    too_much: bool,
}

impl Holding {
    pub(super) fn new(all: Held) -> Self {
        Self {
            all,
            queued: 0,
            unfinished: 0,
            kept: 0,
            told: (0, 0, 0),
            weighed_at: None,
            too_much: false,
        }
    }

    pub(super) fn is_too_much(&self) -> bool {
        self.too_much
    }

    /// A client has said so many bytes of what is incomplete that were so many before.
    pub(super) fn unfinished_changed(&mut self, before: usize, after: usize) {
        self.unfinished = self.unfinished + after - before;
    }

    /// A session keeps so many bytes that kept so many before.
    pub(super) fn kept_changed(&mut self, before: usize, after: usize) {
        self.kept = self.kept + after - before;
    }

    fn bytes(&self) -> usize {
        self.queued + self.unfinished
    }

    /// Whether all hold more than memory allows, with what this turn has added here.
    fn is_beyond(&self) -> bool {
        let (bytes, _, kept) = self.told;
        let here = (self.bytes() + self.kept).wrapping_sub(bytes + kept);
        let bound = self.all.node.bound.load(Ordering::Relaxed);
        bound < self.all.bytes().wrapping_add(here)
    }
}

impl Shard {
    /// So many bytes wait for a client that were so many before.
    pub(super) fn queue_changed(&mut self, before: usize, after: usize) {
        self.holding.queued = self.holding.queued + after - before;
        let signed = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.metrics.queue_bytes.add(signed(after) - signed(before));
        match (before, after) {
            (0, 1..) => self.metrics.queued_sockets.inc(),
            (1.., 0) => self.metrics.queued_sockets.dec(),
            _ => {}
        }
    }

    /// Looks at what a session keeps, now that its client may have asked for more. If it
    /// has and there is no more, it is closed: many may ask in one turn.
    pub(super) fn look_at_kept(&mut self, key: SessionKey, now: Now) {
        let Some(conn) = self.open_conn(key) else {
            return;
        };
        let before = conn.session.kept();
        conn.session.look_at_kept();
        let after = conn.session.kept();
        self.holding.kept_changed(before, after);
        if before < after && self.holding.is_beyond() {
            self.close(key, CloseReason::Overloaded, now);
        }
    }

    /// Tells what is held, and closes those that hold most if all hold too much.
    pub(super) fn bound_held(&mut self, now: Now) {
        let holding = &mut self.holding;
        let bytes = holding.bytes();
        let unfinished = i64::try_from(holding.unfinished).unwrap_or(i64::MAX);
        let kept = holding.kept;
        let now_told = (bytes, unfinished, kept);
        let (told, shown, kept_told) = std::mem::replace(&mut holding.told, now_told);
        self.metrics.unfinished_bytes.add(unfinished - shown);
        let node = &holding.all.node;
        node.bytes
            .fetch_add(bytes.wrapping_sub(told), Ordering::Relaxed);
        node.kept
            .fetch_add(kept.wrapping_sub(kept_told), Ordering::Relaxed);
        let (all, unread) = (holding.all.bytes(), holding.all.unread());
        let bound = node.bound.load(Ordering::Relaxed);
        let most = node.most;
        // What clients asked for is theirs as long as there is memory.
        let pressed = bound < all && 0 < bytes + kept;
        holding.too_much = pressed || most < unread && 0 < bytes;
        let lately = |at| now.steady.saturating_duration_since(at) < WEIGH_INTERVAL;
        if !holding.too_much || holding.weighed_at.is_some_and(lately) {
            return;
        }
        holding.weighed_at = Some(now.steady);
        let part = |bytes: usize, share: f64| (bytes as f64 * share).ceil() as usize;
        // Some more than it takes, or the next frame would be too much again.
        let allowed = part(most, share(bytes, unread));
        let excess = part(all.saturating_sub(bound / 10 * 9), share(bytes + kept, all));
        let weights = self.weights(pressed);
        let weight: usize = weights.iter().map(|(weight, _)| weight).sum();
        if pressed {
            self.close_heaviest(weights, excess, now);
        } else if allowed < weight {
            self.close_heaviest(weights, weight - allowed / 10 * 9, now);
        }
    }

    /// Closes so many sockets, whatever they hold.
    pub(super) fn relieve(&mut self, sockets: usize, now: Now) {
        let open = self.conns.iter();
        let open = open.filter(|(_, conn)| conn.state == State::Open);
        let keys: Vec<_> = open.map(|(slot, _)| self.key(slot)).collect();
        let count = sockets.min(keys.len());
        for at in rand::seq::index::sample(&mut self.random, keys.len(), count) {
            self.close(keys[at], CloseReason::Overloaded, now);
        }
    }

    /// Bytes that closing each socket would free, of those that hold any; with what
    /// their clients asked for or without.
    fn weights(&self, with_kept: bool) -> Vec<(usize, SessionKey)> {
        let open = self.conns.iter();
        let open = open.filter(|(_, conn)| conn.state == State::Open);
        let weighed = open.map(|(slot, conn)| {
            let queued = conn.queue.as_deref().map_or(0, Queue::weight);
            let kept = if with_kept { conn.session.kept() } else { 0 };
            (queued + conn.decoder.held() + kept, self.key(slot))
        });
        weighed.filter(|(weight, _)| 0 < *weight).collect()
    }

    fn close_heaviest(&mut self, mut weights: Vec<(usize, SessionKey)>, free: usize, now: Now) {
        weights.sort_unstable_by_key(|(weight, key)| (Reverse(*weight), key.slot));
        let mut freed = 0;
        for (weight, key) in weights {
            if free <= freed {
                break;
            }
            freed += weight;
            self.close(key, CloseReason::Overloaded, now);
        }
    }
}

/// The part that `here` is of `all`, at most the whole.
fn share(here: usize, all: usize) -> f64 {
    (here as f64 / all.max(1) as f64).min(1.0)
}
