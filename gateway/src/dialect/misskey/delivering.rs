//! Which events a socket is sent, and how.

use std::sync::Arc;

use broker::Timestamp;
use broker::event::Event;
use broker::misskey::Field;
use broker::topic::Topic;
use serde::Deserialize;

use super::awaited::{Awaited, Note, Purpose};
use super::channel::{Channel, Name};
use super::message::object;
use super::personal::{Share, share};
use super::timeline::Timeline;
use super::told::{self, Told};
use super::waiting::Change;
use super::{Misskey, Question, copy, send};
use crate::dialect::{Delivery, Effect, Tally};

/// Why an event that a socket asked for is not sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No open timeline takes the note.
    Filtered,
    /// The captured note is not for the user's eyes.
    Visibility,
    /// The user does not want to hear of who caused it.
    Muted,
    /// The note that it tells of could not be had in time.
    Lost,
    /// It is not what such events are.
    Unreadable,
}

impl Reason {
    /// All of them.
    pub const EVERY: [Self; 5] = [
        Self::Filtered,
        Self::Visibility,
        Self::Muted,
        Self::Lost,
        Self::Unreadable,
    ];
}

/// What has an id.
#[derive(Deserialize)]
struct Named {
    id: Box<str>,
}

impl Misskey {
    /// An event that is meant for the user.
    pub(super) fn personal(
        &mut self,
        delivery: &Delivery,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let event = &delivery.event;
        let Some(main) = self
            .channels
            .iter()
            .find(|open| open.name() == Some(Name::Main))
        else {
            return;
        };
        match share(event, &self.viewer) {
            Share::Whole => effects.push(send(Told::of(delivery).frame(event, &main.join))),
            Share::Nothing => effects.push(withheld(Reason::Muted)),
            Share::Again(id) => {
                let purpose = Purpose::Personal(Arc::clone(event));
                match self.await_note(&id, purpose, now) {
                    Ok(until) => {
                        effects.push(self.ask(Question::Note(id)));
                        effects.push(Effect::WakeAt(until));
                    }
                    Err(purpose) => self.tell(&purpose, None, now, effects),
                }
            }
        }
    }

    /// A note that everybody gets who may see it.
    pub(super) fn note(&mut self, delivery: &Delivery, now: Timestamp, effects: &mut Vec<Effect>) {
        let event = &delivery.event;
        let Some(note) = event.note() else {
            return effects.push(withheld(Reason::Unreadable));
        };
        let (told, before) = (Told::of(delivery), effects.len());
        let timelines = self
            .channels
            .iter()
            .filter(|open| open.hears_notes() && open.name() != Some(Name::Antenna));
        for open in timelines {
            show(open, told, event, self, now, effects);
        }
        let found = self.awaited.as_mut().map(|awaited| awaited.found(note.key));
        let found = found.unwrap_or_default();
        for found in &found {
            if let Purpose::Antenna(topic) = &found.purpose {
                for open in self
                    .channels
                    .iter()
                    .filter(|open| open.topic.as_ref() == Some(topic))
                {
                    show(open, told, event, self, now, effects);
                }
            }
        }
        if effects.len() == before {
            effects.push(withheld(Reason::Filtered));
        }
        if !found.is_empty() {
            self.forget_awaited();
            self.tune(effects);
        }
    }

    /// An event of a captured note.
    pub(super) fn captured(&self, topic: &Topic, delivery: &Delivery, effects: &mut Vec<Effect>) {
        let update = Told::of(delivery).update(topic, &delivery.event);
        effects.push(match update {
            None => withheld(Reason::Unreadable),
            Some(update)
                if !update
                    .happened
                    .concerns(&self.viewer, self.caller.host.old_bus) =>
            {
                withheld(Reason::Visibility)
            }
            Some(update) => send(update.frame.clone()),
        });
    }

    /// An event of a topic of some channels' own.
    pub(super) fn streamed(
        &mut self,
        topic: &Topic,
        delivery: &Delivery,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let event = &delivery.event;
        let of = |open: &&Channel| open.topic.as_ref() == Some(topic);
        match self.channels.iter().find(of).and_then(Channel::name) {
            Some(Name::Antenna) => self.found(topic, event, now, effects),
            Some(Name::RoleTimeline) => {
                let (told, before) = (Told::of(delivery), effects.len());
                for open in self.channels.iter().filter(of) {
                    show(open, told, event, self, now, effects);
                }
                if effects.len() == before {
                    effects.push(withheld(Reason::Filtered));
                }
            }
            name => {
                let (told, open) = (Told::of(delivery), self.channels.iter().filter(of));
                effects.extend(open.map(|open| send(told.frame(event, &open.join))));
                // A list may be heard before it is open.
                if matches!(name, None | Some(Name::UserList)) {
                    self.list_changed(topic, event, effects);
                }
            }
        }
    }

