//! Random notes and viewers, for which both ways of the rules must agree. There
//! are so few ids that everything meets everything.

use std::sync::Arc;

use broker::event::Event;
use broker::misskey::viewer::{Me, Visitors};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

use super::super::happened::Happened;
use super::super::personal::{self, Share};
use super::naive::{Ids, Open, Person};
use super::*;
use crate::dialect::misskey::copy;
use crate::interest::Interest;

/// What differs in them is found again with this.
const SEED: u64 = 20_260_118;
/// Notes and viewers that meet each other, so many times.
const ROUNDS: usize = 60;
const NOTES: usize = 60;
const VIEWERS: usize = 60;

const USERS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const HOSTS: [&str; 3] = ["", "h1", "h2"];
const CHANNELS: [&str; 2] = ["c1", "c2"];
const TAGS: [&str; 3] = ["x", "Y", "ß"];
const TIMELINES: [&str; 9] = [
    "home", "local", "hybrid", "global", "list", "hashtag", "channel", "role", "antenna",
];
/// Midnight of the day on which all notes are written, in Unix seconds.
const MIDNIGHT: i64 = 1_767_225_600;

struct Dice(SmallRng);

impl Dice {
    /// Yes, once in so many times.
    fn once_in(&mut self, times: u32) -> bool {
        self.0.random_ratio(1, times)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.0).unwrap()
    }

    fn some(&mut self, of: &[&str], once_in: u32) -> Vec<String> {
        let some = of.iter().filter(|_| self.0.random_ratio(1, once_in));
        some.map(|id| (*id).to_owned()).collect()
    }

    fn ids(&mut self, of: &[&str], once_in: u32) -> Ids {
        self.some(of, once_in).into_iter().collect()
    }

    fn visibility(&mut self, note: &mut Map<String, Value>) {
        let visibility = self.one(&[
            "public",
            "public",
            "public",
            "home",
            "followers",
            "specified",
        ]);
        match self.0.random_range(0..20) {
            0 => {}
            1 => drop(note.insert("visibility".into(), Value::Null)),
            2 => drop(note.insert("visibility".into(), "circle".into())),
            _ => drop(note.insert("visibility".into(), visibility.into())),
        }
        if self.once_in(2) {
            note.insert("visibleUserIds".into(), json!(self.some(&USERS, 3)));
        }
    }

    fn user(&mut self, id: &str) -> Value {
        let host = self.one(&["", "", "", "h1", "h2"]);
        let mut user =
            json!({"id": id, "host": if host.is_empty() { Value::Null } else { host.into() }});
        if self.once_in(8) {
            user["requireSigninToViewContents"] = self.once_in(2).into();
        }
        if self.once_in(6) {
            let second = self.0.random_range(0..60);
            let before = if self.once_in(2) {
                -second
            } else {
                MIDNIGHT + second
            };
            user["makeNotesHiddenBefore"] = before.into();
        }
        user
    }

    fn note(&mut self, depth: u32, count: &mut u32) -> Value {
        *count += 1;
        let author = self.one(&USERS);
        let mut note = Map::new();
        note.insert("id".into(), format!("n{count}").into());
        note.insert("userId".into(), author.into());
        if !self.once_in(10) {
            note.insert("user".into(), self.user(author));
        }
        if !self.once_in(20) {
            let second = self.0.random_range(0..60);
            note.insert(
                "createdAt".into(),
                format!("2026-01-01T00:00:{second:02}.000Z").into(),
            );
        }
        self.visibility(&mut note);
        let renotes = depth > 0 && self.once_in(2);
        // Of what renotes, most says nothing else.
        let says = |dice: &mut Self| !renotes || dice.once_in(8);
        if says(self) {
            note.insert("text".into(), format!("secret {count}").into());
        }
        if says(self) && self.once_in(6) {
            note.insert("cw".into(), "secret".into());
        }
        if says(self) && self.once_in(6) {
            note.insert("poll".into(), json!({"choices": [{"text": "secret"}]}));
        }
        if says(self) && self.once_in(3) {
            note.insert("fileIds".into(), json!(["d"]));
            note.insert("files".into(), json!([{"id": "d", "name": "secret"}]));
        } else if self.once_in(2) {
            note.insert("fileIds".into(), json!([]));
        }
        if self.once_in(4) {
            note.insert("channelId".into(), self.one(&CHANNELS).into());
        }
        if self.once_in(3) {
            note.insert("mentions".into(), json!(self.some(&USERS, 4)));
        }
        if self.once_in(2) {
            note.insert("tags".into(), json!(self.some(&TAGS, 2)));
        }
        if self.once_in(2) {
            let mut pairs = self.some(&USERS, 3);
            pairs.iter_mut().for_each(|user| user.push_str("/👍"));
            let more = self.0.random_range(0..2);
            note.insert("reactions".into(), json!({"👍": pairs.len(), "👎": more}));
            note.insert("reactionAndUserPairCache".into(), json!(pairs));
        }
        let replies = if renotes {
            self.once_in(8)
        } else {
            depth > 0 && self.once_in(2)
        };
        if replies {
            note.insert("replyId".into(), "p".into());
            if !self.once_in(10) {
                // Nothing lies in what is answered, as a rule.
                let inner = if self.once_in(10) { depth - 1 } else { 0 };
                note.insert("reply".into(), self.note(inner, count));
            }
        }
        if renotes {
            note.insert("renoteId".into(), "r".into());
            if !self.once_in(10) {
                note.insert("renote".into(), self.note(depth - 1, count));
            }
        }
        Value::Object(note)
    }

    fn person(&mut self) -> Person {
        let visitors = self.one(&["all", "local", "none"]);
        if self.once_in(5) {
            return Person {
                visitors,
                ..Person::default()
            };
        }
        let follows = self.some(&USERS, 2);
        Person {
            name: Some(self.one(&USERS).into()),
            follows: follows
                .into_iter()
                .map(|id| (id, self.once_in(2)))
                .collect(),
            mutes: self.ids(&USERS, 12),
            blockers: self.ids(&USERS, 12),
            mutes_renotes: self.ids(&USERS, 4),
            follows_channels: self.ids(&CHANNELS, 2),
            mutes_channels: self.ids(&CHANNELS, 4),
            mutes_hosts: self.ids(&HOSTS, 10),
            visitors,
        }
    }

    fn open(&mut self) -> Open {
        let groups = self.0.random_range(0..3);
        let group = |dice: &mut Self| {
            let mut group: Vec<_> = dice
                .some(&TAGS, 2)
                .iter()
                .map(|tag| tag.to_lowercase())
                .collect();
            if group.is_empty() {
                group.push("x".into());
            }
            group
        };
        Open {
            name: self.one(&TIMELINES),
            with_renotes: !self.once_in(4),
            with_replies: self.once_in(2),
            with_files: self.once_in(4),
            members: self.ids(&USERS, 2),
            q: (0..groups).map(|_| group(self)).collect(),
            channel: self.one(&CHANNELS).into(),
        }
    }

    /// An event on the topic of a note.
    fn happened(&mut self) -> Value {
        let mut event = Map::from_iter([("id".into(), "n".into()), ("body".into(), json!({}))]);
        if !self.once_in(4) {
            event.insert("userId".into(), self.one(&USERS).into());
        }
        if !self.once_in(4) {
            self.visibility(&mut event);
        }
        Value::Object(event)
    }
}

