//! Which events a socket is sent, and how.

use broker::Timestamp;
use broker::event::Event;
use broker::misskey::Field;
use broker::topic::Topic;
use serde::Deserialize;

use super::channel::{Channel, Name};
use super::message::object;
use super::personal::{Share, share};
use super::timeline::Timeline;
use super::told::Told;
use super::waiting::Change;
use super::{Misskey, send};
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
pub(super) struct Named {
    pub(super) id: Box<str>,
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
        let Some(main) = self.main() else {
            return;
        };
        match share(event, &self.viewer) {
            Share::Whole => effects.push(send(Told::of(delivery).frame(event, &main.join))),
            Share::Nothing => effects.push(withheld(Reason::Muted)),
            Share::Again(id) => self.pack_again(id, event, now, effects),
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
        let came = self.note_came(note.key, told, event, now, effects);
        if effects.len() == before {
            effects.push(withheld(Reason::Filtered));
        }
        if came {
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
        let name = self.of_topic(topic).next().and_then(Channel::name);
        match name {
            Some(Name::Antenna) => self.found(topic, event, now, effects),
            Some(Name::RoleTimeline) => {
                let (told, before) = (Told::of(delivery), effects.len());
                for open in self.of_topic(topic) {
                    show(open, told, event, self, now, effects);
                }
                if effects.len() == before {
                    effects.push(withheld(Reason::Filtered));
                }
            }
            name => {
                let (told, open) = (Told::of(delivery), self.of_topic(topic));
                effects.extend(open.map(|open| send(told.frame(event, &open.join))));
                // A list may be heard before it is open.
                if matches!(name, None | Some(Name::UserList)) {
                    self.list_changed(topic, event, effects);
                }
            }
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
}

/// Sends a note if the channel takes it.
pub(super) fn show(
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

pub(super) fn withheld(reason: Reason) -> Effect {
    Effect::Count(Tally::Withheld(reason))
}
