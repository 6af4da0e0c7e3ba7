//! Whatever a client says in whatever order, its socket listens to what its open
//! channels and captured notes need, and to nothing else. The second opinion keeps
//! plain lists and works everything out anew each time.

use std::collections::{BTreeMap, BTreeSet};

use broker::key::Key;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::dialect::misskey::channel::MAX_CHANNELS;

const STEPS: usize = 4000;

/// What there is to open: a name, its parameters, and a topic of its own.
const OPENABLE: [(&str, &str, &str); 18] = [
    ("main", "{}", ""),
    ("homeTimeline", "{}", ""),
    ("localTimeline", "{}", ""),
    ("hybridTimeline", "{}", ""),
    ("globalTimeline", "{}", ""),
    ("userList", r#"{"listId":"L1"}"#, "userListStream:L1"),
    ("userList", r#"{"listId":"L2"}"#, "userListStream:L2"),
    ("hashtag", r#"{"q":[["t1","t2"],["t3"]]}"#, ""),
    (
        "roleTimeline",
        r#"{"roleId":"r1"}"#,
        "roleTimelineStream:r1",
    ),
    ("antenna", r#"{"antennaId":"a1"}"#, "antennaStream:a1"),
    ("antenna", r#"{"antennaId":"a2"}"#, "antennaStream:a2"),
    ("channel", r#"{"channelId":"c1"}"#, ""),
    ("drive", "{}", "driveStream:u1"),
    ("serverStats", "{}", ""),
    ("admin", "{}", "adminStream:u1"),
    ("chatUser", r#"{"otherId":"f1"}"#, "chatUserStream:u1-f1"),
    ("chatRoom", r#"{"roomId":"r1"}"#, "chatRoomStream:r1"),
    ("reversiGame", r#"{"gameId":"g1"}"#, "reversiGameStream:g1"),
];

/// A socket, and what is expected of it.
struct Walk {
    conversation: Conversation,
    /// As the hub would have it.
    listens: BTreeMap<String, Interest>,
    /// What is open: its name, and which of the openable it is.
    open: Vec<(String, usize)>,
    captures: BTreeMap<String, u32>,
    follows: BTreeSet<String>,
    members: BTreeMap<String, BTreeSet<String>>,
    /// By antenna.
    found: Vec<(String, String)>,
}

impl Walk {
    fn new() -> Self {
        let mut walk = Self {
            conversation: conversation(host(), Some(Grant::Native), ""),
            listens: BTreeMap::new(),
            open: Vec::new(),
            captures: BTreeMap::new(),
            follows: BTreeSet::new(),
            members: BTreeMap::new(),
            found: Vec::new(),
        };
        let now = walk.conversation.now;
        let effects = walk.conversation.dialect.open(now);
        walk.apply(&effects);
        walk
    }

    /// Does as the hub does, and as a host that allows everything but to strangers.
    fn apply(&mut self, effects: &[Effect]) {
        for effect in effects {
            let now = self.conversation.now;
            let more = match effect {
                Effect::Subscribe(topic, interest) => {
                    let before = self.listens.insert(topic.to_string(), interest.clone());
                    assert_eq!(before, None, "{topic} is asked for twice");
                    self.conversation
                        .dialect
                        .notice(Notice::Subscribed(topic), now)
                }
                Effect::Want(topic, interest) => {
                    let before = self.listens.insert(topic.to_string(), interest.clone());
                    assert!(before.is_some(), "{topic} is wanted and not listened to");
                    continue;
                }
                Effect::Unsubscribe(topic) => {
                    assert!(self.listens.remove(topic.as_str()).is_some(), "{topic}");
                    continue;
                }
                _ => continue,
            };
            self.apply(&more);
            let asks = |effects: &[Effect]| {
                effects.iter().find_map(|effect| match effect {
                    Effect::Ask(Errand::Misskey(asking)) => Some(asking.question.clone()),
                    _ => None,
                })
            };
            self.answer(asks(&more));
        }
        let question = effects.iter().find_map(|effect| match effect {
            Effect::Ask(Errand::Misskey(asking)) => Some(asking.question.clone()),
            _ => None,
        });
        self.answer(question);
    }

    fn answer(&mut self, question: Option<Question>) {
        let reply = match question {
            Some(Question::List(list)) => {
                let members = self.members.entry(list.into()).or_default();
                Reply::Members(members.iter().map(|id| user(id)).collect())
            }
            Some(Question::Role(_) | Question::Antenna(_) | Question::ChatRoom(_)) => {
                Reply::Allowed
            }
            _ => return,
        };
        let now = self.conversation.now;
        let effects = self
            .conversation
            .dialect
            .answer(Answer::Misskey(reply), now);
        self.apply(&effects);
    }

    fn say(&mut self, message: &str) {
        let effects = self
            .conversation
            .dialect
            .receive(message, self.conversation.now);
        self.apply(&effects);
    }

    fn publish(&mut self, stream: &str, event: &str) {
        if self
            .listens
            .contains_key(topic(&format!("channel:{stream}")).as_str())
        {
            let now = self.conversation.now;
            let topic = topic(&format!("channel:{stream}"));
            let effects = self
                .conversation
                .dialect
                .deliver(&topic, &delivery(event), now);
            self.apply(&effects);
        }
    }

    fn step(&mut self, random: &mut SmallRng) {
        let join = format!("{}", random.random_range(0..40));
        let note = format!("n{}", random.random_range(0..30));
        let somebody = format!("x{}", random.random_range(0..6));
        match random.random_range(0..12) {
            0..4 => {
                let which = random.random_range(0..OPENABLE.len());
                let (name, params, _) = OPENABLE[which];
                self.open.retain(|(id, _)| *id != join);
                self.forget_found();
                let shared = ["main", "drive", "serverStats", "admin"].contains(&name)
                    && self.open.iter().any(|(_, open)| OPENABLE[*open].0 == name);
                if self.open.len() < MAX_CHANNELS && !shared {
                    self.open.push((join.clone(), which));
                }
                self.say(&format!(
                    r#"{{"type":"connect","body":{{"channel":"{name}","id":"{join}","params":{params}}}}}"#
                ));
            }
            4 => {
                self.open.retain(|(id, _)| *id != join);
                self.forget_found();
                self.say(&format!(
                    r#"{{"type":"disconnect","body":{{"id":"{join}"}}}}"#
                ));
            }
            5 | 6 => {
                *self.captures.entry(note.clone()).or_default() += 1;
                self.say(&format!(r#"{{"type":"s","body":{{"id":"{note}"}}}}"#));
            }
            7 | 8 => {
                if let Some(count) = self.captures.get_mut(&note) {
                    *count -= 1;
                }
                self.captures.retain(|_, count| 0 < *count);
                self.say(&format!(r#"{{"type":"un","body":{{"id":"{note}"}}}}"#));
            }
            9 => {
                if !self.follows.remove(&somebody) {
                    self.follows.insert(somebody);
                }
                let follows: Vec<_> = self.follows.iter().map(String::as_str).collect();
                let words = format!("follows={}", follows.join(","));
                let viewer = viewer(if follows.is_empty() { "" } else { &words });
                let news = News::Viewer(viewer.into());
                let now = self.conversation.now;
                let notice = Notice::News(&topic("user:u1"), &news);
                let effects = self.conversation.dialect.notice(notice, now);
                self.apply(&effects);
            }
            10 => {
                let list = (*["L1", "L2"].choose(random).unwrap()).to_owned();
                let members = self.members.entry(list.clone()).or_default();
                let gone = members.remove(&somebody);
                if !gone {
                    members.insert(somebody.clone());
                }
                let kind = if gone { "userRemoved" } else { "userAdded" };
                let event = format!(r#"{{"type":"{kind}","body":{{"id":"{somebody}"}}}}"#);
                self.publish(&format!("userListStream:{list}"), &event);
            }
            _ => {
                let antenna = *["antennaStream:a1", "antennaStream:a2"]
                    .choose(random)
                    .unwrap();
                let heard = self
                    .open
                    .iter()
                    .any(|(_, open)| OPENABLE[*open].2 == antenna);
                // What is found reaches everybody at once or right behind the next.
                if heard && self.found.len() < 8 {
                    self.found.push((antenna.to_owned(), note.clone()));
                    self.publish(
                        antenna,
                        &format!(r#"{{"type":"note","body":{{"id":"{note}"}}}}"#),
                    );
                } else if let Some((_, note)) = self.found.first().cloned() {
                    self.found.retain(|(_, found)| *found != note);
                    let event =
                        format!(r#"{{"type":"note","body":{{"id":"{note}","userId":"x1"}}}}"#);
                    self.publish("notesStream", &event);
                }
            }
        }
    }

    fn forget_found(&mut self) {
        let open = &self.open;
        self.found
            .retain(|(antenna, _)| open.iter().any(|(_, open)| OPENABLE[*open].2 == antenna));
    }

    /// What it is to listen to, and with which keys; `None` for everything.
    fn expected(&self) -> BTreeMap<String, Option<BTreeSet<Key>>> {
        let mut expected = BTreeMap::new();
        let mut hears = |name: &str, keys| expected.insert(topic(name).to_string(), keys);
        hears("channel:broadcast", None);
        hears("user:u1", None);
        for note in self.captures.keys() {
            hears(&format!("note:{note}"), None);
        }
        let mut keys = BTreeSet::new();
        let mut notes = false;
        for (_, open) in &self.open {
            let (name, _, own) = OPENABLE[*open];
            if !own.is_empty() {
                hears(&format!("channel:{own}"), None);
            }
            let near = ["homeTimeline", "hybridTimeline"].contains(&name);
            if near {
                keys.extend(self.follows.iter().map(|id| user(id)));
                keys.insert(user("u1"));
            }
            let list = own.strip_prefix("userListStream:");
            let members = list.and_then(|list| self.members.get(list));
            keys.extend(members.into_iter().flatten().map(|id| user(id)));
            keys.extend(match name {
                "localTimeline" | "hybridTimeline" => vec![Field::Timeline.key("local")],
                "globalTimeline" => vec![Field::Timeline.key("global")],
                "hashtag" => vec![Field::Tag.key("t1"), Field::Tag.key("t3")],
                "channel" => vec![Field::Channel.key("c1")],
                _ => Vec::new(),
            });
            notes |= near
                || list.is_some()
                || [
                    "localTimeline",
                    "globalTimeline",
                    "hashtag",
                    "channel",
                    "antenna",
                ]
                .contains(&name);
        }
        keys.extend(self.found.iter().map(|(_, note)| Field::Note.key(note)));
        if notes {
            hears("channel:notesStream", Some(keys));
        }
        expected
    }

    fn actual(&self) -> BTreeMap<String, Option<BTreeSet<Key>>> {
        let keys = |interest: &Interest| match interest {
            Interest::All => None,
            Interest::Keys(keys) => Some(keys.iter().collect()),
        };
        let listens = self.listens.iter();
        listens
            .map(|(topic, interest)| (topic.clone(), keys(interest)))
            .collect()
    }
}

#[test]
fn a_socket_listens_to_what_is_open_and_to_nothing_else() {
    for seed in 0..8 {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut walk = Walk::new();
        let mut most = 0;
        for step in 0..STEPS {
            walk.step(&mut random);
            assert_eq!(walk.actual(), walk.expected(), "seed {seed}, step {step}");
            assert_eq!(walk.conversation.dialect.channels.len(), walk.open.len());
            assert!(walk.conversation.dialect.unconfirmed.is_none());
            most = most.max(walk.open.len());
        }
        assert_eq!(most, MAX_CHANNELS, "the walk gets where it is crowded");
    }
}
