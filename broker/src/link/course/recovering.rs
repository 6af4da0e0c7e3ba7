//! What a link does about what it may have missed.

use std::sync::Arc;
use std::time::Instant;

use super::{Course, Live, Proof, Published};
use crate::event::{BadEvent, Event};
use crate::keys::Partition;
use crate::link::outlets::Arrival;
use crate::replay::{self, Page, Read, Recovered, Verdict};
use crate::topic::{Topic, TopicKind};

impl Course {
    /// Whether it is known how late it is by Redis' clock. If not, that is to be
    /// [told](Self::begin) before the first connection.
    pub fn has_begun(&self) -> bool {
        self.replay.has_begun()
    }

    /// By the clock of some server it is so late, in Unix milliseconds.
    pub fn begin(&mut self, millis: u64, now: Instant) {
        self.replay.begin(millis, now);
    }

    /// The probe that was [due](super::Due) was published there. None of them, if
    /// that failed everywhere.
    pub fn published(&mut self, nonce: u64, mut published: Vec<Published>, now: Instant) {
        self.cluster |= published.iter().any(|one| !one.server.is_empty());
        if self.cluster {
            let has = |p: &Partition| published.iter().any(|one| one.partitions.contains(p));
            let partitions = Partition::every().filter(|p| !has(p)).collect::<Vec<_>>();
            if !partitions.is_empty() {
                published.push(Published {
                    server: "".into(),
                    partitions,
                    done: false,
                });
            }
        }
        let proofs = self.probe.published(nonce, published);
        self.proved(proofs, now);
    }

    /// A ring to read now, if there is one. To be asked after all else.
    pub fn next_read(&mut self, now: Instant) -> Option<Read> {
        self.replay.next_read(now)
    }

    /// This was found in the ring; nothing if it could not be read.
    pub fn read(&mut self, read: &Read, page: Option<&Page>, now: Instant) {
        let recovered = match page {
            Some(page) => self.replay.page(read, page, now),
            None => self.replay.failed(read, now),
        };
        if let Some(recovered) = recovered {
            self.recovered(recovered);
        }
    }

    /// Whether everything that may have been missed has been found, or is known to
    /// be lost.
    pub fn caught_up(&self) -> bool {
        self.wanted.resubscribed() && self.replay.settled()
    }

    /// What was published through these primaries may not have been heard.
    pub(super) fn missed(&mut self, missed: Vec<Published>, now: Instant) {
        // One server that is not heard loses nothing on the way but everything.
        if !self.cluster {
            return;
        }
        for Published { partitions, .. } in missed {
            self.metrics.unheard.inc();
            for partition in &partitions {
                self.missed[usize::from(partition.index())] = true;
            }
            self.doubt(&partitions, true, now);
        }
    }

    /// Events of these partitions may be missing, even if later ones came: of rings
    /// they are read there, and who has a store reads that, or what a user may read.
    /// `raw`: also such that are in neither, see [`Replay::doubt`](replay::Replay::doubt).
    fn doubt(&mut self, partitions: &[Partition], raw: bool, now: Instant) {
        self.replay.doubt(partitions.iter().copied(), raw, now);
        let stored = |topic: &Topic| {
            // That rights have ended is told from where they are kept, a token's in any
            // partition, and stands in no ring.
            topic.kind() == TopicKind::User
                || !replay::has_ring(topic.kind()) && partitions.contains(&topic.partition())
        };
        for (topic, listeners) in self.wanted.told(stored) {
            let resumed = || Arrival::Resumed(topic.clone());
            self.gathered.collect(listeners, 0, resumed);
        }
    }

    pub(super) fn proved(&mut self, proofs: Vec<Proof>, now: Instant) {
        let (mut doubted, mut unproved) = (Vec::new(), Vec::new());
        for proof in &proofs {
            for &partition in &proof.partitions {
                let index = usize::from(partition.index());
                let prover = self.provers[index].replace(proof.server.clone());
                let missed = std::mem::take(&mut self.missed[index]);
                // Between what was read last and this, something may be missing still;
                // also between a new connection's first reading and its first proof. What
                // no ring keeps was given up when the connection before was lost.
                match prover {
                    _ if missed => doubted.push(partition),
                    None if self.cluster => unproved.push(partition),
                    Some(prover) if self.cluster && prover != proof.server => {
                        doubted.push(partition);
                    }
                    None | Some(_) => {}
                }
            }
        }
        for (doubted, raw) in [(doubted, true), (unproved, false)] {
            if !doubted.is_empty() {
                self.doubt(&doubted, raw, now);
            }
        }
        for proof in proofs {
            self.replay.proved(proof.partitions, proof.millis, now);
        }
    }

    /// Hands over what was missed of a ring, or says that it is lost.
    pub(super) fn recovered(&mut self, recovered: Recovered<Live>) {
        let Recovered {
            verdict,
            gaps,
            events,
        } = recovered;
        self.metrics.gaps(verdict).inc();
        for topic in gaps {
            let listeners = self.wanted.listeners(topic.as_str());
            if let Some((topic, listeners)) = listeners.filter(|(_, all)| *all != 0) {
                self.metrics.missed.inc();
                let gap = || Arrival::Gap(topic.clone());
                self.gathered.collect(listeners, 0, gap);
            }
        }
        for (topic, event) in events {
            let (event, bytes) = match event {
                replay::Event::Parked(live) => live,
                replay::Event::Replayed(id, json) => match Event::read(Some(id), &json) {
                    Ok(event) => {
                        self.metrics.replayed.inc();
                        (Arc::new(event), json.len())
                    }
                    Err(BadEvent::Version) => {
                        self.reject("version");
                        continue;
                    }
                    Err(BadEvent::Json | BadEvent::Entry) => {
                        self.reject("json");
                        continue;
                    }
                },
            };
            if let Some((topic, listeners)) = self.wanted.listeners(topic.as_str()) {
                let arrival = || Arrival::Event(topic.clone(), Arc::clone(&event));
                self.gathered.collect(listeners, bytes, arrival);
            }
        }
        if verdict != Verdict::Whole {
            tracing::warn!(verdict = verdict.label(), "events of a ring are lost");
        }
    }
}
