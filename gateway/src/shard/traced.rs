//! What is recorded of events that belong to a trace: how long they took from Redis
//! to the sockets of a shard, and how many those were.

use std::sync::Arc;
use std::time::SystemTime;

use broker::event::Event;
use broker::trace::Kind;

use super::Shard;

/// An event whose frames are written at the end of the turn.
pub(super) struct Fanout {
    event: Arc<Event>,
    sockets: usize,
    frames: usize,
    bytes: usize,
}

impl Shard {
    /// An event went to so many sessions, and what they sent for it stands in the
    /// turn from there on.
    pub(super) fn fanned_out(&mut self, event: &Arc<Event>, sockets: usize, from: usize) {
        if self.tracing.is_on() {
            let (frames, bytes) = self.turn.added_since(from);
            self.fanouts.push(Fanout {
                event: Arc::clone(event),
                sockets,
                frames,
                bytes,
            });
        }
    }

    /// What the turn had was written, or waits for clients that do not read.
    pub(super) fn end_fanouts(&mut self) {
        let now = SystemTime::now();
        for fanout in self.fanouts.drain(..) {
            let Some(traced) = &fanout.event.traced else {
                continue;
            };
            let notes = [
                ("carillon.shard", self.number),
                ("carillon.sockets", fanout.sockets),
                ("carillon.frames", fanout.frames),
                ("carillon.bytes", fanout.bytes),
            ];
            let notes = notes.map(|(key, value)| (key, value as u64));
            let times = (traced.received_at, now);
            let (kind, parent) = (Kind::Consumer, &traced.parent);
            self.tracing
                .was(kind, "carillon.fanout", parent, times, notes);
        }
    }
}