    /// An antenna has found a note. What it says of it is not for clients: it is the
    /// note as it is stored, whoever may see it.
    fn found(&mut self, topic: &Topic, event: &Event, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(Named { id }) = (&*event.kind == "note")
            .then(|| object(event.body.get()))
            .flatten()
        else {
            return effects.push(withheld(Reason::Unreadable));
        };
        match self.await_note(&id, Purpose::Antenna(topic.clone()), now) {
            Ok(until) => {
                self.tune(effects);
                effects.push(Effect::WakeAt(until));
            }
            Err(_) => effects.push(withheld(Reason::Lost)),
        }
    }

    /// Somebody has been put on a list, or taken off it.
    fn list_changed(&mut self, list: &Topic, event: &Event, effects: &mut Vec<Effect>) {
        let Some(Named { id }) = object(event.body.get()) else {
            return;
        };
        let user = Field::User.key(&id);
        let change = match &*event.kind {
            "userAdded" => Change::Added(user),
            "userRemoved" => Change::Removed(user),
            _ => return,
        };
        if let Some(waiting) = &mut self.waiting {
            waiting.changed(list, change);
        }
        let of = |open: &&mut Channel| open.topic.as_ref() == Some(list);
        let mut known = false;
        for open in self.channels.iter_mut().filter(of) {
            if let Some(Timeline::List(members, _)) = open.timeline.as_deref_mut() {
                change.apply(members);
                known = true;
            }
        }
        if known {
            self.tune(effects);
        }
    }

    fn await_note(
        &mut self,
        id: &str,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<Timestamp, Purpose> {
        let awaited: &mut Awaited = self.awaited.get_or_insert_default();
        awaited.add(id, purpose, now)
    }

    /// Awaits only what is still of use.
    pub(super) fn await_no_more(&mut self, keep: impl FnMut(&Purpose) -> bool) {
        if let Some(awaited) = &mut self.awaited {
            awaited.retain(keep);
            self.forget_awaited();
        }
    }

    fn forget_awaited(&mut self) {
        self.awaited.take_if(|awaited| awaited.is_empty());
    }

    /// The host was asked for a note.
    pub(super) fn note_answered(
        &mut self,
        id: &str,
        note: Option<&Event>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(awaited) = &mut self.awaited else {
            return;
        };
        let answered = awaited.answered(id);
        self.forget_awaited();
        self.tell_all(&answered, note, now, effects);
    }

    /// Tells what waited for these notes, or for one of them.
    fn tell_all(
        &mut self,
        awaited: &[Note],
        note: Option<&Event>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        for awaited in awaited {
            self.tell(&awaited.purpose, note, now, effects);
        }
        if awaited
            .iter()
            .any(|note| matches!(note.purpose, Purpose::Antenna(_)))
        {
            self.tune(effects);
        }
    }

    /// Asks for notes that have not come by themselves, and does without those that
    /// cannot be had.
    pub(super) fn note_overdue(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(awaited) = &mut self.awaited else {
            return;
        };
        let overdue = awaited.overdue(now);
        self.forget_awaited();
        effects.extend(
            overdue
                .ask
                .into_iter()
                .map(|id| self.ask(Question::Note(id))),
        );
        effects.extend(overdue.next.map(Effect::WakeAt));
        self.tell_all(&overdue.lost, None, now, effects);
    }

    /// Tells what waited for a note, which may be none.
    fn tell(
        &self,
        purpose: &Purpose,
        note: Option<&Event>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        match purpose {
            Purpose::Antenna(topic) => {
                let Some(event) = note else {
                    return effects.push(withheld(Reason::Lost));
                };
                let told = Told::default();
                for open in self
                    .channels
                    .iter()
                    .filter(|open| open.topic.as_ref() == Some(topic))
                {
                    show(open, &told, event, self, now, effects);
                }
            }
            Purpose::Personal(event) => {
                let Some(main) = self
                    .channels
                    .iter()
                    .find(|open| open.name() == Some(Name::Main))
                else {
                    return;
                };
                let body = event.body.get();
                let again = note.and_then(|note| match &*event.kind {
                    "notification" => copy::notification(body, note.body.get()),
                    _ => Some(note.body.get().to_owned()),
                });
                let body = again.as_deref().unwrap_or(body);
                effects.push(send(told::event(&main.join, &event.kind, body)));
            }
        }
    }
}

/// Sends a note if the channel takes it.
fn show(
    open: &Channel,
    told: &Told,
    event: &Event,
    to: &Misskey,
    now: Timestamp,
    effects: &mut Vec<Effect>,
) {
    let taken = event
        .note()
        .and_then(|note| open.timeline.as_ref()?.takes(note, &to.viewer, now));
    let frame = taken.and_then(|view| told.note(event, &view, &open.join));
    effects.extend(frame.map(send));
}

fn withheld(reason: Reason) -> Effect {
    Effect::Count(Tally::Withheld(reason))
}
