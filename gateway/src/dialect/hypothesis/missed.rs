//! What happened while a client was away, sent to it when it is back.
//!
//! It begins when the client has said what it calls itself and what it wants to
//! hear of. Until all is sent, what happens meanwhile is parked and follows, so
//! nothing comes twice and everything in order.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use broker::annotation::Change;
use broker::event::{EntryId, Event};
use broker::message::MessageId;
use broker::resumption::Client;
use broker::topic::Topic;

use super::super::{Delivery, Effect, Errand, Outgoing, Tag};
use super::Hypothesis;
use super::told::Told;
use crate::close::CloseReason;

/// Events told before the client said what it calls itself. A client that speaks
/// up later begins anew.
const MAX_SEEN: usize = 32;
/// Events parked per socket. With more the client is sent away, to come back.
const MAX_PARKED: usize = 256;
/// Once something is known that is so much younger, in milliseconds, than the newest
/// of what was missed, nothing of that comes again: links keep what they handed over
/// as long.
const ON_ITS_WAY: u64 = 60_000;
/// What is sent at once, in frames and in bytes: little enough that a slow
/// reader's queue holds it.
const PAGE: (usize, usize) = (64, 128 << 10);

/// What was published of late, and from where on a client missed it. Cheap to
/// clone: all who come back at the same time share it.
#[derive(Clone)]
pub struct Missed {
    /// What the ring held, oldest first.
    pub entries: Arc<[(EntryId, Arc<Event>)]>,
    /// For each, the place of the last that tells of the same annotation.
    pub latest: Arc<[u32]>,
    /// The first to be looked at.
    pub next: usize,
    /// Whether that is all there was.
    pub whole: bool,
}

impl Missed {
    /// All that a ring held, oldest first.
    pub fn of(entries: Vec<(EntryId, Arc<Event>)>) -> Self {
        let mut last = HashMap::new();
        let mut latest = vec![0; entries.len()];
        for (at, (_, event)) in entries.iter().enumerate().rev() {
            let place = u32::try_from(at).expect("rings are small");
            latest[at] = match event.annotation() {
                Some(told) => *last.entry(Arc::clone(&told.id)).or_insert(place),
                None => place,
            };
        }
        Self {
            entries: entries.into(),
            latest: latest.into(),
            next: 0,
            whole: true,
        }
    }
}

impl fmt::Debug for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Missed({} from {})", self.entries.len(), self.next)
    }
}

/// How far a socket is with what its client missed.
#[derive(Debug)]
pub(super) enum Return {
    /// The client has not said enough; these were told to it.
    Unknown(Vec<EntryId>),
    /// Under way.
    Catching(Box<Catching>),
    /// Done. The newest of what was looked at, oldest first, which may be on its way
    /// still, or be read once more by a link that had been lost.
    Caught(Box<[EntryId]>),
    /// Done, or not to be done.
    Done,
}

#[derive(Debug)]
pub(super) struct Catching {
    told: Vec<EntryId>,
    parked: Vec<Rc<Delivery>>,
    missed: Option<Missed>,
    /// The first that is looked at. What was before it the client has.
    first: usize,
    /// The last frame under way, if there is more.
    page_end: Option<MessageId>,
}

impl Hypothesis {
    /// Asks what the client missed, once it has said enough to be told.
    pub(super) fn ask_missed(&mut self) -> Option<Effect> {
        let client = self.resuming()?;
        let Return::Unknown(told) = &mut self.back else {
            return None;
        };
        if self.filter.is_empty() {
            return None;
        }
        let told = std::mem::take(told);
        self.back = Return::Catching(Box::new(Catching {
            told,
            parked: Vec::new(),
            missed: None,
            first: 0,
            page_end: None,
        }));
        Some(Effect::Ask(Errand::Missed {
            annotations: self.annotations.clone(),
            client,
        }))
    }

    /// The client, if it can be known again.
    pub(super) fn resuming(&self) -> Option<Box<Client>> {
        let name = self.client.name().filter(|_| !self.strict)?;
        let userid = self.viewer.as_ref().map(|viewer| &*viewer.userid);
        let client = Client::new(&self.annotations.tenant(), userid, name);
        Some(Box::new(client))
    }

    /// An event came on the topic of annotations.
    pub(super) fn annotated(&mut self, delivery: &Rc<Delivery>) -> Option<Effect> {
        match &mut self.back {
            Return::Done => {}
            Return::Caught(known) => {
                let entry = delivery.event.entry.unwrap_or_default();
                if known.binary_search(&entry).is_ok() {
                    return None;
                }
                let last = known.last().copied().unwrap_or_default();
                if last.millis + ON_ITS_WAY < entry.millis {
                    self.back = Return::Done;
                }
            }
            Return::Unknown(told) if told.len() < MAX_SEEN => told.extend(delivery.event.entry),
            Return::Unknown(_) => self.back = Return::Done,
            Return::Catching(catching) if catching.parked.len() < MAX_PARKED => {
                catching.parked.push(Rc::clone(delivery));
                return None;
            }
            Return::Catching(_) => return Some(Effect::Close(CloseReason::Missed)),
        }
        self.tell(delivery)
    }

