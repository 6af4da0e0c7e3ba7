//! How channels are opened and closed.

use broker::misskey::caller::Grant;
use broker::misskey::viewer::Policies;
use broker::topic::{Topic, TopicKind};

use super::awaited::Purpose;
use super::channel::{Channel, JoinId, Kind, MAX_CHANNELS, Name, Permission, Relayed};
use super::hashtags::Hashtags;
use super::message::{Connect, Outcome, id};
use super::params::Params;
use super::timeline::{self, Timeline, Wishes};
use super::waiting::Opening;
use super::{Misskey, Question};
use crate::dialect::Effect;
use crate::interest::Interest;

/// Bytes of the name and the parameters of a channel that the host serves.
const MAX_RELAYED: usize = 4 << 10;

impl Misskey {
    /// Opens a channel, or asks whether it may. `None` if that is not known yet.
    pub(super) fn connect(
        &mut self,
        connect: &Connect<'_>,
        effects: &mut Vec<Effect>,
    ) -> Option<Outcome> {
        let join = JoinId::new(&connect.id);
        // Whatever comes of it, there is no other of that name any more. What both
        // need is kept, so that nothing is missed in between.
        let replaced = self.take(&join);
        let Some((channel, question)) = self.prepare(join, connect) else {
            self.leave(replaced, effects);
            return Some(Outcome::Refused);
        };
        let topic = channel.topic.clone();
        let opening = Opening {
            channel,
            pong: connect.pong == Some(true),
            listening: replaced
                .as_ref()
                .is_some_and(|r| r.topic.is_some() && r.topic == topic),
        };
        let Some(question) = question else {
            self.open_channel(opening, effects);
            self.leave(replaced, effects);
            return Some(Outcome::Ok);
        };
        self.leave(replaced, effects);
        self.check(opening, question, effects);
        None
    }

    /// The channel, and what must be asked before it is open; `None` if it cannot be.
    fn prepare(&self, join: JoinId, connect: &Connect<'_>) -> Option<(Channel, Option<Question>)> {
        if MAX_CHANNELS <= self.channels.len() {
            return None;
        }
        let relays = self.caller.host.relay.is_some();
        let Some(name) = Name::read(&connect.channel) else {
            let relayed = relays.then(|| relayed(join, connect)).flatten();
            return relayed.map(|channel| (channel, None));
        };
        let shared = name.is_shared() && self.channels.iter().any(|open| open.name() == Some(name));
        if shared || !self.permits(name) {
            return None;
        }
        if relays && name.is_host_s() {
            return relayed(join, connect).map(|channel| (channel, None));
        }
        let params = Params::read(connect.params);
        let timeline = self.timeline(name, &params)?;
        let (topic, question) = self.source(name, &params)?;
        let channel = Channel {
            join,
            kind: Kind::Own(name),
            topic,
            timeline: timeline.map(Box::new),
        };
        Some((channel, question))
    }

