//! A viewer's own copy of what others get as it is.
//!
//! A copy keeps the order of members, and the bytes of whatever does not change.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::rules::Cover;
use super::timeline::View;

/// The note in JSON as the view shows it. `None` if it is not what the view was
/// made for.
pub fn note(body: &str, view: &View<'_>) -> Option<String> {
    let mut out = String::with_capacity(body.len() + 64);
    let edit = Edit {
        cover: view.cover,
        renote_reaction: view.reaction,
        ..Edit::default()
    };
    edit.write(body, &mut out)?;
    Some(out)
}

/// A notification in JSON with this note instead of the one that it bears. `None`
/// if it is no object.
pub fn notification(body: &str, note: &str) -> Option<String> {
    let mut out = String::with_capacity(body.len() + note.len());
    let mut object = Object::open(&mut out);
    for (name, value) in members(body)? {
        object.put(&name, if name == "note" { note } else { value });
    }
    object.close();
    Some(out)
}

/// What becomes of one note.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Edit<'a> {
    /// What is covered of it and of what lies in it.
    cover: Cover,
    /// The viewer's reaction to it.
    reaction: Option<&'a str>,
    /// The viewer's reaction to what it renotes.
    renote_reaction: Option<&'a str>,
}

/// What a covered note has instead, also where it had nothing.
const COVERED: [(&str, &str); 5] = [
    ("text", "null"),
    ("cw", "null"),
    ("fileIds", "[]"),
    ("files", "[]"),
    ("isHidden", "true"),
];
/// What a covered note has not.
const REMOVED: [&str; 2] = ["poll", "visibleUserIds"];

impl Edit<'_> {
    fn write(self, body: &str, out: &mut String) -> Option<()> {
        let covered = self.cover.note();
        let mut due = Vec::new();
        if covered {
            due.extend(COVERED.map(|(name, value)| (name, Cow::Borrowed(value))));
        }
        if let Some(reaction) = self.reaction {
            due.push(("myReaction", Cow::Owned(string(reaction))));
        }
        let mut object = Object::open(out);
        for (name, value) in members(body)? {
            if covered && REMOVED.contains(&&*name) {
                continue;
            }
            if let Some(at) = due.iter().position(|(due, _)| *due == name) {
                object.put(&name, &due.remove(at).1);
            } else if let Some(edit) = self.within(&name) {
                edit.write(value, object.name(&name))?;
            } else {
                object.put(&name, value);
            }
        }
        for (name, value) in due {
            object.put(name, &value);
        }
        object.close();
        Some(())
    }

    /// What becomes of the note in this member, if anything.
    fn within(self, name: &str) -> Option<Self> {
        let edit = match name {
            "reply" => Self {
                cover: self.cover.of_reply(),
                ..Self::default()
            },
            "renote" => Self {
                cover: self.cover.of_renote(),
                reaction: self.renote_reaction,
                renote_reaction: None,
            },
            _ => return None,
        };
        (edit != Self::default()).then_some(edit)
    }
}

/// An object while it is written.
struct Object<'a> {
    out: &'a mut String,
    empty: bool,
}

impl<'a> Object<'a> {
    fn open(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, empty: true }
    }

    /// Begins a member, of which only the value is missing.
    fn name(&mut self, name: &str) -> &mut String {
        if !std::mem::take(&mut self.empty) {
            self.out.push(',');
        }
        self.out.push_str(&string(name));
        self.out.push(':');
        self.out
    }

    fn put(&mut self, name: &str, value: &str) {
        self.name(name).push_str(value);
    }

    fn close(self) {
        self.out.push('}');
    }
}

fn string(text: &str) -> String {
    serde_json::to_string(text).expect("text can always be written as JSON")
}

