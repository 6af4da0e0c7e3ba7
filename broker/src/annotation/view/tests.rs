//! What each class of viewers sees.

use serde_json::Value;

use super::*;
use crate::annotation::{Audience, Readable};

/// Shared with everybody, flagged by two; as a producer writes it.
fn annotation() -> Notification {
    let annotation = json!({
        "id": "a", "text": "t", "tags": ["x"], "user": "acct:author@e.org",
        "hidden": false, "flagged": false, "actions": [], "moderation_status": "APPROVED",
        "foo": {"bar": 5.5}, "mentions": [],
    });
    Notification {
        action: Change::Update,
        id: "a".into(),
        annotation: to_raw_value(&annotation).expect("it is JSON"),
        author: "acct:author@e.org".into(),
        author_banned: false,
        group: Audience {
            id: "__world__".into(),
            readable_by: Readable::World,
        },
        shared: true,
        moderation: None,
        references: vec![],
        scope_keys: vec![],
        source_client_id: None,
        flaggers: vec!["acct:b@e.org".into(), "acct:c@e.org".into()],
    }
}

fn seen(what: &Notification, class: ViewerClass) -> Value {
    serde_json::from_str(&what.view(class, false)).expect("it is JSON")
}

const CLASSES: [ViewerClass; 4] = [
    ViewerClass::Author,
    ViewerClass::ModeratingAuthor,
    ViewerClass::Moderator,
    ViewerClass::Reader,
];

/// The annotation as the event has it, but for these members; `null` for none.
fn but(what: &Notification, changes: &Value) -> Value {
    let mut seen: Value = serde_json::from_str(what.annotation.get()).expect("it is JSON");
    for (name, value) in changes.as_object().expect("they are members") {
        seen[name] = value.clone();
    }
    seen
}

#[test]
fn what_nobody_hid_all_see_alike_and_moderators_its_flags() {
    let what = annotation();
    let moderating = json!({"actions": ["moderate"], "moderation": {"flagCount": 2}});
    for class in CLASSES {
        let changes = if class.moderates() {
            moderating.clone()
        } else {
            json!({})
        };
        assert_eq!(seen(&what, class), but(&what, &changes), "{class:?}");
    }
}

#[test]
fn what_is_hidden_reads_empty_but_for_its_author_and_moderators() {
    for (status, name) in [
        (Moderation::Pending, "PENDING"),
        (Moderation::Denied, "DENIED"),
        (Moderation::Spam, "SPAM"),
    ] {
        let what = Notification {
            moderation: Some(status),
            ..annotation()
        };
        let cases = [
            (ViewerClass::Author, json!({})),
            (
                ViewerClass::ModeratingAuthor,
                json!({"actions": ["moderate"], "moderation": {"flagCount": 2}}),
            ),
            (
                ViewerClass::Moderator,
                json!({"hidden": true, "actions": ["moderate"], "moderation": {"flagCount": 2}}),
            ),
            (
                ViewerClass::Reader,
                json!({"hidden": true, "text": "", "tags": []}),
            ),
        ];
        for (class, mut changes) in cases {
            changes["moderation_status"] = json!(name);
            assert_eq!(
                seen(&what, class),
                but(&what, &changes),
                "{class:?} {status:?}"
            );
        }
    }
}

#[test]
fn a_status_nobody_set_is_none_for_what_is_private() {
    let cases = [
        (true, None, json!("APPROVED")),
        (true, Some(Moderation::Approved), json!("APPROVED")),
        (false, None, json!(null)),
        (false, Some(Moderation::Approved), json!("APPROVED")),
        (false, Some(Moderation::Denied), json!("DENIED")),
    ];
    for (shared, moderation, shown) in cases {
        let what = Notification {
            shared,
            moderation,
            ..annotation()
        };
        for class in CLASSES {
            let seen = seen(&what, class);
            assert_eq!(seen["moderation_status"], shown, "{shared} {moderation:?}");
        }
    }
}

#[test]
fn each_viewer_is_told_of_their_own_flag() {
    for flagged in [false, true] {
        for class in CLASSES {
            let seen: Value = serde_json::from_str(&annotation().view(class, flagged)).unwrap();
            assert_eq!(seen["flagged"], flagged, "{class:?}");
        }
    }
}

#[test]
fn what_is_gone_is_an_id() {
    let what = Notification {
        action: Change::Delete,
        ..annotation()
    };
    for class in CLASSES {
        assert_eq!(what.view(class, true), r#"{"id":"a"}"#);
    }
}

#[test]
fn what_the_annotation_says_of_viewers_counts_for_nothing() {
    let mut what = annotation();
    let lies = json!({
        "id": "b", "hidden": true, "flagged": true, "moderation": {"flagCount": 9},
        "actions": ["x"], "moderation_status": "SPAM",
    });
    what.annotation = to_raw_value(&lies).expect("it is JSON");
    assert_eq!(
        seen(&what, ViewerClass::Reader),
        json!({
            "id": "a", "hidden": false, "flagged": false, "actions": [],
            "moderation_status": "APPROVED",
        })
    );
}

#[test]
fn what_is_only_passed_on_is_not_read() {
    let mut what = annotation();
    let deep = format!(
        r#"{{"a": 1.000, "b": {}{}, "c\"": 1e999}}"#,
        "[".repeat(500),
        "]".repeat(500)
    );
    what.annotation = RawValue::from_string(deep).expect("it is JSON");
    let seen = what.view(ViewerClass::Reader, false);
    assert!(seen.contains(r#""a":1.000,"#), "{seen}");
    assert!(seen.contains(r#""c\"":1e999,"#), "{seen}");
}

#[test]
fn what_is_no_annotation_is_seen_as_one_without_content() {
    for broken in ["null", "5", "[]", "\"x\""] {
        let what = Notification {
            annotation: RawValue::from_string(broken.to_owned()).expect("it is JSON"),
            ..annotation()
        };
        assert_eq!(seen(&what, ViewerClass::Reader)["id"], "a");
    }
}
