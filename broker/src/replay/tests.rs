//! What comes of rings that may have been missed.

use super::reading::{RAW, RETRY};
use super::*;
use crate::annotation;
use crate::topic::Tenant;

/// What is told, in short.
type Told = Vec<String>;

/// A node that listens to `a` and `b`, which share a ring, since 1,000,000 ms.
struct Node {
    replay: Replay<&'static str>,
    start: Instant,
    now: Instant,
}

fn tenant() -> Tenant {
    "acme".parse().unwrap()
}

/// Topics that share a ring.
fn topic(name: &str) -> Topic {
    let of = |n: u32| Topic::new(&tenant(), TopicKind::Note, &format!("{name}{n}"));
    let home = Topic::new(&tenant(), TopicKind::Note, "home").partition();
    (0..)
        .map(of)
        .find(|topic| topic.partition() == home)
        .unwrap()
}

fn id(text: &str) -> EntryId {
    EntryId::parse(text).unwrap()
}

/// `<id> <topic> <what>`
fn entry(line: &str) -> Entry {
    let mut words = line.split(' ');
    let mut word = || words.next().unwrap();
    let (id, topic) = (id(word()), topic(word()));
    let topic = topic.as_str().replacen("acme:", "", 1);
    Entry {
        id,
        topic: topic.into(),
        json: word().into(),
    }
}

/// A ring at this time that holds these, the first of which was the `number`th.
fn page(time: u64, number: u64, lines: &[&str]) -> Page {
    let entries: Vec<_> = lines.iter().map(|line| entry(line)).collect();
    Page {
        time,
        oldest: entries.first().map(|first| Oldest {
            id: first.id,
            number,
        }),
        newest: entries.last().map(|last| last.id),
        entries,
    }
}

fn told(recovered: &Recovered<&str>) -> Told {
    let name = |wanted: &Topic| {
        let names = ["a", "b", "c"].into_iter();
        names.filter(|n| topic(n) == *wanted).collect::<String>()
    };
    let mut told: Vec<_> = recovered
        .gaps
        .iter()
        .map(|t| format!("gap {}", name(t)))
        .collect();
    told.sort();
    told.insert(0, recovered.verdict.label().to_owned());
    told.extend(recovered.events.iter().map(|(topic, event)| match event {
        Event::Replayed(id, json) => format!("{} {id} {json}", name(topic)),
        Event::Parked(what) => format!("{} parked {what}", name(topic)),
    }));
    told
}

impl Node {
    fn new() -> Self {
        let start = Instant::now();
        let mut node = Self {
            replay: Replay::new(start),
            start,
            now: start,
        };
        assert!(!node.replay.has_begun());
        node.proved(1_000_000);
        node.replay.listen(&topic("a"), node.now);
        node.replay.listen(&topic("b"), node.now);
        node
    }

    /// Redis' clock, and with it the node's, is at this time.
    fn at(&mut self, millis: u64) {
        self.now = self.start + Duration::from_millis(millis - 1_000_000);
    }

    fn proved(&mut self, millis: u64) {
        self.at(millis);
        self.replay.proved(Partition::every(), millis, self.now);
    }

