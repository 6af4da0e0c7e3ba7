//! What a link makes of what it does not hear.

use prometheus::Registry;

use super::*;
use crate::keys::Partition;
use crate::people;
use crate::replay::Page;
use crate::topic::Tenant;

/// A link in a Cluster of two, with one listener.
struct Stage {
    course: Course,
    start: Instant,
    now: Instant,
}

const INTERVAL: Duration = Duration::from_secs(4);

impl Stage {
    fn new() -> Self {
        let (keys, start) = (Keys::new("carillon"), Instant::now());
        let metrics = LinkMetrics::register("test", &Registry::new()).unwrap();
        let mut course = Course::new(&keys, "node", INTERVAL, 1, metrics, start);
        course.begin(1_000_000, start);
        let now = start;
        let mut stage = Self { course, start, now };
        stage.connects();
        stage
    }

    /// The connection is gone, and there is another.
    fn connects(&mut self) {
        self.course.lost();
        self.course.connected(self.now);
        let probes = self.course.probe_channel().to_owned();
        self.says(&Push::Subscribed(probes.as_bytes()));
    }

    fn says(&mut self, push: &Push<'_>) {
        self.course.take(push, self.now).unwrap();
    }

    fn wants(&mut self, topic: &Topic) {
        let want = vec![Want::Subscribe(0, topic.clone())];
        self.course.want(want, self.now);
        self.subscribes(topic);
    }

    fn subscribes(&mut self, topic: &Topic) {
        let asked = self.course.ask_for_more(self.now);
        assert_eq!(asked, std::slice::from_ref(topic));
        let channel = self.course.channel(topic);
        self.says(&Push::Subscribed(channel.as_bytes()));
    }

    /// A round of probes at this time, which come back from so many of the two.
    fn probe(&mut self, seconds: u64, back: usize) {
        let at = self.start + Duration::from_secs(seconds);
        self.now = at;
        let nonce = self.course.tick(at).unwrap().probe.expect("one is due");
        let half =
            |one: usize| Partition::every().filter(move |p| usize::from(p.index() % 2) == one);
        let servers = ["even", "odd"];
        for server in &servers[..back] {
            let payload = format!("{nonce} {} {server}", 1_000_000 + 1000 * seconds);
            let channel = self.course.probe_channel().to_owned();
            let push = Push::Message {
                channel: channel.as_bytes(),
                payload: payload.as_bytes(),
            };
            self.course.take(&push, at).unwrap();
        }
        let published = servers.iter().enumerate().map(|(one, server)| Published {
            server: (*server).into(),
            partitions: half(one).collect(),
            done: true,
        });
        self.course.published(nonce, published.collect(), at);
        self.course.heard(at + Duration::from_millis(1));
    }

    /// An event comes that no ring keeps.
    fn hears_raw(&mut self, topic: &Topic) {
        let channel = self.course.channel(topic);
        self.says(&Push::Message {
            channel: channel.as_bytes(),
            payload: br#"{"v":1,"type":"raw"}"#,
        });
        assert_eq!(self.arrivals(), [format!("event {topic}")]);
    }

    /// Reads what is to be read, and finds nothing in it; how much that is.
    fn finds_nothing(&mut self) -> usize {
        let mut read = 0;
        while let Some(next) = self.course.next_read(self.now) {
            let page = Page {
                time: 1_000_000,
                ..Page::default()
            };
            self.course.read(&next, Some(&page), self.now);
            read += 1;
        }
        read
    }

    fn arrivals(&mut self) -> Vec<String> {
        let (arrivals, _) = self.course.gathered().take(0);
        let short = |arrival: &Arrival| match arrival {
            Arrival::Subscribed(topic) => format!("subscribed {topic}"),
            Arrival::Resumed(topic) => format!("resumed {topic}"),
            Arrival::Gap(topic) => format!("gap {topic}"),
            Arrival::Event(topic, _) => format!("event {topic}"),
        };
        arrivals.iter().map(short).collect()
    }
}

/// A recipient whose messages the server `even` or `odd` publishes.
fn recipient(one: u16) -> Topic {
    let tenant = "acme".parse().unwrap();
    let all = (0..).map(|n: u32| Topic::recipient(&tenant, &n.to_string()));
    let mut of = all.filter(|topic| topic.partition().index() % 2 == one);
    of.next().unwrap()
}

