//! Checks that take time: what is asked, and what happens while it is.

use broker::topic::Topic;

use super::channel::Name;
use super::message::{MessageKind, Outcome};
use super::timeline::Timeline;
use super::waiting::{Check, Next, Opening};
use super::{Misskey, Question, Reply, said};
use crate::dialect::Effect;
use crate::interest::Interest;

/// How the topics of lists begin.
const LIST: &str = "userListStream:";

impl Misskey {
    /// Has a channel checked, which is opened if the answer is yes. A list is asked
    /// for only when its changes are heard.
    pub(super) fn check(
        &mut self,
        mut opening: Opening,
        question: Question,
        effects: &mut Vec<Effect>,
    ) {
        let list = opening.channel.topic.clone();
        let list = list.filter(|list| matches!(question, Question::List(_)) && !self.hears(list));
        opening.listening = list.is_some();
        let check = match list {
            Some(list) => {
                self.subscribe(list, Interest::All, effects);
                Check::Listen(opening, question)
            }
            None => {
                effects.push(self.ask(question));
                Check::Open(opening)
            }
        };
        self.waiting.get_or_insert_default().check = Some(check);
    }

    /// What came of the check that is under way.
    pub(super) fn checked(&mut self, reply: &Reply, effects: &mut Vec<Effect>) {
        let Some(waiting) = &mut self.waiting else {
            return;
        };
        match (waiting.check.take(), reply) {
            (Some(Check::Open(mut opening)), Reply::Allowed | Reply::Members(_)) => {
                let channel = &mut opening.channel;
                if let (Some(list), Reply::Members(members)) = (&channel.topic, reply)
                    && let Some(Timeline::List(known, _)) = channel.timeline.as_deref_mut()
                {
                    *known = waiting.members(list, members);
                }
                self.open_channel(opening, effects);
                effects.push(said(MessageKind::Connect, Outcome::Ok));
            }
            (Some(Check::Open(opening)), _) => {
                if let Some(topic) = opening.channel.topic.filter(|_| opening.listening) {
                    self.unsubscribe(topic, effects);
                }
                effects.push(said(MessageKind::Connect, Outcome::Refused));
            }
            (Some(Check::Members(list)), Reply::Members(members)) => {
                let members = waiting.members(&list, members);
                for open in self
                    .channels
                    .iter_mut()
                    .filter(|open| open.topic.as_ref() == Some(&list))
                {
                    if let Some(Timeline::List(known, _)) = open.timeline.as_deref_mut() {
                        known.clone_from(&members);
                    }
                }
                self.tune(effects);
            }
            // Who cannot be told now keeps what was known.
            (Some(Check::Members(_)), _) => {}
            (check, _) => {
                waiting.check = check;
                return;
            }
        }
        self.resume(effects);
    }

    /// The topic of a list is confirmed: what is read from now on misses nothing.
    pub(super) fn listening(&mut self, list: &Topic, effects: &mut Vec<Effect>) {
        let Some(waiting) = &mut self.waiting else {
            return;
        };
        match waiting.check.take() {
            Some(Check::Listen(opening, question))
                if opening.channel.topic.as_ref() == Some(list) =>
            {
                waiting.check = Some(Check::Open(opening));
                effects.push(self.ask(question));
            }
            check => waiting.check = check,
        }
    }

    /// What happened to a list may have been missed.
    pub(super) fn members_unknown(&mut self, list: &Topic, effects: &mut Vec<Effect>) {
        let open = self
            .of_topic(list)
            .any(|open| open.name() == Some(Name::UserList));
        // It may also be about to be opened.
        if open || self.waiting.is_some() && list.id().starts_with(LIST) {
            self.waiting.get_or_insert_default().read_members(list);
            self.resume(effects);
        }
    }

    /// Hears what waited, until there is another check to wait for.
    pub(super) fn resume(&mut self, effects: &mut Vec<Effect>) {
        while let Some(waiting) = self.waiting.as_mut().filter(|w| w.check.is_none()) {
            match waiting.next() {
                Some(Next::Said(text)) => self.hear(&text, effects),
                Some(Next::Members(list)) if self.hears(&list) => {
                    let id = list.id();
                    let id = id.strip_prefix(LIST).unwrap_or_default();
                    effects.push(self.ask(Question::List(id.into())));
                    self.waiting.get_or_insert_default().check = Some(Check::Members(list));
                }
                Some(Next::Members(_)) => {}
                None => self.waiting = None,
            }
        }
    }
}