fn set(field: Field, ids: &Ids) -> KeySet {
    ids.iter().map(|id| field.key(id)).collect()
}

fn viewer(person: &Person) -> Viewer {
    let user = |id: &String| Field::User.key(id);
    let with_replies = person.follows.iter().filter(|(_, replies)| **replies);
    Viewer {
        me: person.name.as_deref().map(|name| Me {
            id: Arc::from(name),
            key: Field::User.key(name),
        }),
        following: person.follows.keys().map(user).collect(),
        with_replies: with_replies.map(|(id, _)| user(id)).collect(),
        muting: set(Field::User, &person.mutes),
        blocked_by: set(Field::User, &person.blockers),
        renote_muting: set(Field::User, &person.mutes_renotes),
        followed_channels: set(Field::Channel, &person.follows_channels),
        muted_channels: set(Field::Channel, &person.mutes_channels),
        muted_servers: set(Field::Server, &person.mutes_hosts),
        visitors: match person.visitors {
            "none" => Visitors::None,
            "local" => Visitors::Local,
            _ => Visitors::All,
        },
        ..Viewer::default()
    }
}

fn timeline(open: &Open) -> Timeline {
    let params = json!({
        "withRenotes": open.with_renotes,
        "withReplies": open.with_replies,
        "withFiles": open.with_files,
        "channelId": open.channel,
        "q": open.q,
    });
    let params = params.to_string();
    let params = Params::read(serde_json::from_str(&params).ok());
    let wishes = Wishes::read(&params);
    match open.name {
        "home" => Timeline::Home(wishes),
        "local" => Timeline::Local(wishes),
        "hybrid" => Timeline::Hybrid(wishes),
        "global" => Timeline::Global(wishes),
        "list" => Timeline::List(set(Field::User, &open.members), wishes),
        "hashtag" => Timeline::Hashtag(Hashtags::read(&params).unwrap()),
        "channel" => Timeline::channel(&params),
        "role" => Timeline::Role,
        "antenna" => Timeline::Antenna,
        other => panic!("no such channel: {other}"),
    }
}

fn event(kind: &str, body: &Value) -> Event {
    let frame = json!({"v": 1, "type": kind, "body": body}).to_string();
    Event::parse(frame.as_bytes()).unwrap()
}