/// The members of an object, in their order, each value as it is written.
fn members(json: &str) -> Option<Vec<(Cow<'_, str>, &str)>> {
    let members: Members<'_> = serde_json::from_str(json).ok()?;
    Some(members.0)
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a str)>);

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Gather;

        impl<'de> Visitor<'de> for Gather {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = from.next_entry::<Name<'de>, &'de RawValue>()? {
                    members.push((name.0, value.get()));
                }
                Ok(Members(members))
            }
        }

        from.deserialize_map(Gather)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cover(notes: u32, replies: u32) -> View<'static> {
        View {
            cover: Cover::new(notes, replies),
            reaction: None,
        }
    }

    #[test]
    fn what_does_not_change_keeps_its_place_and_its_bytes() {
        let body = r#"{ "id":"n", "x" : [1.0, "\u00e9"], "renote": {"id":"r","a b\"c":1e2} }"#;
        let view = View {
            reaction: Some("👍"),
            ..View::default()
        };
        assert_eq!(
            note(body, &view).unwrap(),
            r#"{"id":"n","x":[1.0, "\u00e9"],"renote":{"id":"r","a b\"c":1e2,"myReaction":"👍"}}"#
        );
    }

    #[test]
    fn a_covered_note_says_nothing() {
        let body = concat!(
            r#"{"id":"n","text":"secret","poll":{"choices":["secret"]},"cw":"secret","user":{"id":"u"},"#,
            r#""visibleUserIds":["secret"],"files":[{"id":"secret"}],"fileIds":["secret"],"#,
            r#""isHidden":false,"tags":["t"]}"#
        );
        assert_eq!(
            note(body, &cover(1, 0)).unwrap(),
            concat!(
                r#"{"id":"n","text":null,"cw":null,"user":{"id":"u"},"#,
                r#""files":[],"fileIds":[],"isHidden":true,"tags":["t"]}"#
            )
        );
        assert_eq!(
            note(r#"{"id":"n"}"#, &cover(1, 0)).unwrap(),
            r#"{"id":"n","text":null,"cw":null,"fileIds":[],"files":[],"isHidden":true}"#
        );
    }

    #[test]
    fn only_what_is_covered_is_blank() {
        let body = r#"{"t":0,"reply":{"t":1},"renote":{"t":2,"reply":{"t":3},"renote":{"t":4}}}"#;
        let blank = |t| {
            format!(r#"{{"t":{t},"text":null,"cw":null,"fileIds":[],"files":[],"isHidden":true}}"#)
        };
        for (view, at) in [
            (cover(0b100, 0), 4),
            (cover(0, 0b1), 1),
            (cover(0, 0b10), 3),
        ] {
            let whole = format!(r#"{{"t":{at}}}"#);
            assert_eq!(
                note(body, &view).unwrap(),
                body.replace(&whole, &blank(at)),
                "{at}"
            );
        }
        let inner = note(body, &cover(0b10, 0)).unwrap();
        assert!(inner.starts_with(r#"{"t":0,"reply":{"t":1},"renote":{"t":2,"reply":{"t":3},"#));
        assert!(inner.ends_with(
            r#""renote":{"t":4},"text":null,"cw":null,"fileIds":[],"files":[],"isHidden":true}}"#
        ));
    }

    #[test]
    fn a_reaction_is_written_as_text() {
        let view = View {
            reaction: Some("\"}\\"),
            ..View::default()
        };
        assert_eq!(
            note(r#"{"renote":{"myReaction":null,"id":"r"}}"#, &view).unwrap(),
            r#"{"renote":{"myReaction":"\"}\\","id":"r"}}"#
        );
    }

    #[test]
    fn what_is_no_note_has_no_copy() {
        for body in ["null", "[]", "\"x\"", "{"] {
            assert_eq!(note(body, &cover(1, 0)), None, "{body}");
        }
        assert_eq!(note(r#"{"renote":null}"#, &cover(0b10, 0)), None);
    }

    #[test]
    fn a_notification_gets_another_note() {
        let body = r#"{"id":"x","note":{"id":"n","isHidden":true},"type":"reply"}"#;
        assert_eq!(
            notification(body, r#"{"id":"n","text":"t"}"#).unwrap(),
            r#"{"id":"x","note":{"id":"n","text":"t"},"type":"reply"}"#
        );
        assert_eq!(notification("null", "{}"), None);
    }
}
