//! What is told only when a note has come: what is awaited, for what, and what is
//! done with it.

use std::sync::Arc;

use broker::Timestamp;
use broker::event::Event;
use broker::key::Key;
use broker::topic::Topic;

use super::awaited::{Awaited, Note, Purpose};
use super::delivering::{Named, Reason, show, withheld};
use super::message::object;
use super::told::{self, Told};
use super::{Misskey, Question, copy, send};
use crate::dialect::Effect;

impl Misskey {
    /// An antenna has found a note. What it says of it is not for clients: it is the
    /// note as it is stored, whoever may see it.
    pub(super) fn found(
        &mut self,
        topic: &Topic,
        event: &Event,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
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

    /// The event bears a note that was packed while it was hidden from the user, or
    /// is one: it is told with the note as it may be seen now.
    pub(super) fn pack_again(
        &mut self,
        id: Box<str>,
        event: &Arc<Event>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        match self.await_note(&id, Purpose::Personal(Arc::clone(event)), now) {
            Ok(until) => {
                effects.push(self.ask(Question::Note(id)));
                effects.push(Effect::WakeAt(until));
            }
            Err(purpose) => self.tell(&purpose, None, now, effects),
        }
    }

    /// A note has come that everybody gets; true if an antenna had found it.
    pub(super) fn note_came(
        &mut self,
        key: Key,
        told: &Told,
        event: &Event,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let found = self.awaited.as_mut().map(|awaited| awaited.found(key));
        let found = found.unwrap_or_default();
        for note in &found {
            if let Purpose::Antenna(topic) = &note.purpose {
                for open in self.of_topic(topic) {
                    show(open, told, event, self, now, effects);
                }
            }
        }
        self.forget_awaited();
        !found.is_empty()
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
                for open in self.of_topic(topic) {
                    show(open, &told, event, self, now, effects);
                }
            }
            Purpose::Personal(event) => {
                let Some(main) = self.main() else {
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
