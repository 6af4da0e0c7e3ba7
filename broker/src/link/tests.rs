//! A link between a real Redis and listeners of all kinds.

mod missing;

use std::sync::Arc;

use prometheus::Registry;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;

struct Ear {
    heard: UnboundedSender<Batch>,
    given_up: UnboundedSender<()>,
}

impl Outlet for Ear {
    fn leave(&self, batch: Batch) {
        self.heard.send(batch).expect("the test holds the receiver");
    }

    fn given_up(&self) {
        self.given_up.send(()).expect("the test holds the receiver");
    }
}

fn ear() -> (
    Box<dyn Outlet>,
    UnboundedReceiver<Batch>,
    UnboundedReceiver<()>,
) {
    let (heard, batches) = unbounded_channel();
    let (given_up, ends) = unbounded_channel();
    (Box::new(Ear { heard, given_up }), batches, ends)
}

#[tokio::test]
async fn a_listener_that_takes_nothing_is_given_up_and_the_others_go_on() {
    let (redis, keys) = crate::fixture::redis();
    let metrics = LinkMetrics::register("test", &Registry::new()).unwrap();
    let (aside, _asides) = mpsc::channel(1);
    let (stuck, mut unread, mut given_up) = ear();
    let (sound, mut batches, mut sound_given_up) = ear();
    let wants = Wants::default();
    let outlets = vec![stuck, sound];
    let interval = Duration::from_secs(5);
    let mut link = Link::new(
        &redis,
        &keys,
        "node",
        interval,
        outlets,
        vec![],
        aside,
        metrics,
    )
    .with_wants(wants.clone());
    link.outlets.patience = Duration::from_millis(50);
    let room = &mut link.outlets.places[0].as_mut().unwrap().1;
    *room = Arc::new(Semaphore::new(gathered::ARRIVAL_COST));
    tokio::spawn(link.run(std::future::pending()));

    let tenant = "acme".parse().unwrap();
    for name in ["ann", "bob", "cid"] {
        let topic = Topic::recipient(&tenant, name);
        wants.send(&mut vec![
            Want::Subscribe(0, topic.clone()),
            Want::Subscribe(1, topic.clone()),
        ]);
        let batch = batches.recv().await.expect("the link lives");
        let [Arrival::Subscribed(heard)] = &batch.arrivals[..] else {
            panic!("{:?}", batch.arrivals);
        };
        assert_eq!(*heard, topic);
    }
    assert_eq!(given_up.recv().await, Some(()));
    assert!(given_up.try_recv().is_err(), "it is said once");
    assert_eq!(unread.len(), 1, "what there was room for");
    assert!(unread.recv().await.is_some());
    assert!(unread.recv().await.is_none(), "its outlet is gone");
    assert!(sound_given_up.try_recv().is_err());
}
