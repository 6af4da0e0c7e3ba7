//! Whether a connection is alive, and what it proves to have brought: it must bring
//! back what we publish ourselves.
//!
//! A probe is published through every primary, at every interval, with that
//! primary's time. Coming back, it proves that all that was published through it
//! before has come, too.

use std::time::{Duration, Instant};

use crate::keys::Partition;

/// So many rounds in a row a primary that publishes may be not heard. A connection
/// that is far behind is given time, as the next may be no better.
const DEAF: u32 = 3;

/// What to do about a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    Wait,
    /// Publish this through every primary.
    Probe(u64),
    /// Nothing comes.
    GiveUp,
    /// Something comes, but not all.
    Deaf,
}

/// Where a probe was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// What the primary calls itself; only in a Cluster it does.
    pub server: Box<str>,
    /// Whose events it publishes.
    pub partitions: Vec<Partition>,
    /// Whether it did publish it.
    pub done: bool,
}

/// All that these partitions published before this time has been heard.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) server: Box<str>,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) millis: u64,
}

/// Proof of life, and of what it brought.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) heard_at: Instant,
    /// Whether probes come back; before, they would be published too early.
    listens: bool,
    begun: Instant,
    nonce: u64,
    round: Option<Round>,
    /// Rounds in a row in which a primary was not heard that had published.
    deaf: u32,
}

/// What became of the latest probe.
#[derive(Debug)]
struct Round {
    sent: Instant,
    /// Whether everything that came back, and nothing else, is still awaited.
    publishing: bool,
    published: Vec<Published>,
    heard: Vec<(Box<str>, u64)>,
}

impl Probe {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            heard_at: now,
            listens: false,
            begun: now,
            nonce: 0,
            round: None,
            deaf: 0,
        }
    }

    /// What is published to our channel comes back from now on.
    pub(crate) fn listens(&mut self) {
        self.listens = true;
    }

    /// Time has passed. Those who were published to, and not heard, are left in
    /// `missed`, once in each round.
    pub(crate) fn tick(
        &mut self,
        now: Instant,
        interval: Duration,
        missed: &mut Vec<Published>,
    ) -> Beat {
        if !self.listens {
            let waited = now.saturating_duration_since(self.begun);
            return match interval <= waited {
                true => Beat::GiveUp,
                false => Beat::Wait,
            };
        }
        if let Some(round) = &mut self.round {
            let waited = now.saturating_duration_since(round.sent);
            if interval * 3 / 4 <= waited && self.heard_at < round.sent {
                return Beat::GiveUp;
            }
            if waited < interval || round.publishing {
                return Beat::Wait;
            }
            let unheard = round.published.iter().any(|published| published.done);
            self.deaf = if unheard { self.deaf + 1 } else { 0 };
            missed.append(&mut round.published);
            if DEAF <= self.deaf {
                return Beat::Deaf;
            }
        }
        self.nonce += 1;
        self.round = Some(Round {
            sent: now,
            publishing: true,
            published: Vec::new(),
            heard: Vec::new(),
        });
        Beat::Probe(self.nonce)
    }

    /// The probe was published there.
    pub(crate) fn published(&mut self, nonce: u64, published: Vec<Published>) -> Vec<Proof> {
        let Some(round) = self.round.as_mut().filter(|_| self.nonce == nonce) else {
            return Vec::new();
        };
        round.publishing = false;
        round.published = published;
        round.proofs()
    }

    /// A probe came back: how long it took, and what that proves.
    pub(crate) fn answered(
        &mut self,
        payload: &[u8],
        now: Instant,
    ) -> Option<(Duration, Vec<Proof>)> {
        let text = std::str::from_utf8(payload).ok()?;
        let mut words = text.splitn(3, ' ');
        let nonce: u64 = words.next()?.parse().ok()?;
        let millis: u64 = words.next()?.parse().ok()?;
        let server = words.next()?;
        let round = self.round.as_mut().filter(|_| self.nonce == nonce)?;
        round.heard.push((server.into(), millis));
        let took = now.saturating_duration_since(round.sent);
        Some((took, round.proofs()))
    }
}

