//! Which of the events that are meant for a user the user does not get.

use broker::event::Event;
use broker::misskey::Field;
use broker::misskey::note::Note;
use broker::misskey::viewer::Viewer;
use serde::Deserialize;

use super::rules;

/// What a user gets of an event of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Share {
    /// The event as it is.
    Whole,
    /// The event with this note as the user may see it, which is to be asked for:
    /// it was packed when it was hidden from them.
    Again(Box<str>),
    /// Nothing.
    Nothing,
}

/// What the user gets of it. All kinds but two are for the user whatever they say.
pub fn share(event: &Event, viewer: &Viewer) -> Share {
    match &*event.kind {
        "notification" => notification(event.body.get(), viewer),
        "mention" => mention(event.body.get(), viewer),
        _ => Share::Whole,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Notification {
    user_id: Option<Box<str>>,
    user: Option<Notifier>,
    note: Option<Packed>,
}

#[derive(Deserialize)]
struct Notifier {
    id: Option<Box<str>>,
    host: Option<Box<str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Packed {
    id: Box<str>,
    is_hidden: Option<bool>,
}

impl Packed {
    fn share(self) -> Share {
        match self.is_hidden {
            Some(true) => Share::Again(self.id),
            Some(false) | None => Share::Whole,
        }
    }
}

/// Somebody who is muted notifies nobody.
fn notification(body: &str, viewer: &Viewer) -> Share {
    // Of a form that is not known, there is no notifier to be muted.
    let Ok(notification) = serde_json::from_str::<Notification>(body) else {
        return Share::Whole;
    };
    let user = notification.user.as_ref();
    let named = user.and_then(|user| user.id.as_ref());
    let id = notification.user_id.as_ref().or(named);
    let host = user.map(|user| user.host.as_deref().unwrap_or_default());
    let muted = id.is_some_and(|id| viewer.muting.contains(Field::User.key(id)))
        || host.is_some_and(|host| viewer.muted_servers.contains(Field::Server.key(host)));
    if muted {
        return Share::Nothing;
    }
    notification.note.map_or(Share::Whole, Packed::share)
}

/// A note that mentions the user is shown as on a timeline.
fn mention(body: &str, viewer: &Viewer) -> Share {
    let wanted =
        |note: &Note| rules::is_visible(note, viewer) && !rules::is_muted(note, viewer, None);
    let packed = Note::parse(body)
        .filter(wanted)
        .and_then(|_| serde_json::from_str::<Packed>(body).ok());
    packed.map_or(Share::Nothing, Packed::share)
}
