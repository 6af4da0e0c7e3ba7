//! A note as filters need it, read once per node from the packed note on the bus.

use crate::key::Key;
use crate::time::Timestamp;

/// A note. Ids are kept as what stands for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its id.
    pub key: Key,
    /// When it was written; `None` if that cannot be read.
    pub created_at: Option<Timestamp>,
    /// Who wrote it.
    pub author: Author,
    /// Who may see it.
    pub visibility: Visibility,
    /// If only some users may see it: who, beside its author.
    pub visible_to: Box<[Key]>,
    /// Users whom it mentions.
    pub mentions: Box<[Key]>,
    /// The channel in which it was posted.
    pub channel: Option<Key>,
    /// It has a text, which may be empty.
    pub has_text: bool,
    /// It has a content warning, which may be empty.
    pub has_warning: bool,
    /// It has a poll.
    pub has_poll: bool,
    /// It has at least one file.
    pub has_files: bool,
    /// It is a reply, whether or not the note it answers is here.
    pub is_reply: bool,
    /// It renotes, whether or not the note it renotes is here.
    pub is_renote: bool,
    /// The note that it answers.
    pub reply: Option<Box<Note>>,
    /// The note that it renotes.
    pub renote: Option<Box<Note>>,
    /// Its hashtags, in lower case.
    pub tags: Box<[Box<str>]>,
    /// How many reactions it has.
    pub reactions: u64,
    /// Who reacted how, as far as that is known: all of them, if there are as
    /// many as reactions.
    pub reacted: Box<[(Key, Box<str>)]>,
}

/// Who wrote a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The user.
    pub key: Key,
    /// The user's host; the empty name stands for this one.
    pub server: Key,
    /// The user is one of this host's own.
    pub is_local: bool,
    /// Only who has signed in may see what the user writes.
    pub requires_sign_in: bool,
    /// What the user hides (`makeNotesHiddenBefore`): if positive, what was
    /// written up to that second of Unix time; else what is older than that many
    /// seconds.
    pub hidden_before: Option<i64>,
}

/// Who may see a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody.
    Public,
    /// Everybody, though not on timelines of everybody's notes.
    Home,
    /// Followers of the author, and whom it answers or mentions.
    Followers,
    /// Those who are named. Also whatever is not understood.
    Specified,
}
