//! What is made of a Misskey's answers, and how often it is asked.

use prometheus::{Histogram, HistogramOpts};
use serde_json::{Value, json};

use super::*;
use crate::identity::tests::stub::Stub;

async fn stub(body: &Value) -> (Stub, Api) {
    let stub = Stub::saying(body).await;
    let base = Url::parse(&stub.url).unwrap().join("/").unwrap();
    let options = HistogramOpts::new("seconds", "How long it takes.");
    let seconds = Histogram::with_opts(options).unwrap();
    (stub, Api::new("m.example", base, seconds))
}

fn token() -> Token {
    Token::new("abcdefghijklmnop")
}

fn failure(code: &str) -> Value {
    json!({ "error": { "message": "No.", "code": code, "id": "0" } })
}

#[tokio::test]
async fn a_token_names_a_user_who_may_see_what_is_said() {
    let me = json!({
        "id": "u1", "policies": { "ltlAvailable": false }, "mutedInstances": ["a.example"],
        "pinnedNotes": ["x".repeat(200 << 10)],
    });
    let (stub, api) = stub(&me).await;
    let signed = Signed {
        user: "u1".into(),
        policies: Policies {
            local: false,
            global: true,
        },
        muted_servers: Some([Field::Server.key("a.example")].into_iter().collect()),
    };
    let standing = api.standing(&token()).await.unwrap();
    assert_eq!(standing.as_deref(), Some(&Standing::Signed(signed)));
    let heard = stub.heard();
    assert!(heard[0].starts_with("POST /api/i HTTP/1.1"), "{heard:?}");
    assert!(
        heard[0].ends_with(r#"{"i":"abcdefghijklmnop"}"#),
        "{heard:?}"
    );
}

#[tokio::test]
async fn each_refusal_of_a_token_is_told_from_the_others() {
    for (status, body, expected) in [
        (401, failure("AUTHENTICATION_FAILED"), None),
        (403, failure("PERMISSION_DENIED"), None),
        (
            403,
            failure("YOUR_ACCOUNT_SUSPENDED"),
            Some(Standing::Suspended),
        ),
        (
            200,
            json!({ "id": "u1", "isSuspended": true }),
            Some(Standing::Suspended),
        ),
        (404, json!("not here"), Some(Standing::Unclear)),
        (302, json!({ "id": "u1" }), Some(Standing::Unclear)),
        (200, json!("<html>"), Some(Standing::Unclear)),
    ] {
        let (stub, api) = stub(&json!({})).await;
        stub.says(status, &body);
        let standing = api.standing(&token()).await.unwrap();
        assert_eq!(standing.as_deref(), expected.as_ref(), "{status} {body}");
    }
    let (stub, api) = stub(&json!({})).await;
    for status in [429, 500, 502] {
        stub.says(status, "");
        let other = Token::new(&format!("a token for {status}"));
        assert!(api.standing(&other).await.is_err(), "{status}");
    }
    assert_eq!(
        api.standing(&Token::new(&"x".repeat(513))).await.unwrap(),
        None
    );
    assert_eq!(stub.times(), 3, "what is too long is not asked about");
}

/// A database takes no such text: a Misskey says of it that it failed, and after a
/// few of them it would be asked nothing by anybody.
#[tokio::test]
async fn what_no_token_can_be_is_not_asked_about() {
    let (stub, api) = stub(&json!({})).await;
    stub.says(500, "");
    for n in 0..10 {
        let token = Token::new(&format!("abcdefghijklmn{n}\0"));
        assert_eq!(api.standing(&token).await.unwrap(), None);
    }
    assert_eq!(stub.times(), 0);
}

#[tokio::test]
async fn what_was_said_of_a_token_is_remembered_until_it_is_to_be_forgotten() {
    let (stub, api) = stub(&json!({ "id": "u1" })).await;
    for _ in 0..3 {
        api.standing(&token()).await.unwrap();
    }
    assert_eq!(stub.times(), 1);
    stub.says(401, &failure("AUTHENTICATION_FAILED"));
    api.forget(&token());
    assert_eq!(api.standing(&token()).await.unwrap(), None);
    assert_eq!(stub.times(), 2);
}

#[tokio::test]
async fn who_asks_too_much_does_not_keep_others_from_asking() {
    let (stub, api) = stub(&json!({})).await;
    stub.says(429, "");
    for _ in 0..10 {
        assert!(api.antenna(&token(), "a1").await.is_err());
    }
    stub.says(200, &json!({ "id": "a1" }));
    assert!(api.antenna(&token(), "a1").await.unwrap());
}

#[tokio::test]
async fn what_may_change_at_any_moment_is_asked_each_time() {
    let (stub, api) = stub(&json!({ "id": "l1", "userIds": ["f1"] })).await;
    let members = Some([Field::User.key("f1")].into_iter().collect());
    assert_eq!(api.list(&token(), "l1").await.unwrap(), members);
    stub.says(400, &failure("NO_SUCH_LIST"));
    assert_eq!(api.list(&token(), "l1").await.unwrap(), None);
    stub.says(200, &json!({ "isPublic": true, "isExplorable": true }));
    assert!(api.role("r1").await.unwrap());
    stub.says(200, &json!({ "isPublic": true, "isExplorable": false }));
    assert!(!api.role("r1").await.unwrap());
    // The room is there, and what is said in it is read in a second question.
    assert!(api.room(&token(), "c1").await.unwrap());
    stub.says(200, &json!({ "id": "n1", "text": "x" }));
    let note = api.note(None, "n1").await.unwrap().unwrap();
    assert_eq!(&*note.kind, NOTE);
    assert_eq!(note.body.get(), r#"{"id":"n1","text":"x"}"#);
    assert_eq!(stub.times(), 7);
    assert!(!stub.heard().last().unwrap().contains("\"i\""));
}

#[tokio::test]
async fn what_visitors_may_see_is_nothing_on_a_word_that_nobody_knows() {
    for (said, expected) in [
        (json!({}), Visitors::All),
        (json!({ "ugcVisibilityForVisitor": "all" }), Visitors::All),
        (
            json!({ "ugcVisibilityForVisitor": "local" }),
            Visitors::Local,
        ),
        (json!({ "ugcVisibilityForVisitor": "none" }), Visitors::None),
        (
            json!({ "ugcVisibilityForVisitor": "friends" }),
            Visitors::None,
        ),
    ] {
        let (_stub, api) = stub(&said).await;
        assert_eq!(api.visiting().await.unwrap().1, expected, "{said}");
    }
    let (stub, api) = stub(&json!({})).await;
    stub.says(404, "");
    assert!(api.visiting().await.is_err());
}