#[test]
fn recipients_of_a_primary_that_was_not_heard_read_their_store_until_it_is() {
    let mut stage = Stage::new();
    let (even, odd) = (recipient(0), recipient(1));
    stage.wants(&even);
    stage.wants(&odd);
    stage.probe(0, 2);
    stage.arrivals();
    stage.probe(4, 1);
    assert_eq!(stage.arrivals(), [] as [String; 0]);
    stage.probe(8, 1);
    assert_eq!(stage.arrivals(), [format!("resumed {odd}")]);
    stage.probe(12, 2);
    let resumed = format!("resumed {odd}");
    assert_eq!(
        stage.arrivals(),
        [resumed.clone(), resumed],
        "and once more"
    );
    stage.probe(16, 2);
    assert_eq!(stage.arrivals(), [] as [String; 0]);
}

#[test]
fn rights_are_read_anew_while_any_primary_is_not_heard() {
    let mut stage = Stage::new();
    let tenant: Tenant = "acme".parse().unwrap();
    let users = (0..).map(|n: u32| people::topic(&tenant, &n.to_string()));
    let mut even = users.filter(|topic| topic.partition().index() % 2 == 0);
    let user = even.next().unwrap();
    let resumed = format!("resumed {user}");
    stage.wants(&user);
    stage.arrivals();
    for (seconds, back, told) in [(0, 2, 1), (4, 1, 0), (8, 1, 1), (12, 2, 2), (16, 2, 0)] {
        stage.probe(seconds, back);
        assert_eq!(stage.arrivals(), vec![resumed.clone(); told], "{seconds}");
    }
}

#[test]
fn what_happened_before_a_connection_was_proved_is_read_again() {
    let mut stage = Stage::new();
    let note = Topic::new(&"acme".parse().unwrap(), TopicKind::Note, "n");
    stage.wants(&note);
    assert_eq!(stage.course.next_read(stage.now), None);
    stage.probe(0, 2);
    assert!(stage.course.next_read(stage.now).is_some());
    assert_eq!(stage.course.next_read(stage.now), None);
}

#[test]
fn what_no_ring_keeps_is_announced_once_for_each_time_it_may_have_been_missed() {
    let mut stage = Stage::new();
    let tenant = "acme".parse().unwrap();
    let all = (0..).map(|n: u32| Topic::new(&tenant, TopicKind::Note, &n.to_string()));
    let mut odd = all.filter(|topic| topic.partition().index() % 2 == 1);
    let (note, later) = (odd.next().unwrap(), odd.next().unwrap());
    let (gap, later_gap) = (format!("gap {note}"), format!("gap {later}"));
    stage.wants(&note);
    stage.arrivals();
    stage.hears_raw(&note);
    stage.probe(0, 2);
    assert_eq!(stage.finds_nothing(), 1);
    assert_eq!(stage.arrivals(), [] as [String; 0], "nothing was away");

    stage.connects();
    stage.subscribes(&note);
    assert_eq!(stage.finds_nothing(), 1);
    assert_eq!(stage.arrivals(), [format!("resumed {note}"), gap.clone()]);
    stage.wants(&later);
    stage.arrivals();
    stage.hears_raw(&later);
    stage.probe(4, 2);
    assert_eq!(stage.finds_nothing(), 2);
    assert_eq!(stage.arrivals(), [] as [String; 0], "it has been said");

    // A primary that did not come back, for as long as it does not, and another.
    for (seconds, back) in [(8, 1), (12, 1), (16, 2)] {
        stage.probe(seconds, back);
        let found = stage.finds_nothing();
        let mut told = stage.arrivals();
        told.sort();
        let expected: &[String] = match seconds {
            8 => &[],
            _ => &[gap.clone(), later_gap.clone()],
        };
        assert_eq!((told.as_slice(), found), (expected, expected.len()));
    }
}

#[test]
fn how_long_topics_take_is_told_once_all_that_were_asked_for_together_are_there() {
    let mut stage = Stage::new();
    let topics = [recipient(0), recipient(1)];
    let wants = topics.map(|topic| Want::Subscribe(0, topic));
    stage.course.want(wants.into(), stage.now);
    let asked = stage.course.ask_for_more(stage.now);
    let took = stage.course.metrics.subscribe_seconds.clone();
    for (confirmed, seconds) in asked.iter().zip([1, 2]) {
        assert_eq!(took.get_sample_count(), 0);
        stage.now = stage.start + Duration::from_secs(seconds);
        let channel = stage.course.channel(confirmed);
        stage.says(&Push::Subscribed(channel.as_bytes()));
    }
    assert_eq!(took.get_sample_count(), 1);
    assert!((1.9..2.1).contains(&took.get_sample_sum()));
}
