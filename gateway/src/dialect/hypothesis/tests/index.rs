//! Many sockets and one event: who is looked at, and what is made for them.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::hub::{Hub, SessionKey};

/// Sockets as a shard has them, without the sockets.
#[derive(Default)]
struct House {
    hub: Hub,
    sessions: BTreeMap<u32, Conversation>,
}

fn key(slot: u32) -> SessionKey {
    SessionKey { slot, turn: 0 }
}

impl House {
    fn open(&mut self, slot: u32, mut conversation: Conversation) {
        for effect in conversation.dialect.open(conversation.now) {
            if let Effect::Subscribe(topic, interest) = effect {
                let (topic, _) = self.hub.subscribe(topic, interest, key(slot));
                conversation
                    .dialect
                    .notice(Notice::Subscribed(&topic), conversation.now);
            }
        }
        self.sessions.insert(slot, conversation);
    }

    fn close(&mut self, slot: u32) {
        if let Some(gone) = self.sessions.remove(&slot) {
            self.hub.unsubscribe(&gone.annotations, key(slot));
        }
    }

    fn filter(&mut self, slot: u32, clauses: &Value) {
        let socket = self.sessions.get_mut(&slot).unwrap();
        let filter = json!({"match_policy": "include_any", "actions": {}, "clauses": clauses});
        let said = json!({ "filter": filter }).to_string();
        for effect in socket.dialect.receive(&said, socket.now) {
            if let Effect::Want(topic, interest) = effect {
                self.hub.replace(&topic, interest, key(slot));
            }
        }
    }

    /// The sockets that are looked at for an event, and what they are sent.
    fn publish(&mut self, event: &Arc<Event>) -> Vec<(u32, Option<Frame>)> {
        let delivery = Rc::new(Delivery::new(Arc::clone(event)));
        let (topic, mut concerned) = (broker::annotation::topic(&acme()), Vec::new());
        self.hub
            .concerned(&topic, || delivery.keys(), &mut concerned);
        let tell = |key: SessionKey| {
            let socket = self.sessions.get_mut(&key.slot).unwrap();
            let effects = socket.dialect.deliver(&topic, &delivery, socket.now);
            let frame = effects.into_iter().find_map(|effect| match effect {
                Effect::Send(outgoing) => Some(outgoing.frame),
                _ => None,
            });
            (key.slot, frame)
        };
        concerned.into_iter().map(tell).collect()
    }
}

fn created(words: &str) -> Arc<Event> {
    let body = serde_json::to_value(notification("create", words)).unwrap();
    event(&format!(
        "0-0 {}",
        json!({"v": 1, "type": "annotation", "body": body})
    ))
}

fn on_page(page: u32) -> Value {
    json!([{"field": "/uri", "value": [format!("https://e.org/{page}")]}])
}

#[test]
fn of_ten_thousand_sockets_only_those_on_the_page_are_looked_at() {
    let mut house = House::default();
    for slot in 0..10_000 {
        house.open(slot, conversation(None, false));
        house.filter(slot, &on_page(slot / 4));
    }
    let told = house.publish(&created("a1 uri=httpx://e.org/17"));
    let slots: BTreeSet<_> = told.iter().map(|(slot, _)| *slot).collect();
    assert_eq!(slots, (68..72).collect());
    assert!(told.iter().all(|(_, frame)| frame.is_some()));
    assert_eq!(
        house.publish(&created("a1 uri=httpx://e.org/9999")).len(),
        0
    );
}

#[test]
fn for_ten_thousand_sockets_on_one_page_each_view_is_made_once() {
    let mut house = House::default();
    for slot in 0..10_000 {
        let viewer = match slot % 4 {
            0 => None,
            1 => Some(signed_in("g1=member")),
            2 => Some(signed_in("g1=moderator")),
            _ => Some(SignedIn {
                userid: "acct:ben@example.org".into(),
                ..signed_in("")
            }),
        };
        house.open(slot, conversation(viewer, false));
        house.filter(slot, &on_page(1));
    }
    let told = house.publish(&created("a1 uri=httpx://e.org/1 group=g1"));
    assert_eq!(told.len(), 10_000);
    let frames: Vec<_> = told
        .iter()
        .filter_map(|(_, frame)| frame.as_ref())
        .collect();
    assert_eq!(frames.len(), 10_000);
    let made: BTreeSet<_> = frames
        .iter()
        .map(|frame| frame.parts()[0].as_ptr())
        .collect();
    assert_eq!(made.len(), 3, "for the author, moderators and readers");
}

