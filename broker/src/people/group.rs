//! Groups: what they are called, and who reads and writes there.

use std::collections::HashMap;
use std::sync::Arc;

use super::GroupKind;
use crate::annotation::WORLD;

/// Characters of an id that we choose: 46 bits.
const CHOSEN_ID: usize = 8;
/// Without letters that are read as others.
const ALPHABET: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// Most characters of an id that a caller chooses.
const MAX_ID: usize = 64;

/// A group of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// 1 to 64 of `A-Za-z0-9_-`.
    pub id: Arc<str>,
    /// What people call it.
    pub name: String,
    /// Who reads and writes there.
    pub kind: GroupKind,
    /// What is shared there is hidden until a moderator has looked.
    pub pre_moderated: bool,
    /// Beginnings of the addresses that it is about.
    pub scopes: Vec<String>,
    /// Whether nothing else may be annotated there.
    pub enforce_scope: bool,
    /// Who made it; nobody made the group of everybody.
    pub creator: Option<Arc<str>>,
}

/// A group to be made.
#[derive(Clone, Debug)]
pub struct GroupDraft {
    /// Its id; one is chosen if there is none.
    pub id: Option<String>,
    /// What people call it.
    pub name: String,
    /// Who reads and writes there.
    pub kind: GroupKind,
    /// What is shared there is hidden until a moderator has looked.
    pub pre_moderated: bool,
    /// Beginnings of the addresses that it is about.
    pub scopes: Vec<String>,
    /// Whether nothing else may be annotated there.
    pub enforce_scope: bool,
    /// Who makes it, and becomes its owner.
    pub creator: Arc<str>,
}

/// What to change of a group; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct GroupPatch {
    /// What people call it.
    pub name: Option<String>,
    /// Who reads and writes there.
    pub kind: Option<GroupKind>,
    /// Whether what is shared there is hidden until a moderator has looked.
    pub pre_moderated: Option<bool>,
    /// Beginnings of the addresses that it is about.
    pub scopes: Option<Vec<String>>,
    /// Whether nothing else may be annotated there.
    pub enforce_scope: Option<bool>,
}

/// The text is no id of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to {MAX_ID} letters, digits, '_' or '-', and not {WORLD}")]
pub struct BadGroupId;

/// Whether `text` can be the id of a group other than that of everybody.
///
/// # Errors
/// If it cannot.
pub fn check_group_id(text: &str) -> Result<(), BadGroupId> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if (1..=MAX_ID).contains(&text.len()) && text.bytes().all(plain) && text != WORLD {
        Ok(())
    } else {
        Err(BadGroupId)
    }
}

/// An id that no group has yet, but for very bad luck.
pub(super) fn choose_id() -> String {
    let places: [u16; CHOSEN_ID] = rand::random();
    places
        .map(|place| char::from(ALPHABET[usize::from(place) % ALPHABET.len()]))
        .iter()
        .collect()
}

/// A name as it stands in the address of the group's page.
fn slug(name: &str) -> String {
    let mut slug = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "group" } else { slug }.to_owned()
}

fn flag(value: bool) -> String {
    if value { "1" } else { "0" }.to_owned()
}

fn json(scopes: &[String]) -> String {
    serde_json::to_string(scopes).expect("text can always be written as JSON")
}

impl Group {
    /// The group of everybody, which every tenant has.
    pub fn world() -> Self {
        Self {
            id: WORLD.into(),
            name: "Public".to_owned(),
            kind: GroupKind::Open,
            pre_moderated: false,
            scopes: Vec::new(),
            enforce_scope: false,
            creator: None,
        }
    }

    /// Its name as it stands in the address of its page.
    pub fn slug(&self) -> String {
        slug(&self.name)
    }

    /// Reads the fields of the hash in which a group is kept; nothing if they
    /// are not what this release writes.
    pub(super) fn from_fields(id: &str, mut fields: HashMap<String, String>) -> Option<Self> {
        let set = |name: &str| fields.get(name).is_some_and(|value| value == "1");
        Some(Self {
            id: id.into(),
            kind: GroupKind::parse(fields.get("kind")?)?,
            pre_moderated: set("premoderated"),
            scopes: serde_json::from_str(fields.get("scopes")?).ok()?,
            enforce_scope: set("enforce"),
            creator: fields.get("creator").map(|creator| creator.as_str().into()),
            name: fields.remove("name")?,
        })
    }
}

impl GroupDraft {
    /// As it is kept.
    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let patch = GroupPatch {
            name: Some(self.name.clone()),
            kind: Some(self.kind),
            pre_moderated: Some(self.pre_moderated),
            scopes: Some(self.scopes.clone()),
            enforce_scope: Some(self.enforce_scope),
        };
        let mut fields = patch.fields();
        fields.push(("creator", self.creator.to_string()));
        fields
    }
}

impl GroupPatch {
    /// What changes of what is kept.
    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let name = self.name.as_ref();
        [
            ("name", name.cloned()),
            ("slug", name.map(|name| slug(name))),
            ("kind", self.kind.map(|kind| kind.as_str().to_owned())),
            ("premoderated", self.pre_moderated.map(flag)),
            ("scopes", self.scopes.as_deref().map(json)),
            ("enforce", self.enforce_scope.map(flag)),
        ]
        .into_iter()
        .filter_map(|(field, value)| value.map(|value| (field, value)))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_plain_and_not_everybody_s() {
        for id in ["a", "aB3dE5gH", "a-b_c", &choose_id(), &"x".repeat(64)] {
            assert_eq!(check_group_id(id), Ok(()), "{id}");
        }
        for id in ["", WORLD, "a b", "a:b", "ü", "{a}", &"x".repeat(65)] {
            assert_eq!(check_group_id(id), Err(BadGroupId), "{id}");
        }
    }

    #[test]
    fn a_name_becomes_part_of_an_address() {
        for (name, address) in [
            ("My group", "my-group"),
            ("  C++ & Rust!", "c-rust"),
            ("日本", "group"),
        ] {
            assert_eq!(slug(name), address);
        }
    }

    #[test]
    fn a_group_reads_back_as_it_was_made() {
        let draft = GroupDraft {
            id: Some("g".to_owned()),
            name: "A \"b\"".to_owned(),
            kind: GroupKind::Restricted,
            pre_moderated: true,
            scopes: vec!["https://a/".to_owned()],
            enforce_scope: true,
            creator: "acct:jo@a".into(),
        };
        let fields = draft.fields().into_iter();
        let fields = fields.map(|(name, value)| (name.to_owned(), value));
        let group = Group::from_fields("g", fields.collect()).unwrap();
        assert_eq!(
            group,
            Group {
                id: "g".into(),
                name: draft.name,
                kind: GroupKind::Restricted,
                pre_moderated: true,
                scopes: draft.scopes,
                enforce_scope: true,
                creator: Some(draft.creator),
            }
        );
    }
}
