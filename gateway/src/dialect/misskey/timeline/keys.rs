//! By which keys the stream of all notes finds the timelines that may take a note.

use broker::key::{Key, KeySet};
use broker::misskey::Field;
use broker::misskey::note::{Note, Visibility};
use broker::misskey::viewer::Viewer;

use super::Timeline;
use crate::interest::{Interest, Keys};

/// The name of everybody's public notes on this host.
const LOCAL: &str = "local";
/// The name of everybody's public notes.
const GLOBAL: &str = "global";

/// What of the stream of all notes these timelines of one viewer need, and
/// whatever bears one of the further keys.
pub fn interest<'a>(
    timelines: impl IntoIterator<Item = &'a Timeline>,
    further: impl IntoIterator<Item = Key>,
    viewer: &Viewer,
) -> Interest {
    let mut needs = Needs {
        own: further.into_iter().collect(),
        shared: Vec::new(),
    };
    for timeline in timelines {
        needs.add(timeline, viewer);
    }
    Interest::Keys(Keys::union(needs.shared, needs.own))
}

/// The keys that a note on the stream of all notes bears.
pub fn keys(note: &Note) -> Keys {
    let mut keys = vec![note.key];
    match note.channel {
        // Only those who follow or watch the channel see it, whoever wrote it.
        Some(channel) => keys.push(channel),
        None => {
            keys.push(note.author.key);
            if note.visibility == Visibility::Public {
                keys.push(everybody(GLOBAL));
                if note.author.is_local {
                    keys.push(everybody(LOCAL));
                }
            }
        }
    }
    keys.extend(note.tags.iter().map(|tag| Field::Tag.key(tag)));
    keys.into_iter().collect()
}

/// Keys of which a note bears at least one if a timeline takes it.
struct Needs {
    own: Vec<Key>,
    shared: Vec<KeySet>,
}

impl Needs {
    fn add(&mut self, timeline: &Timeline, viewer: &Viewer) {
        match timeline {
            Timeline::Home(_) => self.add_near(viewer),
            Timeline::Local(_) => self.own.push(everybody(LOCAL)),
            Timeline::Hybrid(_) => {
                self.add_near(viewer);
                self.own.push(everybody(LOCAL));
            }
            Timeline::Global(_) => self.own.push(everybody(GLOBAL)),
            Timeline::List(members, _) => self.shared.push(members.clone()),
            Timeline::Hashtag(hashtags) => self.own.extend(hashtags.keys()),
            Timeline::Channel(channel) => self.own.extend(*channel),
            // Their notes come on streams of their own.
            Timeline::Role | Timeline::Antenna => {}
        }
    }

    fn add_near(&mut self, viewer: &Viewer) {
        let channels = viewer.followed_channels.as_slice();
        self.own.extend(channels);
        self.own.extend(viewer.me.as_ref().map(|me| me.key));
        if !self.shared.contains(&viewer.following) {
            self.shared.push(viewer.following.clone());
        }
    }
}

fn everybody(timeline: &str) -> Key {
    Field::Timeline.key(timeline)
}