/// All notes of which somebody can read something.
fn readable<'a>(note: &'a Value, found: &mut Vec<&'a Value>) {
    let mut members = ["text", "cw", "poll", "files"].iter();
    if members.any(|member| note[*member].to_string().contains("secret")) {
        found.push(note);
    }
    for inner in ["reply", "renote"] {
        if !note[inner].is_null() {
            readable(&note[inner], found);
        }
    }
}

#[test]
fn both_ways_of_the_rules_agree_on_random_notes_and_viewers() {
    let mut dice = Dice(SmallRng::seed_from_u64(SEED));
    // Half a second later than any note was written.
    let now = Timestamp::from_millis(MIDNIGHT * 1000 + 60_500);
    let later = MIDNIGHT as f64 + 60.5;
    let mut outcomes = [[0_u32; 3]; TIMELINES.len()];
    let mut reactions = 0;
    for _ in 0..ROUNDS {
        let people: Vec<_> = (0..VIEWERS).map(|_| dice.person()).collect();
        let viewers: Vec<_> = people.iter().map(viewer).collect();
        let opens = (0..VIEWERS * 4).map(|_| dice.open());
        let opens: Vec<_> = opens.map(|open| (timeline(&open), open)).collect();
        for _ in 0..NOTES {
            let note = dice.note(3, &mut 0);
            let body = note.to_string();
            let read = Note::parse(&body).unwrap_or_else(|| panic!("not read: {body}"));
            let borne: Vec<_> = keys(&read).iter().collect();
            for (person, viewer) in people.iter().zip(&viewers) {
                let (timeline, open) = opens.choose(&mut dice.0).unwrap();
                let view = timeline.takes(&read, viewer, now);
                let sent = view.map(|view| match view.is_whole() {
                    true => note.clone(),
                    false => {
                        let own = copy::note(&body, &view).expect("it can be copied");
                        serde_json::from_str(&own).unwrap()
                    }
                });
                let expected = person.gets(open, &note, later);
                assert_eq!(sent, expected, "{open:?}\n{person:?}\n{body}");
                let outcome = match (&sent, view) {
                    (Some(_), Some(view)) if view.cover.is_empty() => 0,
                    (Some(_), _) => 1,
                    (None, _) => 2,
                };
                let place = TIMELINES
                    .iter()
                    .position(|name| *name == open.name)
                    .unwrap();
                outcomes[place][outcome] += 1;
                reactions += u32::from(view.is_some_and(|view| view.reaction.is_some()));
                let Some(sent) = sent else {
                    continue;
                };
                let mut readable_notes = Vec::new();
                readable(&sent, &mut readable_notes);
                for note in readable_notes {
                    assert!(
                        !person.is_blind_to(note, later),
                        "{note}\n{person:?}\n{body}"
                    );
                }
                let Interest::Keys(wanted) = interest([timeline], [], viewer) else {
                    panic!("a timeline wants everything");
                };
                let found = wanted.iter().any(|key| borne.contains(&key));
                assert!(
                    found || ["role", "antenna"].contains(&open.name),
                    "{open:?}\n{body}"
                );
            }
        }
    }
    println!("{outcomes:?}, {reactions} reactions");
    for (name, [whole, partly, none]) in TIMELINES.iter().zip(outcomes) {
        let least = whole.min(partly).min(none);
        assert!(
            100 < least,
            "{name}: {whole} whole, {partly} covered, {none} not shown"
        );
    }
    assert!(100 < reactions);
}

#[test]
fn both_ways_agree_on_what_happens_to_watched_notes_and_on_what_is_personal() {
    let mut dice = Dice(SmallRng::seed_from_u64(SEED + 1));
    let mut told = [[0_u32; 2]; 3];
    for _ in 0..70_000 {
        let person = dice.person();
        let viewer = viewer(&person);

        let body = dice.happened();
        let old_bus = dice.once_in(2);
        let happened = Happened::read(&body.to_string()).unwrap();
        let concerns = happened.concerns(&viewer, old_bus);
        assert_eq!(
            concerns,
            person.hears(&body, old_bus),
            "{old_bus} {person:?}\n{body}"
        );
        told[0][usize::from(concerns)] += 1;

        let note = dice.note(1, &mut 0);
        let share = personal::share(&event("mention", &note), &viewer);
        let shown = person.sees(&note) && !person.mutes(&note, None);
        assert_eq!(share == Share::Whole, shown, "{person:?}\n{note}");
        told[1][usize::from(shown)] += 1;

        let share = personal::share(&event("notification", &note), &viewer);
        let shown = person.is_notified(&note);
        assert_eq!(share == Share::Whole, shown, "{person:?}\n{note}");
        told[2][usize::from(shown)] += 1;
    }
    println!("{told:?}");
    assert!(told.iter().flatten().all(|times| 1000 < *times), "{told:?}");
}