    /// Whether the caller may have such a channel, as far as can be said without
    /// asking.
    fn permits(&self, name: Name) -> bool {
        match (name.permission(), &self.caller.account) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(permission), Some(account)) => {
                account.grant == Grant::Native || permission != Permission::Moderation
            }
        }
    }

    /// The notes that a channel shows. It is open and shows none if the policies of
    /// the host say so. `None` if it cannot be opened.
    fn timeline(&self, name: Name, params: &Params) -> Option<Option<Timeline>> {
        let wishes = || Wishes::read(params);
        let Policies { local, global } = self.viewer.policies;
        Some(match name {
            Name::HomeTimeline => Some(Timeline::Home(wishes())),
            Name::LocalTimeline => local.then(|| Timeline::Local(wishes())),
            Name::HybridTimeline => local.then(|| Timeline::Hybrid(wishes())),
            Name::GlobalTimeline => global.then(|| Timeline::Global(wishes())),
            Name::UserList => Some(Timeline::List(Default::default(), wishes())),
            Name::Hashtag => Some(Timeline::Hashtag(Hashtags::read(params)?)),
            Name::RoleTimeline => Some(Timeline::Role),
            Name::Antenna => Some(Timeline::Antenna),
            Name::Channel => {
                Some(Timeline::channel(params)).filter(|t| !matches!(t, Timeline::Channel(None)))
            }
            Name::Main
            | Name::Drive
            | Name::ServerStats
            | Name::QueueStats
            | Name::Admin
            | Name::ChatUser
            | Name::ChatRoom
            | Name::Reversi
            | Name::ReversiGame => None,
        })
    }

    /// Where a channel's own events come from, and what must be asked before it is
    /// open; `None` if it cannot be opened.
    fn source(&self, name: Name, params: &Params) -> Option<(Option<Topic>, Option<Question>)> {
        let account = self.caller.account.as_ref();
        let me = || account.map(|account| &*account.user);
        let id = |member: &str| id(params, member);
        let (stream, id, question) = match name {
            Name::Main
            | Name::HomeTimeline
            | Name::LocalTimeline
            | Name::HybridTimeline
            | Name::GlobalTimeline
            | Name::Hashtag
            | Name::Channel
            | Name::ServerStats
            | Name::QueueStats => return Some((None, None)),
            Name::Drive => ("driveStream", me()?, None),
            Name::Admin => ("adminStream", me()?, None),
            Name::Reversi => ("reversiStream", me()?, None),
            Name::ReversiGame => match id("gameId") {
                Some(game) => ("reversiGameStream", game, None),
                None => return Some((None, None)),
            },
            Name::UserList => {
                // Visitors have no lists.
                let list = id("listId").filter(|_| account.is_some())?;
                ("userListStream", list, Some(Question::List(list.into())))
            }
            Name::Antenna => {
                let antenna = id("antennaId")?;
                (
                    "antennaStream",
                    antenna,
                    Some(Question::Antenna(antenna.into())),
                )
            }
            Name::RoleTimeline => {
                let role = id("roleId")?;
                (
                    "roleTimelineStream",
                    role,
                    Some(Question::Role(role.into())),
                )
            }
            Name::ChatRoom => {
                let room = id("roomId")?;
                (
                    "chatRoomStream",
                    room,
                    Some(Question::ChatRoom(room.into())),
                )
            }
            Name::ChatUser => {
                let (me, other) = (me()?, id("otherId")?);
                // With a hyphen it could be read as the topic of somebody else.
                if other == me || me.contains('-') || other.contains('-') {
                    return None;
                }
                let topic = self.stream("chatUserStream", &format!("{me}-{other}"));
                let app = account.is_some_and(|account| account.grant == Grant::App);
                return Some((Some(topic), app.then_some(Question::Chat)));
            }
        };
        Some((Some(self.stream(stream, id)), question))
    }

    fn stream(&self, name: &str, id: &str) -> Topic {
        let tenant = &self.caller.host.tenant;
        Topic::new(tenant, TopicKind::Channel, &format!("{name}:{id}"))
    }

    pub(super) fn open_channel(&mut self, opening: Opening, effects: &mut Vec<Effect>) {
        let Opening {
            channel,
            pong,
            listening,
        } = opening;
        let join = channel.join.clone();
        let topic = channel
            .topic
            .clone()
            .filter(|topic| !listening && !self.hears(topic));
        if let Some(topic) = topic {
            self.subscribe(topic, Interest::All, effects);
        }
        if channel.is_relayed() {
            self.relay(&channel, effects);
            return self.channels.push(channel);
        }
        let notes = channel.hears_notes();
        self.channels.push(channel);
        if notes {
            self.tune(effects);
        }
        if pong {
            self.announce(join, effects);
        }
    }

    /// Whether a channel hears this topic.
    pub(super) fn hears(&self, topic: &Topic) -> bool {
        self.of_topic(topic).next().is_some()
    }

    /// Closes a channel.
    pub(super) fn close(&mut self, join: &JoinId, effects: &mut Vec<Effect>) -> Outcome {
        let Some(closed) = self.take(join) else {
            return Outcome::Idle;
        };
        self.leave(Some(closed), effects);
        Outcome::Ok
    }

    /// Closes all channels of a topic, of which nothing may be told any more.
    pub(super) fn close_all(&mut self, topic: &Topic, effects: &mut Vec<Effect>) {
        let of = |open: &Channel| open.topic.as_ref() == Some(topic);
        while let Some(at) = self.channels.iter().position(of) {
            let closed = self.channels.remove(at);
            self.leave(Some(closed), effects);
        }
    }

    fn take(&mut self, join: &JoinId) -> Option<Channel> {
        let at = self.channels.iter().position(|open| open.join == *join)?;
        Some(self.channels.remove(at))
    }

    /// Lets go of what only this channel needed, which is closed.
    fn leave(&mut self, closed: Option<Channel>, effects: &mut Vec<Effect>) {
        let Some(closed) = closed else { return };
        let notes = closed.hears_notes();
        if closed.is_relayed() {
            self.unrelay(&closed.join, effects);
        }
        if closed.name() == Some(Name::Main) {
            self.await_no_more(|purpose| matches!(purpose, Purpose::Antenna(_)));
        }
        if let Some(topic) = closed.topic.filter(|topic| !self.hears(topic)) {
            self.await_no_more(|purpose| !matches!(purpose, Purpose::Antenna(of) if *of == topic));
            self.unsubscribe(topic, effects);
        }
        if notes {
            self.tune(effects);
        }
    }

    /// Hears of all notes what open channels need.
    pub(super) fn tune(&mut self, effects: &mut Vec<Effect>) {
        let showing = || self.channels.iter().filter(|open| open.hears_notes());
        let needed = showing().next().is_some();
        let interest = || {
            let timelines = showing().filter_map(|open| open.timeline.as_deref());
            let further = self.awaited.iter().flat_map(|awaited| awaited.keys());
            timeline::interest(timelines, further, &self.viewer)
        };
        match (needed, self.notes.clone()) {
            (true, Some(notes)) => effects.push(Effect::Want(notes, interest())),
            (true, None) => {
                let interest = interest();
                let tenant = &self.caller.host.tenant;
                let notes = Topic::new(tenant, TopicKind::Channel, "notesStream");
                self.notes = Some(notes.clone());
                self.subscribe(notes, interest, effects);
            }
            (false, Some(notes)) => {
                self.notes = None;
                self.unsubscribe(notes, effects);
            }
            (false, None) => {}
        }
    }
}

/// A channel that the host serves; `None` if there is more to it than is kept for as
/// long as it is open.
fn relayed(join: JoinId, connect: &Connect<'_>) -> Option<Channel> {
    let params = connect.params.map_or(0, |params| params.get().len());
    if MAX_RELAYED < connect.channel.len() + params {
        return None;
    }
    let relayed = Relayed {
        channel: connect.channel.as_ref().into(),
        params: connect.params.map(ToOwned::to_owned),
        pong: connect.pong == Some(true),
    };
    Some(Channel {
        join,
        kind: Kind::Relayed(Box::new(relayed)),
        topic: None,
        timeline: None,
    })
}