    /// What the client missed is known; nothing, if it was not here of late.
    pub(super) fn missed(&mut self, missed: Option<Missed>) -> Vec<Effect> {
        let Return::Catching(catching) = &mut self.back else {
            return Vec::new();
        };
        let mut missed = missed.unwrap_or_else(|| Missed::of(Vec::new()));
        // What came here already may be older than the point that another socket of
        // the client has set meanwhile. It is told in its place.
        let parked = catching.parked.iter();
        if let Some(first) = parked.filter_map(|parked| parked.event.entry).min() {
            let place = missed.entries.partition_point(|(id, _)| *id < first);
            missed.next = missed.next.min(place);
        }
        catching.first = missed.next;
        catching.missed = Some(missed);
        self.go_on()
    }

    /// A page is on its way.
    pub(super) fn flushed(&mut self, tag: &Tag) -> Vec<Effect> {
        match &mut self.back {
            Return::Catching(catching) if catching.page_end == Some(tag.id()) => {
                catching.page_end = None;
                self.go_on()
            }
            _ => Vec::new(),
        }
    }

    /// Sends the next page, if it is known and who the user is as well.
    pub(super) fn go_on(&mut self) -> Vec<Effect> {
        if self
            .viewer
            .as_ref()
            .is_some_and(|viewer| viewer.is_being_read())
        {
            return Vec::new();
        }
        let Return::Catching(catching) = &mut self.back else {
            return Vec::new();
        };
        if catching.page_end.is_some() {
            return Vec::new();
        }
        let Some(mut missed) = catching.missed.take() else {
            return Vec::new();
        };
        let told = std::mem::take(&mut catching.told);
        let (mut effects, mut frames, mut bytes) = (Vec::new(), 0, 0);
        while let Some((id, event)) = missed.entries.get(missed.next) {
            let latest = missed.latest[missed.next] as usize;
            missed.next += 1;
            if told.contains(id) {
                continue;
            }
            let Some(mut outgoing) = self.again(event, &missed.entries[latest].1) else {
                continue;
            };
            (frames, bytes) = (frames + 1, bytes + outgoing.frame.len());
            let full = PAGE.0 <= frames || PAGE.1 <= bytes;
            let end = full.then(|| self.place_of(*id)).flatten();
            outgoing.tag = end.map(Tag::Message);
            effects.push(Effect::Send(outgoing));
            if end.is_some() {
                if let Return::Catching(catching) = &mut self.back {
                    catching.page_end = end;
                    catching.told = told;
                    catching.missed = Some(missed);
                }
                return effects;
            }
        }
        let Return::Catching(catching) = std::mem::replace(&mut self.back, Return::Done) else {
            return effects;
        };
        // A ping on its way proves nothing of what is sent only now.
        self.pinged_at = 0;
        let looked_at = &missed.entries[catching.first..];
        for delivery in &catching.parked {
            let known = |id| looked_at.binary_search_by_key(&id, |(id, _)| *id).is_ok();
            if !delivery.event.entry.is_some_and(known) {
                effects.extend(self.tell(delivery));
            }
        }
        let newest = &looked_at[looked_at.len().saturating_sub(MAX_PARKED)..];
        if !newest.is_empty() {
            self.back = Return::Caught(newest.iter().map(|(id, _)| *id).collect());
        }
        effects
    }

    /// An event of before, if it is for this socket now. Of an annotation that its
    /// user may not read any more, or that is gone or was changed on this very tab
    /// since, nothing older is told.
    fn again(&self, event: &Arc<Event>, latest: &Arc<Event>) -> Option<Outgoing> {
        let notification = event.annotation()?;
        if !self.filter.matches(notification) {
            return None;
        }
        if !Arc::ptr_eq(event, latest) {
            let last = latest.annotation()?;
            if last.action == Change::Delete || self.class(last).is_err() {
                return None;
            }
        }
        let delivery = Delivery::new(Arc::clone(event));
        let Told::Annotation(annotated) = Told::of(&delivery) else {
            return None;
        };
        let (class, flagged) = self.class(notification).ok()?;
        Some(Outgoing {
            frame: annotated.frame(event, class, flagged)?,
            expires_at: None,
            tag: None,
        })
    }

    /// What an entry is called when its frame has been taken.
    fn place_of(&self, id: EntryId) -> Option<MessageId> {
        Some(MessageId {
            millis: id.millis,
            sequence: u32::try_from(id.sequence).ok()?,
            partition: Topic::partition(&self.annotations),
        })
    }

    /// All that was published before this time, in Unix milliseconds by Redis'
    /// clock, has come. A link that is lost reads from a while before it.
    pub(super) fn settled(&mut self, until: u64) {
        if let Return::Caught(known) = &self.back
            && known
                .last()
                .is_some_and(|last| last.millis + ON_ITS_WAY < until)
        {
            self.back = Return::Done;
        }
    }

    /// One of our pings was answered: what was sent before it has arrived, and with
    /// that all that was published before this time.
    pub(super) fn reached(&mut self) -> Option<Effect> {
        let until = std::mem::take(&mut self.pinged_at);
        if until == 0 || !matches!(self.back, Return::Caught(_) | Return::Done) {
            return None;
        }
        let client = self.resuming()?;
        Some(Effect::Ask(Errand::Reached { client, until }))
    }
}
