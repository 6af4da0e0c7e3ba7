//! One entry of an intake: what is asked for in it, or why it is a dead letter.

use std::time::Duration;

use crate::annotation::ingest::{Invalid, MAX_REPORT, PUSH, PUSH_GLOBAL, Push, Report, told};
use crate::event::EntryId;
use crate::message::rules::Rules;
use crate::time::Timestamp;
use crate::topic::Tenant;

/// Every kind of what is wrong with dead letters.
pub const DEAD_LETTERS: [&str; 6] = ["deliveries", "entry", "invalid", "json", "quota", "size"];
/// What a dead letter keeps of the field `type`, in bytes.
const MAX_KIND: usize = 64;
/// And of the field `topic`: the longest that could be right.
const MAX_TOPIC: usize = 1100;

/// How far Redis' clock may be ahead of ours.
const CLOCKS: Duration = Duration::from_secs(60);
/// The longest id: two numbers of 64 bits.
const MAX_ID: usize = 41;

/// What was added to a stream.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(super) tenant: Tenant,
    pub(super) id: String,
    /// The id it had when it was added first, if it was a dead letter since.
    first: Option<String>,
    /// What its field `type` says.
    kind: Option<Vec<u8>>,
    /// What its field `topic` says, which only events have that name theirs.
    topic: Option<Vec<u8>>,
    /// What its field `data` holds.
    data: Option<Vec<u8>>,
}

/// What an entry asks for.
pub(super) enum Wish {
    /// To be published.
    Report(Report),
    /// To be pushed.
    Push(Push),
}

impl Wish {
    /// How many messages it is to push.
    pub(super) fn messages(&self) -> usize {
        match self {
            Self::Report(_) => 0,
            Self::Push(push) => push.recipients.as_ref().map_or(1, Vec::len),
        }
    }
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
        let mut entry = Self {
            tenant: tenant.clone(),
            id,
            first: None,
            kind: None,
            topic: None,
            data: None,
        };
        let mut fields = fields.unwrap_or_default().into_iter();
        while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            match &*name {
                b"type" => entry.kind = Some(value),
                b"topic" => entry.topic = Some(value),
                b"data" => entry.data = Some(value),
                b"entry" => entry.first = first(value),
                _ => {}
            }
        }
        // What was added first has the smaller id: nobody gets a name that another will.
        let own = EntryId::parse(&entry.id);
        entry.first = entry.first.filter(|first| EntryId::parse(first) < own);
        entry
    }

    /// What it is called that does not say what it is called: as it was when it
    /// was added first.
    pub(super) fn name(&self) -> &str {
        self.first.as_deref().unwrap_or(&self.id)
    }

    /// When it was added first. Who adds it can choose its id, and all that follow
    /// are dated later; but nothing was added in times to come.
    fn added_at(&self) -> Timestamp {
        let (at, now) = (added_at(self.name()).unwrap_or_default(), Timestamp::now());
        if now + CLOCKS < at { now } else { at }
    }

    /// What it asks for.
    pub(super) fn read(&self, rules: &Rules) -> Result<Wish, Letter<'_>> {
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
        let invalid = |why: Invalid| letter(why.label(), &why);
        if let Some(topic) = &self.topic {
            let read = told::read(&self.tenant, topic, data, self.name());
            return read.map(Wish::Report).map_err(invalid);
        }
        let kind = self.kind.as_deref().map(std::str::from_utf8).transpose();
        match kind.map_err(|_| letter("entry", &"type: expected UTF-8"))? {
            Some(kind @ (PUSH | PUSH_GLOBAL)) => {
                let read = Push::read(data, kind, rules, self.added_at());
                read.map(Wish::Push).map_err(invalid)
            }
            kind => {
                let read = Report::read(data, kind).map_err(|refused| refused.why);
                read.map(Wish::Report).map_err(invalid)
            }
        }
    }
}

impl Letter<'_> {
    /// What is kept of it, as the script takes it: id, why, words, entry, type,
    /// topic, data, and whether something of that was cut.
    pub(super) fn fields(&self) -> [&[u8]; 8] {
        let entry = self.entry;
        let (kind, kind_cut) = kept(entry.kind.as_deref(), MAX_KIND);
        let (topic, topic_cut) = kept(entry.topic.as_deref(), MAX_TOPIC);
        let (data, data_cut) = kept(entry.data.as_deref(), MAX_REPORT);
        let cut: &[u8] = match kind_cut || topic_cut || data_cut {
            true => b"1",
            false => b"",
        };
        let (why, words) = (self.why.as_bytes(), self.words.as_bytes());
        let (id, name) = (entry.id.as_bytes(), entry.name().as_bytes());
        [id, why, words, name, kind, topic, data, cut]
    }
}

/// The first `most` bytes of a field, and whether there are more.
fn kept(field: Option<&[u8]>, most: usize) -> (&[u8], bool) {
    let field = field.unwrap_or_default();
    (&field[..field.len().min(most)], most < field.len())
}

/// The id of an entry, if it is one.
fn first(value: Vec<u8>) -> Option<String> {
    let id = String::from_utf8(value).ok()?;
    if MAX_ID < id.len() {
        return None;
    }
    let (millis, sequence) = id.split_once('-')?;
    let number = |text: &str| text.parse::<u64>().is_ok() && !text.starts_with('+');
    (number(millis) && number(sequence)).then_some(id)
}

/// When an entry of this id was added.
pub(super) fn added_at(id: &str) -> Option<Timestamp> {
    let millis = id.split('-').next()?.parse().ok()?;
    Some(Timestamp::from_millis(millis))
}