impl Round {
    /// Takes what was both published and heard.
    fn proofs(&mut self) -> Vec<Proof> {
        let mut proofs = Vec::new();
        let heard = &self.heard;
        self.published.retain(|published| {
            let back = heard.iter().find(|(server, _)| *server == published.server);
            let Some((server, millis)) = back else {
                return true;
            };
            proofs.push(Proof {
                server: server.clone(),
                partitions: published.partitions.clone(),
                millis: *millis,
            });
            false
        });
        proofs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(4);

    /// A probe, and whatever is to be done in each quarter of an interval.
    struct Line {
        probe: Probe,
        start: Instant,
        now: Instant,
        missed: Vec<Published>,
    }

    impl Line {
        fn new() -> Self {
            let start = Instant::now();
            let mut probe = Probe::new(start - Duration::from_millis(1));
            probe.listens();
            Self {
                probe,
                start,
                now: start,
                missed: Vec::new(),
            }
        }

        fn tick(&mut self, quarter: u32) -> Beat {
            self.now = self.start + INTERVAL / 4 * quarter;
            self.probe.tick(self.now, INTERVAL, &mut self.missed)
        }

        fn hear(&mut self, payload: &str) -> Option<Vec<Proof>> {
            self.probe.heard_at = self.now + Duration::from_millis(1);
            let answered = self.probe.answered(payload.as_bytes(), self.now);
            answered.map(|(_, proofs)| proofs)
        }
    }

    fn published(server: &str, partitions: std::ops::Range<u16>) -> Published {
        Published {
            server: server.into(),
            partitions: partitions.filter_map(Partition::new).collect(),
            done: true,
        }
    }

    fn proof(of: &Published, millis: u64) -> Proof {
        Proof {
            server: of.server.clone(),
            partitions: of.partitions.clone(),
            millis,
        }
    }

    #[test]
    fn a_silent_connection_is_given_up_within_an_interval() {
        let mut line = Line::new();
        assert_eq!(line.tick(0), Beat::Probe(1));
        line.probe.published(1, vec![published("", 0..64)]);
        assert_eq!([line.tick(1), line.tick(2)], [Beat::Wait, Beat::Wait]);
        assert_eq!(line.tick(3), Beat::GiveUp);
    }

    #[test]
    fn what_comes_back_proves_what_was_published_before_it() {
        let one = published("", 0..64);
        let mut line = Line::new();
        for round in 1..5 {
            assert_eq!(line.tick(4 * (round - 1)), Beat::Probe(round.into()));
            assert_eq!(line.hear("x"), None);
            assert_eq!(line.hear(&format!("{} 500 ", round + 1)), None);
            // It may come back before we know that it was published.
            assert_eq!(line.hear(&format!("{round} 500 ")), Some(vec![]));
            let proofs = line.probe.published(round.into(), vec![one.clone()]);
            assert_eq!(proofs, [proof(&one, 500)]);
            assert_eq!(line.tick(4 * round - 1), Beat::Wait);
        }
        assert_eq!(line.missed, []);
    }

    #[test]
    fn a_primary_that_does_not_come_back_is_named_and_then_the_connection_given_up() {
        let (one, two) = (published("a", 0..32), published("b", 32..64));
        let mut line = Line::new();
        for round in 1..=DEAF {
            assert_eq!(line.tick(4 * (round - 1)), Beat::Probe(round.into()));
            assert_eq!(line.missed.len() as u32, round - 1);
            let both = vec![one.clone(), two.clone()];
            assert_eq!(line.probe.published(round.into(), both), []);
            let proofs = line.hear(&format!("{round} 7 a"));
            assert_eq!(proofs, Some(vec![proof(&one, 7)]));
        }
        assert_eq!(line.tick(4 * DEAF), Beat::Deaf);
        assert!(line.missed.iter().all(|missed| *missed == two));
    }

    #[test]
    fn a_primary_that_publishes_nothing_is_missed_and_nobody_s_fault() {
        let (one, mut two) = (published("a", 0..32), published("b", 32..64));
        two.done = false;
        let mut line = Line::new();
        for round in 1..10 {
            assert_eq!(line.tick(4 * (round - 1)), Beat::Probe(round.into()));
            let both = vec![one.clone(), two.clone()];
            line.probe.published(round.into(), both);
            line.hear(&format!("{round} 7 a"));
        }
        assert_eq!(line.missed, vec![two; 8]);
    }

    #[test]
    fn a_probe_is_published_once_it_can_come_back() {
        let mut line = Line::new();
        line.probe = Probe::new(line.start);
        assert_eq!([line.tick(0), line.tick(3)], [Beat::Wait, Beat::Wait]);
        assert_eq!(line.tick(4), Beat::GiveUp);
        line.probe.listens();
        assert_eq!(line.tick(4), Beat::Probe(1));
    }

    #[test]
    fn no_probe_follows_one_that_is_still_being_published() {
        let mut line = Line::new();
        assert_eq!(line.tick(0), Beat::Probe(1));
        line.hear("something");
        assert_eq!([line.tick(4), line.tick(5)], [Beat::Wait, Beat::Wait]);
        line.probe.published(1, vec![]);
        assert_eq!(line.tick(6), Beat::Probe(2));
    }
}
