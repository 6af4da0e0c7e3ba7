//! The messages that a simulated server keeps, those to all, and what its replica
//! knows of them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use broker::Timestamp;
use broker::message::{GlobalMessage, Message, MessageId, Status};
use broker::topic::{Topic, TopicKind};

use super::{Away, Redis, Time};

/// Sequences of messages to all begin here, as `common.lua` has it.
const GLOBALS: u32 = 0x0080_0000;

/// The messages of a server.
#[derive(Debug, Default)]
pub(super) struct Store {
    logs: BTreeMap<Topic, Vec<Stored>>,
    globals: Vec<Global>,
    /// Copies that were made and are forgotten; made anew, they may wait for who has
    /// them already.
    forgotten: BTreeSet<(Topic, MessageId)>,
    /// All ids that recipients' messages ever had, also of what is forgotten.
    given: BTreeSet<(Topic, MessageId)>,
    /// The texts of messages whose id another of the recipient's had before.
    ambiguous: BTreeSet<(Topic, Rc<str>)>,
}

/// A message in the store.
#[derive(Debug)]
struct Stored {
    id: MessageId,
    text: Rc<str>,
    at: Time,
    delivered: Option<Time>,
    /// It was, and that is forgotten; or that it was to all is.
    forgotten: bool,
    /// Of which message to all it is a copy.
    copy_of: Option<MessageId>,
}

/// A message to all, which is sent to whoever comes.
#[derive(Debug)]
struct Global {
    id: MessageId,
    text: Rc<str>,
    at: Time,
}

impl Store {
    /// Adds a message to a recipient.
    fn append(
        &mut self,
        recipient: &Topic,
        text: &str,
        now: Time,
        clock: u64,
        copy_of: Option<MessageId>,
    ) -> MessageId {
        // The log is one stream for all recipients of the partition.
        let all = self.logs.values().flatten();
        let last = all.map(|m| (m.id.millis, m.id.sequence)).max();
        let last = last.unwrap_or_default();
        let (millis, sequence) = if last.0 < clock {
            (clock, 0)
        } else {
            (last.0, last.1 + 1)
        };
        let id = MessageId {
            millis,
            sequence,
            partition: recipient.partition(),
        };
        let forgotten = |id| self.forgotten.contains(&(recipient.clone(), id));
        let forgotten = copy_of.is_some_and(forgotten);
        if !self.given.insert((recipient.clone(), id)) {
            self.ambiguous.insert((recipient.clone(), text.into()));
        }
        let log = self.logs.entry(recipient.clone()).or_default();
        log.push(Stored {
            id,
            text: text.into(),
            at: now,
            delivered: None,
            forgotten,
            copy_of,
        });
        id
    }

    /// A recipient's copy of a message to all, made if there is none.
    fn copy(
        &mut self,
        recipient: &Topic,
        global: (MessageId, &str),
        now: Time,
        clock: u64,
    ) -> MessageId {
        if let Some(known) = self.copy_of(recipient, global.0) {
            return known.id;
        }
        self.append(recipient, global.1, now, clock, Some(global.0))
    }

    fn copy_of(&mut self, recipient: &Topic, global: MessageId) -> Option<&mut Stored> {
        let mut log = self.logs.get_mut(recipient).into_iter().flatten();
        log.find(|message| message.copy_of == Some(global))
    }

    fn mark(&mut self, recipient: &Topic, id: MessageId, now: Time) {
        let mut log = self.logs.get_mut(recipient).into_iter().flatten();
        if let Some(message) = log.find(|m| m.id == id) {
            message.delivered.get_or_insert(now);
        }
    }

    /// All is gone.
    pub(super) fn clear(&mut self) {
        self.as_heard(0);
        self.logs.clear();
        self.globals.clear();
    }

    /// They are as a replica has them that has not heard what came after `until`.
    pub(super) fn as_heard(&mut self, until: Time) {
        for (recipient, log) in &mut self.logs {
            let lost = log.iter().filter(|message| until < message.at);
            let copies = lost.filter_map(|message| message.copy_of);
            let copies = copies.map(|id| (recipient.clone(), id));
            self.forgotten.extend(copies);
            log.retain(|message| message.at <= until);
            for message in log {
                message.forgotten |= message.delivered.take_if(|at| until < *at).is_some();
            }
        }
        self.globals.retain(|global| global.at <= until);
    }
}

impl Redis {
    /// What the script that stores and announces a message does.
    pub(in super::super) fn push(
        &mut self,
        recipient: &Topic,
        text: &str,
        json: &str,
        now: Time,
        due: impl FnMut() -> Time,
    ) -> Result<(), Away> {
        assert_eq!(recipient.kind(), TopicKind::Recipient);
        let at = self.server_of(recipient);
        let clock = self.millis(at, now);
        let store = &mut self.running(at)?.store;
        let id = store.append(recipient, text, now, clock, None);
        let payload = format!("{} {json}", id.entry());
        let channel = self.keys.channel(recipient);
        self.publish(at, &channel, payload.as_bytes(), due)
    }

