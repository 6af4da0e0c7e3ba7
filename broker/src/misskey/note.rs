//! A note as filters need it, read once per node from the packed note on the bus.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::key::Key;
use crate::misskey::Field;
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
    pub reply: Option<Box<Self>>,
    /// The note that it renotes.
    pub renote: Option<Box<Self>>,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody.
    #[default]
    Public,
    /// Everybody, though not on timelines of everybody's notes.
    Home,
    /// Followers of the author, and whom it answers or mentions.
    Followers,
    /// Those who are named. Also whatever is not understood.
    Specified,
}

/// How many notes may lie within each other: quotes of quotes have no end of
/// their own. A note with more is refused, as what lies deeper could not be hidden.
pub const MAX_DEPTH: usize = 32;

impl Note {
    /// Reads a packed note. What Misskey always writes may be missing, except for
    /// the ids of the note and of its author; a missing visibility is the usual
    /// one, one that is not understood is [`Visibility::Specified`]. `None` if it
    /// is no note, holds a member twice, or notes too deep within each other.
    pub fn parse(json: &str) -> Option<Self> {
        let packed: Packed<'_> = serde_json::from_str(json).ok()?;
        packed.read(MAX_DEPTH)
    }

    /// It renotes and says nothing of its own.
    pub fn is_pure_renote(&self) -> bool {
        let says =
            self.has_text || self.has_warning || self.has_poll || self.has_files || self.is_reply;
        self.is_renote && !says
    }
}

impl Visibility {
    /// Reads what is said about who may see a note; for a member that may be missing.
    ///
    /// # Errors
    /// If it is neither a string nor `null`.
    pub fn said<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        let text = Option::<Text<'de>>::deserialize(from)?;
        Ok(Some(match text.as_ref().map(|text| &*text.0) {
            Some("public") => Self::Public,
            Some("home") => Self::Home,
            Some("followers") => Self::Followers,
            _ => Self::Specified,
        }))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Packed<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    created_at: Option<Text<'a>>,
    user_id: Option<Text<'a>>,
    user: Option<PackedUser<'a>>,
    #[serde(default, deserialize_with = "Visibility::said")]
    visibility: Option<Visibility>,
    visible_user_ids: Option<Vec<Text<'a>>>,
    mentions: Option<Vec<Text<'a>>>,
    channel_id: Option<Text<'a>>,
    text: Option<IgnoredAny>,
    cw: Option<IgnoredAny>,
    poll: Option<IgnoredAny>,
    file_ids: Option<Vec<IgnoredAny>>,
    files: Option<Vec<IgnoredAny>>,
    reply_id: Option<IgnoredAny>,
    renote_id: Option<IgnoredAny>,
    reply: Option<Box<Self>>,
    renote: Option<Box<Self>>,
    tags: Option<Vec<Text<'a>>>,
    reactions: Option<Total>,
    reaction_and_user_pair_cache: Option<Vec<Text<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PackedUser<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    host: Option<Text<'a>>,
    require_signin_to_view_contents: Option<bool>,
    make_notes_hidden_before: Option<i64>,
}

