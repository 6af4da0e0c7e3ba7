//! Which notes a client has captured, and how often.

use std::collections::BTreeMap;

use broker::topic::{Topic, TopicMap};

/// Notes that one socket may capture. For a further one, the one that was
/// captured longest ago is let go, however often it was.
pub(super) const MAX_CAPTURES: usize = 1536;

/// So many are searched one by one, which most sockets stay below.
const FEW: usize = 16;

/// Captured notes by their topics, in the order in which they were captured last.
#[derive(Debug)]
pub(super) enum Captures {
    /// The last is the youngest.
    Few(Vec<(Topic, u32)>),
    /// Each with its place in the order.
    Many(Box<Many>),
}

#[derive(Debug, Default)]
pub(super) struct Many {
    notes: TopicMap<(u32, u64)>,
    order: BTreeMap<u64, Topic>,
    next: u64,
}

/// What capturing a note comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Captured {
    /// It was captured before, and counts once more.
    Again,
    /// It is new; another one was let go for it, if there was no room.
    New(Option<Topic>),
}

impl Default for Captures {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Captures {
    /// Captures a note, or does so once more.
    pub(super) fn capture(&mut self, note: &Topic) -> Captured {
        match self {
            Self::Few(few) => {
                let known = few.iter().position(|(topic, _)| topic == note);
                let (topic, count) = known.map_or_else(|| (note.clone(), 0), |at| few.remove(at));
                few.push((topic, count.saturating_add(1)));
                if FEW < few.len() {
                    *self = Self::Many(Box::new(few.drain(..).collect()));
                }
                known.map_or(Captured::New(None), |_| Captured::Again)
            }
            Self::Many(many) => many.capture(note),
        }
    }

    /// Lets go of a note once; true if it was captured no more often than that.
    pub(super) fn release(&mut self, note: &Topic) -> Released {
        match self {
            Self::Few(few) => {
                let Some(at) = few.iter().position(|(topic, _)| topic == note) else {
                    return Released::Unknown;
                };
                few[at].1 -= 1;
                if 0 < few[at].1 {
                    return Released::Counted;
                }
                few.remove(at);
                Released::Last
            }
            Self::Many(many) => many.release(note),
        }
    }

    /// Whether the note is captured.
    pub(super) fn contains(&self, note: &Topic) -> bool {
        match self {
            Self::Few(few) => few.iter().any(|(topic, _)| topic == note),
            Self::Many(many) => many.notes.contains_key(note),
        }
    }

    /// From now on names the note by this copy of its topic.
    pub(super) fn share(&mut self, note: &Topic) {
        match self {
            Self::Few(few) => {
                if let Some((own, _)) = few.iter_mut().find(|(topic, _)| topic == note) {
                    own.clone_from(note);
                }
            }
            Self::Many(many) => many.share(note),
        }
    }
}

/// What letting go of a note comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Released {
    /// It was not captured.
    Unknown,
    /// It is still captured.
    Counted,
    /// It is not captured any more.
    Last,
}

impl Many {
    fn capture(&mut self, note: &Topic) -> Captured {
        let turn = self.next;
        self.next += 1;
        if let Some((count, last)) = self.notes.get_mut(note) {
            *count = count.saturating_add(1);
            let own = self.order.remove(last).expect("each note has its place");
            *last = turn;
            self.order.insert(turn, own);
            return Captured::Again;
        }
        let full = self.notes.len() == MAX_CAPTURES;
        let oldest = full.then(|| self.order.pop_first()).flatten();
        let gone = oldest.map(|(_, topic)| topic);
        if let Some(gone) = &gone {
            self.notes.remove(gone);
        }
        self.notes.insert(note.clone(), (1, turn));
        self.order.insert(turn, note.clone());
        Captured::New(gone)
    }

    fn release(&mut self, note: &Topic) -> Released {
        let Some((count, turn)) = self.notes.get_mut(note) else {
            return Released::Unknown;
        };
        *count -= 1;
        if 0 < *count {
            return Released::Counted;
        }
        self.order.remove(turn);
        self.notes.remove(note);
        Released::Last
    }

    fn share(&mut self, note: &Topic) {
        if let Some((_, held)) = self.notes.remove_entry(note) {
            self.order.insert(held.1, note.clone());
            self.notes.insert(note.clone(), held);
        }
    }
}

impl FromIterator<(Topic, u32)> for Many {
    fn from_iter<I: IntoIterator<Item = (Topic, u32)>>(notes: I) -> Self {
        let mut many = Self::default();
        for (topic, count) in notes {
            many.order.insert(many.next, topic.clone());
            many.notes.insert(topic, (count, many.next));
            many.next += 1;
        }
        many
    }
}