    /// The same of a message to all.
    pub(in super::super) fn push_to_all(
        &mut self,
        all: &Topic,
        text: &str,
        json: &str,
        now: Time,
        due: impl FnMut() -> Time,
    ) -> Result<(), Away> {
        let at = self.server_of(all);
        let clock = self.millis(at, now);
        let globals = &mut self.running(at)?.store.globals;
        let last = globals.last().map(|global| global.id);
        let (millis, sequence) = match last.filter(|last| clock <= last.millis) {
            Some(last) => (last.millis, last.sequence + 1),
            None => (clock, GLOBALS),
        };
        let id = MessageId {
            millis,
            sequence,
            partition: all.partition(),
        };
        globals.push(Global {
            id,
            text: text.into(),
            at: now,
        });
        let payload = format!("{} {json}", id.entry());
        let channel = self.keys.channel(all);
        self.publish(at, &channel, payload.as_bytes(), due)
    }

    /// Gives a recipient its own copy of a message to all, as `claim.lua` does.
    pub(in super::super) fn claim(
        &mut self,
        recipient: &Topic,
        global: &GlobalMessage,
        delivered: bool,
        now: Time,
    ) -> Result<MessageId, Away> {
        let home = self.server_of(&Topic::all(&recipient.tenant()));
        let globals = &self.servers[home].store.globals;
        let is_kept = globals.iter().any(|kept| kept.id == global.id);
        let at = self.server_of(recipient);
        let clock = self.millis(at, now);
        let store = &mut self.running(at)?.store;
        let id = store.copy(recipient, (global.id, &global.text), now, clock);
        if !is_kept && let Some(copy) = store.copy_of(recipient, global.id) {
            // Redis has lost the message to all, and a node that had heard it before tells
            // one socket of it: others of the recipient's hear nothing of this.
            copy.forgotten = true;
        }
        if delivered {
            store.mark(recipient, id, now);
        }
        Ok(id)
    }

    /// What a socket has not been sent, oldest first, as `backlog.lua` reads it, with
    /// copies of the messages to all that the recipient has none of.
    pub(in super::super) fn backlog(
        &mut self,
        recipient: &Topic,
        since: Timestamp,
        after: Option<MessageId>,
        count: usize,
        now: Time,
    ) -> Result<(Vec<Message>, Option<MessageId>), Away> {
        let home = self.server_of(&Topic::all(&recipient.tenant()));
        let globals = &self.running(home)?.store.globals;
        let globals: Vec<_> = globals.iter().map(|g| (g.id, Rc::clone(&g.text))).collect();
        let at = self.server_of(recipient);
        let clock = self.millis(at, now);
        let store = &mut self.running(at)?.store;
        for (id, text) in globals {
            store.copy(recipient, (id, &text), now, clock);
        }
        let log = store.logs.get(recipient).map_or(&[][..], Vec::as_slice);
        let unsent = |m: &&Stored| m.delivered.is_none() || since <= m.id.created_at();
        let younger = |m: &&Stored| after.is_none_or(|after| after < m.id);
        let mut found = log.iter().filter(unsent).filter(younger);
        let message = |m: &Stored| Message {
            id: m.id,
            place: None,
            deliver_at: None,
            recipient: recipient.id().into(),
            text: (&*m.text).into(),
            label: None,
            expires_at: None,
            status: Status::Pending,
            global_id: m.copy_of,
        };
        let page: Vec<_> = found.by_ref().take(count).map(message).collect();
        let more = found.next().and_then(|_| page.last().map(|m| m.id));
        Ok((page, more))
    }

    /// A message was delivered.
    pub(in super::super) fn mark(
        &mut self,
        recipient: &Topic,
        id: MessageId,
        now: Time,
    ) -> Result<(), Away> {
        let at = self.server_of(recipient);
        self.running(at)?.store.mark(recipient, id, now);
        Ok(())
    }

    /// Whether the message of this text has an id that another of the recipient's had,
    /// which was lost with a primary.
    pub(in super::super) fn is_ambiguous(&self, recipient: &Topic, text: &str) -> bool {
        let store = &self.servers[self.server_of(recipient)].store;
        store.ambiguous.contains(&(recipient.clone(), text.into()))
    }

    /// The texts of a recipient's messages, and whether each was delivered, as far as
    /// Redis had heard.
    pub(in super::super) fn messages(
        &self,
        recipient: &Topic,
    ) -> impl Iterator<Item = (&str, bool)> {
        let store = &self.servers[self.server_of(recipient)].store;
        let all = store.logs.get(recipient).into_iter().flatten();
        all.map(|m| (&*m.text, m.delivered.is_some() || m.forgotten))
    }
}