    /// An event is heard: `now`, `parked`, `repeated` or what overflows.
    fn hears(&mut self, name: &str, entry: &str, what: &'static str) -> &'static str {
        let entry = (entry != "raw").then(|| id(entry));
        match self.replay.hear(&topic(name), entry, what, what, self.now) {
            Heard::Now(_) => "now",
            Heard::Repeated => "repeated",
            Heard::Parked => "parked",
            Heard::Late => "late",
            Heard::Overflow(_) => "overflow",
        }
    }

    /// The link is lost and made again; the ring is to be read from there on.
    fn cut(&mut self, from: &str) -> Read {
        self.replay.lose(true);
        assert_eq!(self.replay.next_read(self.now), None);
        self.replay.resume(self.now);
        let read = self.replay.next_read(self.now).expect("there is a ring");
        assert_eq!(read.ring, Ring::of(&topic("a")));
        assert_eq!(read.from, id(from));
        read
    }

    fn reads(&mut self, read: &Read, page: &Page) -> Told {
        let recovered = self.replay.page(read, page, self.now);
        assert!(
            self.replay.page(read, page, self.now).is_none(),
            "only once"
        );
        assert!(self.replay.settled());
        told(&recovered.expect("it is of interest"))
    }
}

#[test]
fn what_was_missed_comes_once_and_in_order() {
    let mut node = Node::new();
    assert_eq!(node.hears("a", "1000100-0", "one"), "now");
    assert_eq!(node.hears("a", "1000100-0", "one"), "repeated");
    let read = node.cut("990000-0");
    // Heard since it was subscribed again: the second and the last of these.
    assert_eq!(node.hears("b", "1000300-0", "three"), "parked");
    assert_eq!(node.hears("a", "1000400-0", "four"), "parked");
    let kept = [
        "999999-0 a before",
        "1000100-0 a one",
        "1000200-0 c nobody's",
        "1000200-1 a two",
        "1000300-0 b three",
        "1000350-0 a later",
    ];
    let expected = [
        "recovered",
        "a 1000200-1 two",
        "b parked three",
        "a 1000350-0 later",
        "a parked four",
    ];
    assert_eq!(node.reads(&read, &page(1_000_360, 1, &kept)), expected);
    assert_eq!(node.hears("a", "1000350-0", "later"), "repeated");
    assert_eq!(node.hears("a", "1000500-0", "five"), "now");
}

#[test]
fn what_the_ring_says_of_what_is_not_in_it() {
    // What was heard and proved, what the ring holds when, and what that means.
    let long = 1_000_100 + LIFE_MILLIS;
    let cases: [(&str, u64, Page, &str); 14] = [
        ("", 0, page(1_001_000, 0, &[]), "recovered"),
        ("", 0, page(1_001_000, 1, &["1000500-0 c x"]), "recovered"),
        ("", 0, page(1_001_000, 7, &["1000500-0 c x"]), "trimmed"),
        (
            "",
            1_000_600,
            page(1_001_000, 7, &["1000500-0 c x"]),
            "recovered",
        ),
        (
            "1000500-0",
            0,
            page(1_001_000, 7, &["1000500-0 a x"]),
            "recovered",
        ),
        (
            "1000500-0",
            0,
            page(1_001_000, 7, &["1000500-1 a x"]),
            "trimmed",
        ),
        (
            "1000500-0",
            0,
            page(1_001_000, 1, &["1000500-1 a x"]),
            "lost",
        ),
        ("1000500-0", 0, page(1_001_000, 0, &[]), "lost"),
        (
            "1000500-0",
            0,
            page(1_001_000, 1, &["1000400-0 a x"]),
            "lost",
        ),
        (
            "1000500-0",
            0,
            page(1_001_000, 1, &["1000400-0 a x", "1000600-0 a y"]),
            "lost",
        ),
        ("", 0, page(long, 0, &[]), "late"),
        ("1000100-0", 0, page(long, 0, &[]), "late"),
        ("1000100-0", long - 1_000, page(long, 0, &[]), "recovered"),
        ("", 0, page(long, 1, &["1001000-0 c x"]), "late"),
    ];
    for (number, (heard, proved, page, means)) in cases.into_iter().enumerate() {
        let mut node = Node::new();
        if !heard.is_empty() {
            node.hears("a", heard, "x");
        }
        if proved != 0 {
            node.proved(proved);
        }
        node.replay.lose(true);
        node.replay.resume(node.now);
        let read = node.replay.next_read(node.now).unwrap();
        let told = node.reads(&read, &page);
        assert_eq!(told[0], means, "{number}");
        let gaps = told.iter().filter(|told| told.starts_with("gap")).count();
        assert_eq!(gaps, if means == "recovered" { 0 } else { 2 }, "{number}");
    }
}

#[test]
fn events_that_no_ring_keeps_may_have_been_missed() {
    let mut node = Node::new();
    assert_eq!(node.hears("a", "raw", "one"), "now");
    assert_eq!(node.hears("b", "0-0", "word"), "now");
    let read = node.cut("990000-0");
    assert_eq!(node.hears("b", "raw", "two"), "parked");
    assert_eq!(node.hears("b", "0-0", "word"), "parked");
    let expected = [
        "recovered",
        "gap a",
        "gap b",
        "b parked two",
        "b parked word",
    ];
    assert_eq!(node.reads(&read, &page(1_000_500, 0, &[])), expected);
    node.proved(1_000_000 + 1_000 * (RAW.as_secs() + 1));
    let read = node.cut(&format!("{}-0", 990_000 + 1_000 * (RAW.as_secs() + 1)));
    let nothing = page(1_000_000 + 1_000 * (RAW.as_secs() + 1), 0, &[]);
    assert_eq!(node.reads(&read, &nothing), ["recovered"]);
}

#[test]
fn who_listens_since_later_gets_nothing_of_before_and_has_missed_nothing() {
    let mut node = Node::new();
    node.replay.lose(true);
    node.proved(1_002_000);
    node.replay.listen(&topic("c"), node.now);
    node.replay.resume(node.now);
    let read = node.replay.next_read(node.now).unwrap();
    let kept = ["1001000-0 a x", "1001999-0 c x", "1002000-0 c y"];
    let told = node.reads(&read, &page(1_002_000, 9, &kept));
    let expected = [
        "trimmed",
        "gap a",
        "gap b",
        "a 1001000-0 x",
        "c 1002000-0 y",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_link_that_is_lost_again_begins_again_where_all_was_known() {
    let mut node = Node::new();
    node.hears("a", "1000100-0", "one");
    let stale = node.cut("990000-0");
    assert_eq!(node.hears("a", "1000300-0", "three"), "parked");
    node.proved(1_050_000);
    let read = node.cut("990000-0");
    assert!(
        node.replay
            .page(&stale, &page(1_060_000, 1, &[]), node.now)
            .is_none()
    );
    let kept = ["1000100-0 a one", "1000200-0 a two", "1000300-0 a three"];
    let expected = ["recovered", "a 1000200-0 two", "a 1000300-0 three"];
    assert_eq!(node.reads(&read, &page(1_060_000, 1, &kept)), expected);
    // What was read is known.
    node.cut("1050000-0");
}

#[test]
fn what_a_primary_did_not_bring_is_read_though_later_events_came() {
    let mut node = Node::new();
    node.hears("a", "1000100-0", "one");
    node.hears("a", "1000300-0", "three");
    node.replay.doubt(Partition::every(), true, node.now);
    let read = node.replay.next_read(node.now).unwrap();
    assert_eq!(read.from, id("990000-0"));
    assert_eq!(node.hears("a", "1000400-0", "four"), "parked");
    let kept = [
        "1000100-0 a one",
        "1000150-0 a two",
        "1000200-0 b two",
        "1000300-0 a three",
        "1000400-0 a four",
    ];
    // What was handed over after it cannot be taken back.
    let expected = ["recovered", "gap a", "b 1000200-0 two", "a parked four"];
    assert_eq!(node.reads(&read, &page(1_000_500, 1, &kept)), expected);
    // Of what the ring had before the newest that was heard, some may be missed.
    node.replay.doubt(Partition::every(), true, node.now);
    let read = node.replay.next_read(node.now).unwrap();
    node.hears("a", "1000700-0", "seven");
    let trimmed = page(1_000_800, 5, &["1000600-0 a six", "1000700-0 a seven"]);
    let expected = [
        "trimmed",
        "gap a",
        "gap b",
        "a 1000600-0 six",
        "a parked seven",
    ];
    assert_eq!(node.reads(&read, &trimmed), expected);
}

#[test]
fn what_finds_no_room_is_handed_over_and_the_rest_given_up() {
    let mut node = Node::new();
    let read = node.cut("990000-0");
    let large = "x".repeat(PARKED / 4 - PARKED_COST);
    let mut hear = |name, id_: &str, json: &str, what| {
        let heard = node
            .replay
            .hear(&topic(name), Some(id(id_)), json, what, node.now);
        match heard {
            Heard::Overflow(recovered) => Some(recovered),
            _ => None,
        }
    };
    for n in 0..4 {
        assert_eq!(hear("a", &format!("1000500-{n}"), &large, "x"), None);
    }
    let recovered = hear("b", "1000501-0", "", "last").expect("there is no room");
    assert_eq!(recovered.events.len(), 5);
    let told = told(&recovered);
    assert_eq!(told[..3], ["overflow", "gap a", "gap b"]);
    assert_eq!(told.last().unwrap(), "b parked last");
    assert!(node.replay.settled());
    let late = page(1_000_600, 1, &["1000100-0 a one"]);
    assert!(node.replay.page(&read, &late, node.now).is_none());
    assert_eq!(node.hears("a", "1000600-0", "x"), "now");
}

#[test]
fn a_ring_that_cannot_be_read_is_given_up_after_a_while() {
    let mut node = Node::new();
    let mut read = node.cut("990000-0");
    let mut tries = 0;
    let recovered = loop {
        tries += 1;
        if let Some(recovered) = node.replay.failed(&read, node.now) {
            break recovered;
        }
        assert_eq!(node.replay.next_read(node.now), None, "not at once");
        node.now += RETRY;
        read = node.replay.next_read(node.now).unwrap();
    };
    assert_eq!(told(&recovered), ["unread", "gap a", "gap b"]);
    assert_eq!(tries, 1 + PATIENCE.as_secs());
}

#[test]
fn rings_are_read_a_few_at_a_time_and_only_where_somebody_listens() {
    let mut node = Node::new();
    let others: Vec<_> = (0..200)
        .map(|n| Topic::new(&tenant(), TopicKind::User, &n.to_string()))
        .collect();
    for other in &others {
        node.replay.listen(other, node.now);
    }
    node.replay
        .listen(&Topic::recipient(&tenant(), "r"), node.now);
    node.replay.lose(true);
    for other in &others[100..] {
        node.replay.leave(other);
    }
    node.replay.resume(node.now);
    let rings = {
        let mut rings: Vec<_> = others[..100].iter().map(Topic::partition).collect();
        rings.push(topic("a").partition());
        rings.sort();
        rings.dedup();
        rings.len()
    };
    let mut under_way = Vec::new();
    let mut read = 0;
    loop {
        while let Some(next) = node.replay.next_read(node.now) {
            under_way.push(next);
        }
        let Some(next) = under_way.pop() else { break };
        assert!(under_way.len() < READS);
        read += 1;
        let nothing = page(1_000_500, 0, &[]);
        assert!(node.replay.page(&next, &nothing, node.now).is_some());
    }
    assert_eq!(read, rings);
    assert!(READS < rings && node.replay.settled());
    for topic in others[..100].iter().chain([&topic("a"), &topic("b")]) {
        node.replay.leave(topic);
    }
    assert!(node.replay.rings.is_empty());
}

#[test]
fn annotations_come_from_their_own_ring_alone() {
    let mut node = Node::new();
    let annotations = annotation::topic(&tenant());
    let home = Ring::of(&annotations);
    let of = |n: u32| Topic::new(&tenant(), TopicKind::User, &n.to_string());
    let beside = (0..).map(of).find(|t| t.partition() == home.partition);
    node.replay.listen(&annotations, node.now);
    node.replay.listen(&beside.unwrap(), node.now);
    node.replay.lose(true);
    node.replay.resume(node.now);
    let mut reads: Vec<_> = std::iter::from_fn(|| node.replay.next_read(node.now)).collect();
    reads.retain(|read| read.ring.partition == home.partition);
    reads.sort_by_key(|read| read.ring.annotations);
    let [other, own] = &reads[..] else {
        panic!("{reads:?}");
    };
    assert_eq!(own.ring, home);
    let mut held = page(1_000_500, 1, &["1000400-0 a x"]);
    held.entries[0].topic = "channel:annotations".into();
    let forged = node.replay.page(other, &held, node.now).unwrap();
    assert_eq!(forged.events, []);
    let told = node.replay.page(own, &held, node.now).unwrap();
    assert_eq!(told.events.len(), 1);
    assert_eq!(told.events[0].0, annotations);
}

#[test]
fn what_a_reading_overtook_is_not_handed_over_behind_it() {
    let mut node = Node::new();
    let read = node.cut("990000-0");
    // The ring holds the last of three, which are all on their way still.
    let told = node.reads(&read, &page(1_000_500, 3, &["1000300-0 a three"]));
    assert_eq!(told, ["trimmed", "gap a", "gap b", "a 1000300-0 three"]);
    assert_eq!(node.hears("a", "1000100-0", "one"), "late");
    assert_eq!(node.hears("b", "1000200-0", "two"), "now", "of its topic");
    assert_eq!(node.hears("a", "1000300-0", "three"), "repeated");
    assert_eq!(node.hears("a", "1000400-0", "four"), "now");
}

#[test]
fn ids_may_begin_anew_where_data_was_lost() {
    let mut node = Node::new();
    node.hears("a", "1000500-0", "gone");
    let read = node.cut("990000-0");
    let told = node.reads(&read, &page(1_000_400, 1, &[]));
    assert_eq!(told, ["lost", "gap a", "gap b"]);
    assert_eq!(node.hears("a", "1000450-0", "one"), "now");
    let read = node.cut("990400-0");
    let kept = ["1000450-0 a one", "1000460-0 a two"];
    let told = node.reads(&read, &page(1_000_470, 1, &kept));
    assert_eq!(told, ["recovered", "a 1000460-0 two"]);
}

#[test]
fn a_clock_that_went_back_hides_nothing_from_who_listens_since_lately() {
    let mut node = Node::new();
    node.proved(1_005_000);
    node.replay.listen(&topic("c"), node.now);
    node.at(1_006_000);
    node.replay.lose(true);
    node.replay.resume(node.now);
    let read = node.replay.next_read(node.now).unwrap();
    // Two seconds behind the one before.
    let kept = ["1002900-0 c before", "1003500-0 c since"];
    let told = node.reads(&read, &page(1_004_000, 1, &kept));
    assert_eq!(told, ["recovered", "c 1003500-0 since"]);
}

#[test]
fn a_clock_that_went_back_does_not_make_a_trimmed_ring_whole() {
    let mut node = Node::new();
    node.proved(1_005_000);
    node.at(1_006_000);
    node.replay.lose(true);
    node.replay.resume(node.now);
    let read = node.replay.next_read(node.now).unwrap();
    // Of after the proof, though it is dated before it.
    let told = node.reads(&read, &page(1_002_000, 5, &["1001500-0 a fifth"]));
    assert_eq!(told, ["trimmed", "gap a", "gap b", "a 1001500-0 fifth"]);
}

#[test]
fn a_clock_that_only_a_reading_knew_does_not_make_a_trimmed_ring_whole() {
    let mut node = Node::new();
    node.proved(1_005_000);
    node.at(1_006_000);
    let read = node.cut("995000-0");
    // Two seconds ahead of the one before, and no probe comes back by it.
    assert_eq!(node.reads(&read, &page(1_008_000, 1, &[])), ["recovered"]);
    node.at(1_006_500);
    let read = node.cut("998000-0");
    let told = node.reads(&read, &page(1_006_500, 5, &["1006400-0 a fifth"]));
    assert_eq!(told, ["trimmed", "gap a", "gap b", "a 1006400-0 fifth"]);
}

#[test]
fn a_cluster_s_link_that_is_lost_before_a_proof_may_have_missed_what_is_older_than_what_it_heard() {
    let mut node = Node::new();
    node.proved(1_005_000);
    node.at(1_006_000);
    assert_eq!(node.hears("a", "1006000-0", "heard"), "now");
    node.replay.lose(false);
    node.replay.resume(node.now);
    let read = node.replay.next_read(node.now).unwrap();
    let kept = ["1005500-0 b missed", "1006000-0 a heard"];
    let told = node.reads(&read, &page(1_006_500, 1, &kept));
    assert_eq!(told, ["recovered", "b 1005500-0 missed"]);
}

#[test]
fn a_doubt_of_rings_alone_leaves_as_it_is_what_no_ring_keeps() {
    let mut node = Node::new();
    node.hears("a", "raw", "one");
    let read = node.cut("990000-0");
    node.replay.listen(&topic("c"), node.now);
    assert_eq!(node.hears("c", "raw", "two"), "parked");
    node.replay.doubt(Partition::every(), false, node.now);
    let told = node.reads(&read, &page(1_000_500, 0, &[]));
    assert_eq!(told, ["recovered", "gap a", "c parked two"]);
    node.replay.doubt(Partition::every(), false, node.now);
    let read = node.replay.next_read(node.now).unwrap();
    let told = node.reads(&read, &page(1_000_600, 0, &[]));
    assert_eq!(told, ["recovered"]);
}

#[test]
fn who_forges_ids_on_one_topic_keeps_nothing_of_another_from_anybody() {
    let mut node = Node::new();
    node.at(1_000_100);
    // One that the ring will give.
    assert_eq!(node.hears("a", "1000200-0", "forged"), "now");
    assert_eq!(node.hears("b", "1000200-0", "true"), "now");
    assert_eq!(node.hears("b", "1000200-0", "true"), "repeated");
    let read = node.cut("990000-0");
    assert_eq!(node.hears("a", "1000300-0", "forged"), "parked");
    let page = page(1_000_400, 1, &["1000200-0 b true", "1000300-0 b two"]);
    let mut told = node.reads(&read, &page);
    told.sort();
    assert_eq!(told, ["a parked forged", "b 1000300-0 two", "recovered"]);
}

#[test]
fn an_id_of_far_ahead_makes_nothing_late() {
    let mut node = Node::new();
    node.at(1_000_100);
    assert_eq!(node.hears("a", "9999999999999-0", "forged"), "now");
    assert_eq!(node.hears("a", "1000200-0", "true"), "now");
    // That it was kept is not believed either: something like it may be lost.
    let read = node.cut("990000-0");
    let page = page(1_000_400, 1, &["1000200-0 a true", "1000300-0 a two"]);
    let expected = ["recovered", "gap a", "a 1000300-0 two"];
    assert_eq!(node.reads(&read, &page), expected);
}
