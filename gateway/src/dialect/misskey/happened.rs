//! What happened to a note, and who of those that watch it may hear of it.

use broker::key::Key;
use broker::misskey::Field;
use broker::misskey::note::Visibility;
use broker::misskey::viewer::{Viewer, Visitors};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::rules::is_me;

/// Something that happened to a note.
#[derive(Debug)]
pub struct Happened {
    /// Who wrote the note, unless that is not said.
    author: Option<Key>,
    /// Who may see the note.
    visibility: Visibility,
    visible_to: Box<[Key]>,
    /// Nothing is said of the note, as older versions publish it.
    is_bare: bool,
    /// What happened, as those who watch the note are told it.
    pub body: Box<RawValue>,
}

impl Happened {
    /// Reads the body of an event on a note's topic; `None` if it is not one.
    pub fn read(body: &str) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Packed {
            user_id: Option<Box<str>>,
            #[serde(default, deserialize_with = "Visibility::said")]
            visibility: Option<Visibility>,
            visible_user_ids: Option<Vec<Box<str>>>,
            body: Box<RawValue>,
        }

        let packed: Packed = serde_json::from_str(body).ok()?;
        let listed = packed.visible_user_ids.unwrap_or_default();
        Some(Self {
            is_bare: packed.user_id.is_none() && packed.visibility.is_none(),
            author: packed.user_id.map(|id| Field::User.key(&id)),
            visibility: packed.visibility.unwrap_or_default(),
            visible_to: listed.iter().map(|id| Field::User.key(id)).collect(),
            body: packed.body,
        })
    }

    /// Whether it may be told to somebody who watches the note. What nothing is
    /// said about only if that is how this host speaks (`old_bus`).
    pub fn concerns(&self, viewer: &Viewer, old_bus: bool) -> bool {
        if viewer.me.is_none() && viewer.visitors == Visitors::None {
            return false;
        }
        if self.is_bare {
            return old_bus;
        }
        let author = |known: &dyn Fn(Key) -> bool| self.author.is_some_and(known);
        match self.visibility {
            Visibility::Public | Visibility::Home => true,
            Visibility::Specified => {
                author(&|author| is_me(viewer, author))
                    || self.visible_to.iter().any(|user| is_me(viewer, *user))
            }
            Visibility::Followers => {
                author(&|author| is_me(viewer, author) || viewer.following.contains(author))
            }
        }
    }
}
