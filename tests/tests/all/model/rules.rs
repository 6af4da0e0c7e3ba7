//! What must hold of every story.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use broker::Timestamp;
use broker::message::{MessageId, Status};

use super::tab::{Frame, Seen};
use super::{Pushed, Story};

/// A frame written before an expiry may be read this much after it: the reader
/// shares two cores with everything else.
const READING_DELAY: Duration = Duration::from_millis(2000);
/// A scheduled message is released within this of when it is due.
const RELEASE: Duration = Duration::from_secs(3);
/// Within this a gateway has marked what it sent.
const MARKING: Duration = Duration::from_secs(2);
/// A tab that is open this long is subscribed, and one that stays open this long
/// after a push has got it.
const SETTLING: Duration = Duration::from_secs(2);

/// Holds everything that was seen against the rules.
pub(super) fn check(story: &Story) {
    let ids: HashMap<(&str, &str), MessageId> = story
        .pushed
        .iter()
        .map(|(id, pushed)| ((pushed.recipient, &*pushed.text), *id))
        .collect();
    for tab in &story.tabs {
        check_tab(story, tab, &ids);
    }
    let ended = story.ended.lock().expect("nobody panics here");
    for (id, pushed) in &story.pushed {
        let message = &ended[id];
        assert_eq!(*message.text, *pushed.text);
        assert_eq!(*message.recipient, *pushed.recipient);
        assert_eq!(message.expires_at, pushed.expires_at);
        assert_eq!(message.deliver_at, pushed.deliver_at);
        check_end(story, *id, pushed, message.status);
        for tab in &story.tabs {
            check_heard(*id, pushed, message.status, tab);
        }
    }
    let delivered = |status| matches!(status, Status::Delivered(_));
    println!(
        "{} messages, {} delivered; {} tabs, {} frames",
        ended.len(),
        ended
            .values()
            .filter(|message| delivered(message.status))
            .count(),
        story.tabs.len(),
        story.tabs.iter().map(|tab| tab.frames.len()).sum::<usize>(),
    );
}

/// A tab gets only what is for it, in time, in order, and nothing twice.
fn check_tab(story: &Story, tab: &Seen, ids: &HashMap<(&str, &str), MessageId>) {
    let mut before: Option<MessageId> = None;
    let mut seen = HashSet::new();
    for frame in &tab.frames {
        let id = ids.get(&(tab.recipient, &*frame.text));
        let id = *id.unwrap_or_else(|| panic!("{} is not for {}", frame.text, tab.recipient));
        let pushed = &story.pushed[&id];
        assert!(
            is_for(pushed, tab),
            "{id} has label {:?}, not {:?}",
            pushed.label,
            tab.label
        );
        if let Some(told) = &frame.id {
            assert_eq!(*told, id.to_string());
        }
        if let Some(expires_at) = pushed.expires_at {
            assert!(
                frame.at <= expires_at + READING_DELAY,
                "{id} was sent after its expiry"
            );
        }
        assert!(seen.insert(id), "{id} came twice on one socket");
        if let Some(due) = pushed.deliver_at {
            assert!(due <= frame.at, "{id} was sent before it was due");
        }
        if let Some(before) = before {
            let order = (&story.pushed[&before], pushed);
            assert!(
                may_follow((before, order.0), (id, order.1)),
                "{id} came after {before} on one socket: {order:?}"
            );
        }
        before = Some(id);
    }
}

/// A message is delivered if, and only if, it was heard as its listener promises
/// to hear; else it was cancelled for a reason, at the right time.
fn check_end(story: &Story, id: MessageId, pushed: &Pushed, status: Status) {
    let frames: Vec<(&Seen, &Frame)> = story
        .tabs
        .iter()
        .filter(|tab| tab.recipient == pushed.recipient)
        .flat_map(|tab| tab.frames.iter().map(move |frame| (tab, frame)))
        .filter(|(_, frame)| frame.text == pushed.text)
        .collect();
    let counted = |(tab, frame): &(&Seen, &Frame)| !tab.acknowledging || frame.acknowledged;
    let first = frames
        .iter()
        .copied()
        .filter(counted)
        .map(|(_, frame)| frame.at)
        .min();
    match status {
        Status::Pending => unreachable!("all have ended"),
        Status::Delivered(_) => {
            assert!(
                first.is_some(),
                "{id} is delivered, but nobody heard it: {frames:?}"
            );
        }
        Status::Cancelled(at) if Some(at) == pushed.expires_at => {
            assert!(
                first.is_none_or(|first| at <= first),
                "{id} was heard in time ({first:?}), and expired"
            );
        }
        Status::Cancelled(at) => {
            let asked = pushed
                .cancelled
                .unwrap_or_else(|| panic!("{id} was cancelled by nobody"));
            assert!(asked <= at, "{id} was cancelled before anybody asked");
            // Marks travel together: a cancellation may overtake one for an instant.
            assert!(
                first.is_none_or(|first| asked <= first + MARKING),
                "{id} was heard long before it was cancelled"
            );
        }
    }
}

/// Every tab that was there the whole time got the message, and no tab that came
/// after its end did.
fn check_heard(id: MessageId, pushed: &Pushed, status: Status, tab: &Seen) {
    if !is_for(pushed, tab) {
        return;
    }
    let heard = tab.frames.iter().any(|frame| frame.text == pushed.text);
    let (Status::Delivered(end) | Status::Cancelled(end)) = status else {
        unreachable!("all have ended")
    };
    assert!(
        !heard || tab.asked_at <= end,
        "{id} was sent to a tab that opened after its end"
    );
    let due = pushed.deliver_at.max(Some(pushed.at)).unwrap_or_default();
    let short = |at: Option<Timestamp>| at.is_some_and(|at| at < due + SETTLING);
    let there = tab.opened_at + SETTLING <= due && due + SETTLING <= tab.closed_at;
    if there && !short(pushed.expires_at) && !short(pushed.cancelled) {
        assert!(heard, "{id} did not reach a tab that was there: {tab:?}");
    }
}

/// Messages come in the order of their places: where they were created, or, if
/// they were scheduled, where they were released.
fn may_follow(first: (MessageId, &Pushed), second: (MessageId, &Pushed)) -> bool {
    let due = |(id, pushed): (MessageId, &Pushed)| {
        let due = pushed.deliver_at.filter(|due| id.created_at() < *due);
        due.map_or((id.created_at(), None), |due| (due, Some(due + RELEASE)))
    };
    let (from, late) = due(first);
    match due(second) {
        (_, None) if late.is_none() => first.0 < second.0,
        // Whoever looks for what is due takes the earliest first.
        (other, Some(_)) if late.is_some() => from <= other,
        (_, Some(by)) => from <= by,
        (created, None) => from <= created,
    }
}

fn is_for(pushed: &Pushed, tab: &Seen) -> bool {
    pushed.recipient == tab.recipient && (pushed.label.is_none() || pushed.label == tab.label)
}