#[test]
fn a_frame_is_built_once_for_all_who_see_the_same() {
    let mut members: Vec<_> = (0..20).map(|_| ada("g1=member", false)).collect();
    members.push(ada("g1=moderator", false));
    let body = serde_json::to_value(notification("create", "a1 group=g1:members")).unwrap();
    let frame = format!(
        "0-0 {}",
        json!({"v": 1, "type": "annotation", "body": body})
    );
    let event = event(&frame);
    let mut frames = BTreeSet::new();
    let mut texts = BTreeSet::new();
    // As two shards have it.
    let deliveries = [(); 2].map(|()| Rc::new(Delivery::new(Arc::clone(&event))));
    for delivery in &deliveries {
        for member in &mut members {
            let topic = member.annotations.clone();
            let effects = member.dialect.deliver(&topic, delivery, member.now);
            let [Effect::Send(outgoing)] = &effects[..] else {
                panic!("{effects:?}");
            };
            frames.insert(outgoing.frame.parts()[0].as_ptr());
            texts.insert(text_of(&outgoing.frame).to_owned());
        }
        let views = [ViewerClass::Reader, ViewerClass::Moderator];
        texts.extend(views.map(|class| event.view(class, false).unwrap().to_owned()));
    }
    assert_eq!(frames.len(), 2 * 2, "one for each class and shard");
    assert_eq!(
        texts.len(),
        2 + 2,
        "one frame and one annotation for each class"
    );
    assert_eq!(
        event.view(ViewerClass::Reader, false).unwrap().as_ptr(),
        event.view(ViewerClass::Reader, false).unwrap().as_ptr(),
    );
}

const IDS: [&str; 4] = ["a1", "a2", "a3", "a4"];
const GROUPS: [&str; 3] = ["__world__", "g1", "g2"];
const PAGES: [&str; 5] = ["", "1", "2", "1?a=b", "x"];

fn some<'a>(random: &mut SmallRng, of: &[&'a str], most: usize) -> Vec<&'a str> {
    let count = random.random_range(0..=most);
    (0..count).map(|_| *of.choose(random).unwrap()).collect()
}

fn some_clauses(random: &mut SmallRng) -> Value {
    let clause = |random: &mut SmallRng| match random.random_range(0..5) {
        0 => json!({"field": "/id", "value": IDS.choose(random)}),
        1 => json!({"field": "/group", "value": some(random, &GROUPS, 2)}),
        2 => json!({"field": "/references", "value": some(random, &IDS, 2)}),
        3 => json!({"field": "/unknown", "value": IDS.choose(random)}),
        _ => {
            let pages = some(random, &PAGES, 3);
            let pages = pages.iter().map(|page| format!("http://e.org/{page}"));
            json!({"field": "/uri", "value": pages.collect::<Vec<_>>()})
        }
    };
    let count = random.random_range(0..4);
    (0..count).map(|_| clause(random)).collect()
}

/// What the filter says, without any index, order or key.
fn naive(clauses: &Value, annotation: &Notification) -> bool {
    clauses.as_array().unwrap().iter().any(|clause| {
        let values = match &clause["value"] {
            Value::Array(values) => values.clone(),
            value => vec![value.clone()],
        };
        values.iter().filter_map(Value::as_str).any(|value| {
            match clause["field"].as_str().unwrap() {
                "/id" => *annotation.id == *value,
                "/group" => *annotation.group.id == *value,
                "/references" => annotation.references.iter().any(|id| **id == *value),
                "/uri" => {
                    let page = value.replacen("http:", "httpx:", 1);
                    let page = page.trim_end_matches('/');
                    annotation.scope_keys.iter().any(|key| **key == *page)
                }
                _ => false,
            }
        })
    })
}

#[test]
fn the_index_finds_whom_a_look_at_every_filter_finds() {
    let mut random = SmallRng::seed_from_u64(11);
    let (mut house, mut filters) = (House::default(), BTreeMap::new());
    let (mut hits, mut misses) = (0, 0);
    for _ in 0..2_000 {
        let slot = random.random_range(0..40);
        match random.random_range(0..8) {
            0 => {
                house.close(slot);
                filters.remove(&slot);
            }
            1..=4 => {
                if !house.sessions.contains_key(&slot) {
                    house.open(slot, conversation(None, false));
                }
                let clauses = some_clauses(&mut random);
                house.filter(slot, &clauses);
                filters.insert(slot, clauses);
            }
            _ => {
                let keys = some(&mut random, &PAGES[1..], 2);
                let keys = keys.iter().map(|page| match *page {
                    "1?a=b" => "httpx://e.org/1?a=b".to_owned(),
                    page => format!("httpx://e.org/{page}"),
                });
                let words = format!(
                    "{} group={} references={} uri={}",
                    IDS.choose(&mut random).unwrap(),
                    GROUPS.choose(&mut random).unwrap(),
                    some(&mut random, &IDS, 2).join(","),
                    keys.collect::<Vec<_>>().join(","),
                );
                let annotation = notification("create", &words);
                let wanted: BTreeSet<u32> = filters
                    .iter()
                    .filter(|(_, clauses)| naive(clauses, &annotation))
                    .map(|(slot, _)| *slot)
                    .collect();
                let told = house.publish(&created(&words));
                let found: BTreeSet<u32> = told.iter().map(|(slot, _)| *slot).collect();
                assert_eq!(found.len(), told.len(), "nobody twice: {words}");
                assert_eq!(found, wanted, "{words}");
                assert!(told.iter().all(|(_, frame)| frame.is_some()), "{words}");
                hits += found.len();
                misses += filters.len() - found.len();
            }
        }
    }
    assert!(
        1_000 < hits && 1_000 < misses,
        "{hits} and {misses} are too few"
    );
}