/// A string, borrowed where it holds no escapes, also within an `Option` or a `Vec`.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Packed<'_> {
    fn read(self, depth: usize) -> Option<Note> {
        let deeper = depth.checked_sub(1)?;
        let within = |note: Option<Box<Self>>| match note {
            Some(note) => note.read(deeper).map(|note| Some(Box::new(note))),
            None => Some(None),
        };
        let user = self.user.as_ref();
        let author = self.user_id.as_ref();
        let author = author.or_else(|| user.and_then(|user| user.id.as_ref()))?;
        let server = user.and_then(|user| user.host.as_ref());
        let server = server.map_or("", |host| &host.0);
        let pairs = self.reaction_and_user_pair_cache.unwrap_or_default();
        Some(Note {
            key: Field::Note.key(&self.id.0),
            created_at: self.created_at.and_then(|at| at.0.parse().ok()),
            author: Author {
                key: Field::User.key(&author.0),
                server: Field::Server.key(server),
                is_local: server.is_empty(),
                requires_sign_in: user
                    .and_then(|user| user.require_signin_to_view_contents)
                    .unwrap_or_default(),
                hidden_before: user.and_then(|user| user.make_notes_hidden_before),
            },
            visibility: self.visibility.unwrap_or_default(),
            visible_to: users(self.visible_user_ids),
            mentions: users(self.mentions),
            channel: self.channel_id.map(|id| Field::Channel.key(&id.0)),
            has_text: self.text.is_some(),
            has_warning: self.cw.is_some(),
            has_poll: self.poll.is_some(),
            has_files: [self.file_ids, self.files]
                .iter()
                .flatten()
                .any(|files| !files.is_empty()),
            is_reply: self.reply_id.is_some(),
            is_renote: self.renote_id.is_some(),
            reply: within(self.reply)?,
            renote: within(self.renote)?,
            tags: self
                .tags
                .unwrap_or_default()
                .iter()
                .map(|tag| tag.0.to_lowercase().into())
                .collect(),
            reactions: self.reactions.map_or(0, |total| total.0),
            reacted: pairs.iter().filter_map(|pair| reacted(&pair.0)).collect(),
        })
    }
}

fn users(ids: Option<Vec<Text<'_>>>) -> Box<[Key]> {
    let ids = ids.unwrap_or_default();
    ids.iter().map(|id| Field::User.key(&id.0)).collect()
}

/// Who reacted how, from `<user id>/<reaction>`. An emoji of the host itself is
/// kept without a server, and shown with `.` for it.
fn reacted(pair: &str) -> Option<(Key, Box<str>)> {
    let (user, reaction) = pair.split_once('/')?;
    let name = reaction.strip_prefix(':').and_then(|r| r.strip_suffix(':'));
    let reaction = match name {
        Some(name) if !name.is_empty() && !name.contains('@') => format!(":{name}@.:").into(),
        _ => reaction.into(),
    };
    Some((Field::User.key(user), reaction))
}

/// The sum of what an object's members are.
struct Total(u64);

