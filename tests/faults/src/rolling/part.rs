//! One part of a play: a load, something that is done meanwhile, and what came of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::deployment::Leave;
use super::flow::{self, Pace};
use super::manifest;
use crate::audit::{self, Books, Counts, Scope};
use crate::client::{Dialect, Kind};
use crate::crowd::Crowd;
use crate::load::Load;

/// How long there is load before something is done, and after it.
const BEFORE: Duration = Duration::from_secs(5);
const AFTER: Duration = Duration::from_secs(8);
/// What is sent may be under way for so long when its socket is closed; what a client
/// misses that has its socket for longer, it misses without a word.
const UNDER_WAY: Duration = Duration::from_secs(2);
/// A client that lost its socket because it is old comes back within this time.
const COMES_BACK: Duration = Duration::from_secs(4);
/// Nobody may be without a socket for longer.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scene {
    /// Gateways of a new version never get ready.
    Stuck,
    /// Gateways are replaced.
    Gateways,
    /// Workers are replaced, and then apis.
    Rest,
    /// A gateway is killed while it drains.
    Killed,
    /// Gateways become more, and fewer again.
    Scale,
}

impl Scene {
    /// What it is called on the page.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Stuck => "a new version of gateways that never gets ready, and the way back",
            Self::Gateways => "three gateways replaced",
            Self::Rest => "two workers, then two apis replaced",
            Self::Killed => "a gateway killed halfway through its drain",
            Self::Scale => "from one gateway to four, and back to one",
        }
    }

    /// Whether sockets are to be closed in it.
    const fn moves(self) -> bool {
        !matches!(self, Self::Stuck | Self::Rest)
    }

    /// Whether clients are to come back as fast as one gateway after the other drains.
    const fn is_paced(self) -> bool {
        matches!(self, Self::Gateways)
    }
}

/// Events that clients heard more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Repeats {
    /// On one and the same socket.
    pub(super) same: u64,
    /// On the next one, by recipients that do not acknowledge.
    pub(super) plain: u64,
    /// By those that do.
    pub(super) acknowledging: u64,
    /// By pages.
    pub(super) pages: u64,
    /// By clients of a Misskey.
    pub(super) misskey: u64,
}

/// What came of a part.
pub(super) struct Part {
    /// What was played.
    pub(super) scene: Scene,
    /// How long it took.
    pub(super) lasted: Duration,
    /// How long each client that lost its socket had none, sorted.
    pub(super) away: Vec<Duration>,
    /// Attempts that were refused.
    pub(super) refused: u32,
    /// How fast they came back, if that was planned.
    pub(super) pace: Option<Pace>,
    /// What became of what was sent.
    pub(super) books: Books,
    /// What was heard more than once.
    pub(super) repeats: Repeats,
    /// What does not hold.
    pub(super) complaints: Vec<String>,
}

impl Part {
    /// Plays a scene under this load; what is done returns who left.
    pub(super) async fn play(
        scene: Scene,
        crowd: &Arc<Crowd>,
        rate: u32,
        act: impl AsyncFnOnce(&mut Vec<String>) -> Vec<Leave>,
    ) -> Self {
        println!("{}", scene.name());
        let (first, began) = (crowd.ledger.next(), crowd.clock.now());
        let refused = flow::refused(crowd);
        let load = Load::start(crowd, rate);
        let mut complaints = Vec::new();
        sleep(BEFORE).await;
        let leaves = act(&mut complaints).await;
        sleep(AFTER).await;
        load.stop().await;
        let lasted = crowd.clock.now() - began;
        audit::settle(crowd, COMES_BACK).await;

        let scope = Scope {
            first,
            lost_at: None,
            told_within: UNDER_WAY,
        };
        let (books, stories) = audit::audit(crowd, &scope).await;
        complaints.extend(stories.into_iter().map(|story| format!("silent: {story}")));
        let gaps = flow::gaps(crowd, began);
        let window = manifest::seconds("CARILLON_DRAIN_WINDOW");
        let now = crowd.clock.now();
        let mut away: Vec<Duration> = gaps.iter().map(|gap| gap.length(now)).collect();
        away.sort();
        let paced = scene.is_paced();
        let mut part = Self {
            scene,
            lasted,
            away,
            refused: flow::refused(crowd) - refused,
            pace: paced
                .then(|| flow::pace(crowd, &leaves, window, &gaps))
                .flatten(),
            books,
            repeats: repeats(crowd, first),
            complaints,
        };
        part.complain(&leaves);
        println!("  {}", part.story());
        part
    }

