//! The channels that show notes: which notes each of them takes, and how it
//! shows them.
//!
//! Whether somebody may open one at all is asked before; a timeline that may not
//! be seen is simply never given a note.

mod keys;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;

use broker::Timestamp;
use broker::key::{Key, KeySet};
use broker::misskey::Field;
use broker::misskey::note::{Note, Visibility};
use broker::misskey::viewer::Viewer;

pub use self::keys::{interest, keys};
use super::hashtags::Hashtags;
use super::params::Params;
use super::rules::{self, Cover, Shown, is_me};

/// A channel that shows notes.
#[derive(Debug)]
pub enum Timeline {
    /// Notes of those whom the viewer follows.
    Home(Wishes),
    /// Notes of everybody on this host.
    Local(Wishes),
    /// Both.
    Hybrid(Wishes),
    /// Everybody's notes.
    Global(Wishes),
    /// Notes of the users on a list, of which these are they.
    List(KeySet, Wishes),
    /// Notes with certain hashtags.
    Hashtag(Hashtags),
    /// Notes in a channel of the host; none, if it was named by anything but a string.
    Channel(Option<Key>),
    /// Notes of the users who have a role.
    Role,
    /// Notes that an antenna has found.
    Antenna,
}

/// What of a timeline is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// Renotes too that say nothing of their own.
    pub renotes: bool,
    /// Replies to others too.
    pub replies: bool,
    /// Only notes with files.
    pub files: bool,
}

/// How a note is shown to a viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View<'a> {
    /// What is not shown.
    pub cover: Cover,
    /// What the viewer has reacted with to the note that is renoted.
    pub reaction: Option<&'a str>,
}

impl View<'_> {
    /// Whether it is shown as it is.
    pub fn is_whole(&self) -> bool {
        *self == View::default()
    }
}

impl Wishes {
    /// Reads them.
    pub fn read(params: &Params) -> Self {
        Self {
            renotes: params.flag("withRenotes", true),
            replies: params.flag("withReplies", false),
            files: params.flag("withFiles", false),
        }
    }
}

impl Timeline {
    /// A channel of the host, as the parameters name it.
    pub fn channel(params: &Params) -> Self {
        Self::Channel(params.text("channelId").map(|id| Field::Channel.key(id)))
    }

    /// Whether a note is shown here to this viewer, and how.
    pub fn takes<'a>(&self, note: &'a Note, viewer: &Viewer, now: Timestamp) -> Option<View<'a>> {
        if !self.wants(note, viewer) {
            return None;
        }
        let cover = match rules::hide(note, viewer, now) {
            Shown::Whole => Cover::default(),
            Shown::Partly(cover) => cover,
            Shown::No => return None,
        };
        let reaction = rules::my_reaction(note, viewer);
        Some(View { cover, reaction })
    }

    fn wants(&self, note: &Note, viewer: &Viewer) -> bool {
        let author = note.author.key;
        let public = note.visibility == Visibility::Public;
        let mine = is_me(viewer, author);
        let visible = || rules::is_visible(note, viewer);
        let open = || !rules::needs_sign_in(note, viewer);
        let welcome = || !rules::is_muted(note, viewer, None);
        match self {
            Self::Home(wishes) => {
                let near = match note.channel {
                    Some(channel) => viewer.followed_channels.contains(channel),
                    None => mine || viewer.following.contains(author),
                };
                let all_replies = viewer.with_replies.contains(author);
                wishes.take_files(note)
                    && near
                    && visible()
                    && takes_reply(note, viewer, all_replies)
                    && takes_renote(note, viewer, *wishes)
                    && welcome()
            }
            Self::Local(wishes) => {
                let replies = wishes.replies
                    || viewer.me.is_none()
                    || viewer.with_replies.contains(author)
                    || is_near_reply(note, viewer);
                wishes.take_files(note)
                    && note.author.is_local
                    && public
                    && note.channel.is_none()
                    && open()
                    && replies
                    && wishes.take_renotes(note)
                    && welcome()
            }
            Self::Hybrid(wishes) => {
                let near = match note.channel {
                    Some(channel) => viewer.followed_channels.contains(channel),
                    None => {
                        let local = note.author.is_local && public;
                        local || mine || viewer.following.contains(author)
                    }
                };
                let all_replies = wishes.replies || viewer.with_replies.contains(author);
                wishes.take_files(note)
                    && near
                    && visible()
                    && welcome()
                    && takes_reply(note, viewer, all_replies)
                    && takes_renote(note, viewer, *wishes)
            }
            Self::Global(wishes) => {
                wishes.take_files(note)
                    && public
                    && note.channel.is_none()
                    && open()
                    && wishes.take_renotes(note)
                    && welcome()
            }
            // Misskey never learns here whether the viewer wants all replies of a member.
            Self::List(members, wishes) => {
                note.channel.is_none()
                    && wishes.take_files(note)
                    && members.contains(author)
                    && visible()
                    && is_near_reply(note, viewer)
                    && wishes.take_renotes(note)
                    && welcome()
            }
            Self::Hashtag(hashtags) => {
                hashtags.matches(&note.tags) && visible() && open() && welcome()
            }
            Self::Channel(channel) => {
                channel.is_some()
                    && note.channel == *channel
                    && open()
                    && visible()
                    && !rules::is_muted(note, viewer, *channel)
            }
            Self::Role => public && open() && welcome(),
            Self::Antenna => visible() && welcome(),
        }
    }
}

impl Wishes {
    fn take_files(self, note: &Note) -> bool {
        !self.files || note.has_files
    }

    fn take_renotes(self, note: &Note) -> bool {
        self.renotes || !note.is_pure_renote()
    }
}

/// If the note answers another: either all answers of its author to what the
/// viewer may know of are wanted, or only those that are near to the viewer.
fn takes_reply(note: &Note, viewer: &Viewer, all: bool) -> bool {
    if !all {
        return is_near_reply(note, viewer);
    }
    note.reply
        .as_ref()
        .is_none_or(|reply| is_known(reply, viewer))
}

/// If the note answers another: one of the two is the viewer's own, or both are of
/// one user.
fn is_near_reply(note: &Note, viewer: &Viewer) -> bool {
    note.reply.as_ref().is_none_or(|reply| {
        let (answered, author) = (reply.author.key, note.author.key);
        is_me(viewer, answered) || is_me(viewer, author) || answered == author
    })
}

/// If the note is a renote that says nothing: such are wanted, and what is renoted
/// answers nothing that only others may know of.
fn takes_renote(note: &Note, viewer: &Viewer, wishes: Wishes) -> bool {
    let target = note.renote.as_ref().filter(|_| note.is_pure_renote());
    let answered = target.and_then(|target| target.reply.as_ref());
    wishes.take_renotes(note) && answered.is_none_or(|reply| is_known(reply, viewer))
}

/// The note is not for followers only, or the viewer is one, or wrote it.
fn is_known(note: &Note, viewer: &Viewer) -> bool {
    let author = note.author.key;
    note.visibility != Visibility::Followers
        || viewer.following.contains(author)
        || is_me(viewer, author)
}
