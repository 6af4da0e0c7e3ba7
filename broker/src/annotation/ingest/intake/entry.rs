//! One entry of an intake: the report in it, or why it is a dead letter.

use crate::annotation::ingest::{Report, told};
use crate::topic::Tenant;

/// Every kind of what is wrong with dead letters.
pub const DEAD_LETTERS: [&str; 5] = ["deliveries", "entry", "invalid", "json", "size"];

/// What was added to a stream.
#[derive(Debug)]
pub struct Entry {
    pub(super) tenant: Tenant,
    pub(super) id: String,
    /// What its field `type` says.
    pub(super) kind: Option<Vec<u8>>,
    /// What its field `topic` says, which only events have that name theirs.
    pub(super) topic: Option<Vec<u8>>,
    /// What its field `data` holds.
    pub(super) data: Option<Vec<u8>>,
}

/// An entry as Redis tells it; without fields if it was removed meanwhile.
pub(super) type Told = (String, Option<Vec<Vec<u8>>>);

/// An entry that cannot be published, and why.
pub(super) struct Letter<'a> {
    pub(super) entry: &'a Entry,
    pub(super) why: &'static str,
    pub(super) words: String,
}

impl Entry {
    pub(super) fn new(tenant: &Tenant, (id, fields): Told) -> Self {
        let fields = fields.unwrap_or_default();
        let (mut kind, mut topic, mut data) = (None, None, None);
        let mut fields = fields.into_iter();
        while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            match &*name {
                b"type" => kind = Some(value),
                b"topic" => topic = Some(value),
                b"data" => data = Some(value),
                _ => {}
            }
        }
        Self {
            tenant: tenant.clone(),
            id,
            kind,
            topic,
            data,
        }
    }

    /// The report in it.
    pub(super) fn read(&self) -> Result<Report, Letter<'_>> {
        let letter = |why, words: &dyn ToString| Letter {
            entry: self,
            why,
            words: words.to_string(),
        };
        let Some(data) = &self.data else {
            return Err(letter(
                "entry",
                &"expected the fields type or topic, and data",
            ));
        };
        if let Some(topic) = &self.topic {
            let read = told::read(&self.tenant, topic, data, &self.id);
            return read.map_err(|why| letter(why.label(), &why));
        }
        let kind = self.kind.as_deref().map(std::str::from_utf8).transpose();
        let kind = kind.map_err(|_| letter("entry", &"type: expected UTF-8"))?;
        Report::read(data, kind).map_err(|refused| letter(refused.why.label(), &refused.why))
    }
}

/// The first `most` bytes of a field.
pub(super) fn kept(field: Option<&[u8]>, most: usize) -> &[u8] {
    let field = field.unwrap_or_default();
    &field[..field.len().min(most)]
}
