//! What shards ask for that takes time, as `errands.rs` has it done, without waiting.

use broker::event::EntryId;
use broker::ring::Ring;

use super::super::redis::{Away, Time};
use super::super::setting::Setting;
use super::World;
use super::happening::Happening;
use crate::dialect::misskey::Reply;
use crate::dialect::{Answer, Errand, Mark, Tag};
use crate::errands::{Asked, missed};

/// Messages that are read at once for one socket.
const PAGE: usize = 3;
/// Pause before a failed errand is tried again.
pub(super) const RETRY: Time = 500;

impl World {
    /// Runs an errand, or tries again later.
    pub(super) fn run(&mut self, node: usize, asked: Asked) {
        match self.answer(node, &asked) {
            Ok(Some(answer)) => {
                let delay = self.command_delay();
                let back = Happening::Answer {
                    node,
                    asked,
                    answer,
                };
                self.enter(delay, back);
            }
            Ok(None) => {}
            Err(Away) => self.enter(RETRY, Happening::Run { node, asked }),
        }
    }

    /// What comes of an errand, if anything is to come of it.
    fn answer(&mut self, node: usize, asked: &Asked) -> Result<Option<Answer>, Away> {
        let now = self.now;
        if self.is_isolated(node) {
            return Err(Away);
        }
        Ok(Some(match &asked.errand {
            Errand::Backlog {
                recipient,
                since,
                after,
                ..
            } => {
                let read = self.redis.backlog(recipient, *since, *after, PAGE, now)?;
                let (messages, more) = read;
                Answer::Backlog { messages, more }
            }
            Errand::Claim { recipient, global } => Answer::Claimed {
                id: self.redis.claim(recipient, global, false, now)?,
                global: global.clone(),
            },
            Errand::Missed {
                annotations,
                client,
            } => {
                let ring = Ring::of(annotations);
                let page = self.redis.ring(&ring, EntryId::default(), now)?;
                let point = self.redis.come(client, now)?;
                if point.is_none() {
                    self.tab_begins(node, asked);
                }
                Answer::Missed(point.map(|point| missed::since(page, point)))
            }
            Errand::Reached { client, until } => {
                // Who cannot be noted is only sent more when it comes back.
                let _ = self.redis.reach(client, *until, now);
                return Ok(None);
            }
            Errand::Identity(user) => {
                let number = Setting::user(&user.userid);
                let member = self.redis.is_member(number)?;
                Answer::Identity(Some(Setting::signed_in(number, member)))
            }
            Errand::Misskey(_) => Answer::Misskey(Reply::Viewer(self.setting.viewer())),
            Errand::Mark(_) => panic!("nobody asks for {:?} so", asked.errand),
        }))
    }

    /// From now on a tab is sent what it misses.
    fn tab_begins(&mut self, node: usize, asked: &Asked) {
        let mut clients = self.clients.iter();
        let asks = clients.find(|client| {
            let there = client.node == node && client.shard == asked.shard;
            there && client.key == Some(asked.key)
        });
        if let Some(client) = asks
            && let Some(tab) = client.tab
        {
            let accepted = self.subjects[client.own].accepted.len();
            self.tabs[tab].from = Some(accepted);
        }
    }

    /// Notes that a message was delivered.
    pub(super) fn note(&mut self, node: usize, mark: &Mark) -> Result<(), Away> {
        let now = self.now;
        if self.is_isolated(node) {
            return Err(Away);
        }
        match &mark.what {
            Tag::Message(id) => self.redis.mark(&mark.recipient, *id, now),
            Tag::Global(global) => {
                let copy = self.redis.claim(&mark.recipient, global, true, now);
                copy.map(|_| ())
            }
        }
    }
}
