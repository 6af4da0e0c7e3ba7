//! Events as the sockets of one shard share them: read once, framed once.

use std::cell::OnceCell;

use broker::annotation::readers::ViewerClass;
use broker::annotation::{ANNOTATION, Change};
use broker::event::Event;
use broker::people::{MEMBERSHIP, MembershipAction, MembershipChange, SIGNED_OUT, SignedOut};
use serde::Serialize;
use serde_json::value::RawValue;

use super::super::Delivery;
use crate::websocket::Frame;

/// What an event tells sockets of this protocol.
#[derive(Debug)]
pub enum Told {
    /// Something happened to an annotation.
    Annotation(Annotated),
    /// The user joined or left a group, or has another role there; with the
    /// frame that tells the client, if it is to be told.
    Membership(MembershipChange, Option<Frame>),
    /// An access token of the user was withdrawn.
    SignedOut(SignedOut),
    /// Nothing, or nothing that was published by a script of ours.
    Nothing,
}

/// The frames of one annotation's event, by who is told; each is built when it is
/// first wanted.
#[derive(Debug, Default)]
pub struct Annotated([OnceCell<Frame>; ViewerClass::WAYS]);

/// The frame that tells a client of its user's groups.
#[derive(Serialize)]
struct SessionChange<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    action: MembershipAction,
    model: &'a RawValue,
}

impl Told {
    /// What this delivery tells.
    pub(super) fn of(delivery: &Delivery) -> &Self {
        delivery.told.get_or_init(|| Self::read(&delivery.event))
    }

    fn read(event: &Event) -> Self {
        let body = event.body.get();
        let read = match &*event.kind {
            ANNOTATION => event
                .annotation()
                .map(|_| Self::Annotation(Annotated::default())),
            // No producer may let anybody into a group.
            _ if !event.is_our_word() => None,
            MEMBERSHIP => serde_json::from_str(body).ok().map(|change| {
                let frame = session_change(&change);
                Self::Membership(change, frame)
            }),
            SIGNED_OUT => serde_json::from_str(body).ok().map(Self::SignedOut),
            _ => None,
        };
        read.unwrap_or(Self::Nothing)
    }
}

impl Annotated {
    /// The frame for a viewer of this class; `flagged` if it is one of those who
    /// flagged the annotation. `None` if the event tells of no annotation.
    pub(super) fn frame(&self, event: &Event, class: ViewerClass, flagged: bool) -> Option<Frame> {
        let notification = event.annotation()?;
        // All are told the same of what is gone.
        let gone = notification.action == Change::Delete;
        let (class, flagged) = if gone {
            (ViewerClass::Reader, false)
        } else {
            (class, flagged)
        };
        let frame = self.0[class.way(flagged)].get_or_init(|| {
            let action = match notification.action {
                Change::Create => "create",
                Change::Update => "update",
                Change::Delete => "delete",
            };
            let payload = event.view(class, flagged).unwrap_or_default();
            Frame::text(&format!(
                r#"{{"type":"annotation-notification","options":{{"action":"{action}"}},"payload":[{payload}]}}"#
            ))
        });
        Some(frame.clone())
    }
}

/// What the client is told of a change, if it is told.
fn session_change(change: &MembershipChange) -> Option<Frame> {
    let told = SessionChange {
        kind: "session-change",
        action: change.action?,
        model: change.session.as_deref()?,
    };
    let json = serde_json::to_string(&told).expect("text can always be written as JSON");
    Some(Frame::text(&json))
}