    /// Whether everything held.
    pub(super) fn is_well(&self) -> bool {
        self.complaints.is_empty()
    }

    /// The sum over all ways to clients of this dialect that are promised.
    pub(super) fn sum(&self, dialect: Dialect) -> Counts {
        let mut sum = Counts::default();
        for (way, counts) in &self.books {
            if way.is_promised() && way.dialect() == dialect {
                sum += *counts;
            }
        }
        sum
    }

    /// How long the longest was away.
    pub(super) fn longest(&self) -> Duration {
        self.away.last().copied().unwrap_or_default()
    }

    /// Looks for what does not hold.
    fn complain(&mut self, leaves: &[Leave]) {
        let mut complaints = Vec::new();
        let mut hold = |holds: bool, complaint: String| {
            if !holds {
                complaints.push(complaint);
            }
        };
        let killed = self.scene == Scene::Killed;
        for leave in leaves {
            let by_itself = leave.status.is_some_and(|status| status.success());
            hold(
                by_itself || killed,
                format!("{} ended with {:?}", leave.name, leave.status),
            );
        }
        let longest = self.longest();
        hold(
            longest <= LONGEST,
            format!("somebody had no socket for {longest:.1?}"),
        );
        let ended = self.away.len();
        hold(
            self.scene.moves() || ended == 0,
            format!("{ended} sockets ended"),
        );
        for dialect in Dialect::ALL {
            let Counts {
                accepted,
                announced,
                silent,
                ..
            } = self.sum(dialect);
            hold(0 < accepted, format!("nothing was sent to {dialect:?}"));
            hold(
                silent == 0,
                format!("{silent} of {accepted} to {dialect:?} lost in silence"),
            );
            // What is stored for a recipient waits for it. A frame in the buffers of a
            // process that is killed is gone, and counts as delivered.
            let stored = dialect == Dialect::Push && !killed;
            hold(
                !stored || announced == 0,
                format!("{announced} messages lost"),
            );
        }
        let Repeats {
            same,
            plain,
            misskey,
            ..
        } = self.repeats;
        hold(same == 0, format!("{same} repeats on one socket"));
        hold(
            misskey == 0,
            format!("{misskey} repeats to clients of a Misskey"),
        );
        hold(
            plain == 0 || killed,
            format!("{plain} repeats of what was noted as delivered"),
        );
        if let Some(pace) = self.pace {
            hold(
                pace.kept == pace.windows,
                format!("the pace was not kept: {pace:?}"),
            );
        }
        hold(
            self.pace.is_some() || !self.scene.is_paced(),
            "nobody came back".to_owned(),
        );
        self.complaints.extend(complaints);
    }

    /// For a person who watches.
    fn story(&self) -> String {
        let of = |share: usize| self.away.get(self.away.len() * share / 100).copied();
        let sums = Dialect::ALL.map(|dialect| (dialect, self.sum(dialect)));
        format!(
            "{:.0?}; {} without a socket for {:.1?}, {:.1?}, {:.1?} at most; {} refused; {:?}; {:?}; {sums:?}",
            self.lasted,
            self.away.len(),
            of(50).unwrap_or_default(),
            of(99).unwrap_or_default(),
            self.longest(),
            self.refused,
            self.pace,
            self.repeats,
        )
    }
}

/// What clients have heard more than once, of events from this one on.
fn repeats(crowd: &Crowd, first: u32) -> Repeats {
    let mut repeats = Repeats::default();
    for client in crowd.clients() {
        let mut heard = HashMap::new();
        client.read(|diary| {
            for told in diary.told.iter().filter(|told| first <= told.event) {
                let Some(before) = heard.insert(told.event, told.socket) else {
                    continue;
                };
                let count = match client.kind {
                    _ if before == told.socket => &mut repeats.same,
                    Kind::Plain => &mut repeats.plain,
                    Kind::Acknowledging => &mut repeats.acknowledging,
                    Kind::Page => &mut repeats.pages,
                    Kind::User | Kind::Visitor => &mut repeats.misskey,
                };
                *count += 1;
            }
        });
    }
    repeats
}
