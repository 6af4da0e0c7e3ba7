//! What somebody may see of a note, and what they do not want to see: facts about
//! a note and a viewer, of which timelines are made.

use std::time::Duration;

use broker::Timestamp;
use broker::key::Key;
use broker::misskey::note::{Author, MAX_DEPTH, Note, Visibility};
use broker::misskey::viewer::{Viewer, Visitors};

/// Whether the note is meant for the viewer's eyes.
pub fn is_visible(note: &Note, viewer: &Viewer) -> bool {
    let listed = |users: &[Key]| users.iter().any(|user| is_me(viewer, *user));
    let author = note.author.key;
    match note.visibility {
        Visibility::Public | Visibility::Home => true,
        Visibility::Specified => is_me(viewer, author) || listed(&note.visible_to),
        Visibility::Followers => {
            let answered = note.reply.as_ref().map(|reply| reply.author.key);
            is_me(viewer, author)
                || answered.is_some_and(|answered| is_me(viewer, answered))
                || listed(&note.mentions)
                || viewer.following.contains(author)
        }
    }
}

/// Whether the viewer does not want the note: because of who wrote it, or what it
/// answers or renotes, or where it was posted. That this channel is muted does not
/// count: the viewer looks at it.
pub fn is_muted(note: &Note, viewer: &Viewer, except_channel: Option<Key>) -> bool {
    let from = |author: &Author| {
        viewer.muting.contains(author.key)
            || viewer.blocked_by.contains(author.key)
            || viewer.muted_servers.contains(author.server)
    };
    let muted = |channel: Option<Key>| channel.is_some_and(|c| viewer.muted_channels.contains(c));
    let renoted = note.renote.as_ref().and_then(|renote| renote.channel);
    authors(note).any(from)
        || (note.is_pure_renote() && viewer.renote_muting.contains(note.author.key))
        || (muted(note.channel) && note.channel != except_channel)
        || (muted(renoted) && renoted != note.channel)
}

/// Whether the viewer would have to sign in for the note, or for what it answers or
/// renotes.
pub fn needs_sign_in(note: &Note, viewer: &Viewer) -> bool {
    viewer.me.is_none() && authors(note).any(|author| author.requires_sign_in)
}

/// What of a note is shown to a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// All of it.
    Whole,
    /// All but what is covered.
    Partly(Cover),
    /// Nothing.
    No,
}

/// Which of a note, the notes that it renotes, one within the other, and their
/// replies are shown without what they say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cover {
    /// One bit for each note: the lowest for the outermost.
    notes: u32,
    /// One bit for what each of them answers.
    replies: u32,
}

const _: () = assert!(MAX_DEPTH <= u32::BITS as usize);

impl Cover {
    /// Covers those whose bit is set.
    #[cfg(test)]
    pub(super) fn new(notes: u32, replies: u32) -> Self {
        Self { notes, replies }
    }

    /// Whether nothing is covered.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Whether the outermost note is covered.
    pub fn note(self) -> bool {
        self.notes & 1 == 1
    }

    /// What is covered of what it answers.
    #[must_use]
    pub fn of_reply(self) -> Self {
        Self {
            notes: self.replies & 1,
            replies: 0,
        }
    }

    /// What is covered of the note that it renotes.
    #[must_use]
    pub fn of_renote(self) -> Self {
        Self {
            notes: self.notes >> 1,
            replies: self.replies >> 1,
        }
    }
}

/// What of a note may leave for a viewer: the last step of every timeline.
pub fn hide(note: &Note, viewer: &Viewer, now: Timestamp) -> Shown {
    if viewer.me.is_none() {
        match viewer.visitors {
            Visitors::None => return Shown::No,
            Visitors::Local if !note.author.is_local => return Shown::No,
            Visitors::Local | Visitors::All => {}
        }
    }
    let mut cover = Cover::default();
    let mut pure = false;
    let mut bit = 1;
    for note in renotes(note) {
        pure |= note.is_pure_renote();
        if is_hidden(note, viewer, now) {
            cover.notes |= bit;
        }
        if let Some(reply) = &note.reply {
            if is_hidden(reply, viewer, now) {
                cover.replies |= bit;
            }
            // Misskey sends nothing within a reply. Whoever does has no cover for it.
            if holds_hidden(reply, viewer, now) {
                return Shown::No;
            }
        }
        bit <<= 1;
    }
    match cover {
        cover if cover.is_empty() => Shown::Whole,
        // There is nothing to see in a renote without its note.
        Cover { notes: 1.., .. } if pure => Shown::No,
        cover => Shown::Partly(cover),
    }
}

/// What the viewer has reacted with to the note that this one renotes and adds
/// nothing to. `None` also where the note does not bear the viewer's reaction, as
/// it bears only the first few.
pub fn my_reaction<'a>(note: &'a Note, viewer: &Viewer) -> Option<&'a str> {
    let target = note.renote.as_ref().filter(|_| note.is_pure_renote())?;
    if target.reactions == 0 {
        return None;
    }
    let mut reacted = target.reacted.iter();
    let mine = reacted.find(|(user, _)| is_me(viewer, *user));
    mine.map(|(_, reaction)| &**reaction)
}

/// Whether the viewer is this user.
pub(super) fn is_me(viewer: &Viewer, user: Key) -> bool {
    viewer.me.as_ref().is_some_and(|me| me.key == user)
}

/// Who wrote the note, what it answers, and what it renotes.
fn authors(note: &Note) -> impl Iterator<Item = &Author> {
    let others = [&note.reply, &note.renote].into_iter().flatten();
    [&note.author]
        .into_iter()
        .chain(others.map(|other| &other.author))
}

/// The note, the one that it renotes, and so on.
fn renotes(note: &Note) -> impl Iterator<Item = &Note> {
    std::iter::successors(Some(note), |note| note.renote.as_deref())
}

/// Whether the note's words are not for the viewer.
fn is_hidden(note: &Note, viewer: &Viewer, now: Timestamp) -> bool {
    let author = &note.author;
    if is_me(viewer, author.key) {
        return false;
    }
    (viewer.me.is_none() && author.requires_sign_in)
        || author
            .hidden_before
            .is_some_and(|before| is_old(note.created_at, before, now))
        || !is_visible(note, viewer)
}

/// Whether what was written then is hidden by its age. What has no known age is.
fn is_old(created_at: Option<Timestamp>, before: i64, now: Timestamp) -> bool {
    let Some(created_at) = created_at else {
        return true;
    };
    if 0 < before {
        created_at.millis() <= before.saturating_mul(1000)
    } else {
        Duration::from_secs(before.unsigned_abs()) <= now.since(created_at)
    }
}

/// Whether anything within the note is hidden, to whatever depth.
fn holds_hidden(note: &Note, viewer: &Viewer, now: Timestamp) -> bool {
    [&note.reply, &note.renote]
        .into_iter()
        .flatten()
        .any(|inner| is_hidden(inner, viewer, now) || holds_hidden(inner, viewer, now))
}