impl<'de> Deserialize<'de> for Total {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Total;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of numbers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Total, A::Error> {
                let mut total = 0_u64;
                while let Some((IgnoredAny, count)) = members.next_entry::<_, i64>()? {
                    total = total.saturating_add(u64::try_from(count).unwrap_or(0));
                }
                Ok(Total(total))
            }
        }

        from.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(json: &str) -> Note {
        Note::parse(json).unwrap_or_else(|| panic!("not read: {json}"))
    }

    #[test]
    fn a_note_is_read_with_all_that_filters_look_at() {
        let note = note(
            r#"{"id":"n1","createdAt":"2026-01-02T03:04:05.678Z","userId":"u1",
            "user":{"id":"u1","name":null,"host":"far.example","requireSigninToViewContents":true,
                    "makeNotesHiddenBefore":-60},
            "text":"","cw":null,"visibility":"specified","visibleUserIds":["u2","u3"],
            "mentions":["u4"],"channelId":"c1","channel":{"id":"c1","name":"x"},
            "fileIds":["d1"],"files":[{"id":"d1"}],"poll":{"choices":[]},
            "replyId":"n0","reply":{"id":"n0","userId":"u5"},"renoteId":null,
            "tags":["Foo","\u0042ar"],"reactions":{"👍":2,":blob@.:":1},"reactionCount":3,
            "reactionAndUserPairCache":["u6/👍","u7/:blob:","u8/:blob@far.example:","?"],
            "unknown":[{"id":1}]}"#,
        );
        let user = |id| Field::User.key(id);
        assert_eq!(note.key, Field::Note.key("n1"));
        assert_eq!(note.created_at, "2026-01-02T03:04:05.678Z".parse().ok());
        assert_eq!(
            note.author,
            Author {
                key: user("u1"),
                server: Field::Server.key("far.example"),
                is_local: false,
                requires_sign_in: true,
                hidden_before: Some(-60),
            }
        );
        assert_eq!(note.visibility, Visibility::Specified);
        assert_eq!(*note.visible_to, [user("u2"), user("u3")]);
        assert_eq!(*note.mentions, [user("u4")]);
        assert_eq!(note.channel, Some(Field::Channel.key("c1")));
        assert!(note.has_text && !note.has_warning && note.has_poll && note.has_files);
        assert!(note.is_reply && !note.is_renote && note.renote.is_none());
        assert_eq!(note.reply.unwrap().author.key, user("u5"));
        assert_eq!(*note.tags, ["foo", "bar"].map(Box::from));
        assert_eq!(note.reactions, 3);
        let reacted = [
            (user("u6"), "👍".into()),
            (user("u7"), ":blob@.:".into()),
            (user("u8"), ":blob@far.example:".into()),
        ];
        assert_eq!(*note.reacted, reacted);
    }

    #[test]
    fn all_but_the_ids_may_be_missing() {
        let bare = note(r#"{"id":"n","userId":"u"}"#);
        assert_eq!(bare.visibility, Visibility::Public);
        assert!(bare.author.is_local && bare.created_at.is_none());
        let named = note(r#"{"id":"n","user":{"id":"u","host":null},"reply":null}"#);
        assert_eq!(named, bare);
        for json in [
            r#"{"id":"n"}"#,
            r#"{"userId":"u"}"#,
            r#"{"id":5,"userId":"u"}"#,
            r#"{"id":"n","userId":"u","renote":{"id":"r"}}"#,
            "null",
            "[]",
            "",
        ] {
            assert_eq!(Note::parse(json), None, "{json}");
        }
    }

    #[test]
    fn a_visibility_that_is_not_understood_is_the_narrowest() {
        for (written, read) in [
            (r#""public""#, Visibility::Public),
            (r#""home""#, Visibility::Home),
            (r#""followers""#, Visibility::Followers),
            (r#""specified""#, Visibility::Specified),
            (r#""circle""#, Visibility::Specified),
            (r#""Public""#, Visibility::Specified),
            ("null", Visibility::Specified),
        ] {
            let json = format!(r#"{{"id":"n","userId":"u","visibility":{written}}}"#);
            assert_eq!(note(&json).visibility, read, "{written}");
        }
        assert_eq!(
            Note::parse(r#"{"id":"n","userId":"u","visibility":1}"#),
            None
        );
    }

    #[test]
    fn a_member_written_twice_is_refused() {
        for json in [
            r#"{"id":"n","userId":"u","visibility":"specified","visibility":"public"}"#,
            r#"{"id":"n","userId":"u","text":"a","\u0074ext":"b"}"#,
        ] {
            assert_eq!(Note::parse(json), None, "{json}");
        }
    }

    #[test]
    fn only_a_renote_that_says_nothing_is_pure() {
        let pure = |members: &str| {
            note(&format!(r#"{{"id":"n","userId":"u"{members}}}"#)).is_pure_renote()
        };
        assert!(pure(r#","renoteId":"r""#));
        assert!(pure(
            r#","renoteId":"r","text":null,"cw":null,"fileIds":[],"files":[],"poll":null"#
        ));
        assert!(!pure(""));
        for member in [
            r#""text":"""#,
            r#""cw":"""#,
            r#""replyId":"p""#,
            r#""poll":{}"#,
            r#""fileIds":["d"]"#,
        ] {
            assert!(!pure(&format!(r#","renoteId":"r",{member}"#)), "{member}");
        }
    }

    #[test]
    fn notes_lie_within_each_other_only_so_deep() {
        let nested = |notes: usize, member: &str| {
            let open = format!(r#"{{"id":"n","userId":"u","{member}":"#).repeat(notes - 1);
            let close = "}".repeat(notes - 1);
            Note::parse(&format!(r#"{open}{{"id":"n","userId":"u"}}{close}"#))
        };
        for member in ["renote", "reply"] {
            assert!(nested(MAX_DEPTH, member).is_some());
            assert_eq!(nested(MAX_DEPTH + 1, member), None);
            assert_eq!(nested(10_000, member), None);
        }
    }
}
