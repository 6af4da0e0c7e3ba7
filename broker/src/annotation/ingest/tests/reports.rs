//! What is read of reports.

use serde_json::{Value, json};

use super::super::*;
use super::least;
use crate::annotation::schema::MAX_ITEMS;
use crate::annotation::{Change, Moderation, Readable, ViewerClass};
use crate::people::{MembershipAction, Role};

/// The same with other members; null takes one away. Names with dots lead into
/// objects.
fn with(changes: &[(&str, Value)]) -> Value {
    let mut report = least();
    for (path, value) in changes {
        let mut place = &mut report;
        for step in path.split('.') {
            place = &mut place[step];
        }
        *place = value.clone();
    }
    report
}

fn read(report: &Value) -> Result<What, String> {
    let read = Report::read(report.to_string().as_bytes(), None);
    read.map(|report| report.what)
        .map_err(|refused| refused.to_string())
}

fn told(changes: &[(&str, Value)]) -> Notification {
    match read(&with(changes)) {
        Ok(What::Annotation(told)) => *told,
        other => panic!("{changes:?}: {other:?}"),
    }
}

fn refusal(changes: &[(&str, Value)]) -> String {
    read(&with(changes)).unwrap_err()
}

fn keys(told: &Notification) -> Vec<&str> {
    told.scope_keys.iter().map(|key| &**key).collect()
}

#[test]
fn the_least_that_is_said_is_all_that_clients_rely_on() {
    let told = told(&[]);
    assert_eq!(told.action, Change::Create);
    assert_eq!((&*told.id, &*told.author), ("a1", "acct:ada@example.org"));
    assert_eq!(told.group.readable_by, Readable::World);
    assert!(told.shared && !told.author_banned && !told.hidden());
    assert_eq!(keys(&told), ["httpx://example.org/page?a=1&b=2"]);
    let shown: Value = serde_json::from_str(&told.view(ViewerClass::Reader, false)).unwrap();
    for (name, value) in [
        ("text", json!("")),
        ("tags", json!([])),
        ("document", json!({})),
        ("links", json!({})),
        ("hidden", json!(false)),
        ("flagged", json!(false)),
        (
            "target",
            json!([{"source": "https://example.org/page?b=2&a=1"}]),
        ),
    ] {
        assert_eq!(shown[name], value, "{name}");
    }
    assert_eq!(shown["permissions"]["read"], json!(["group:__world__"]));
    assert_eq!(
        shown["permissions"]["update"],
        json!(["acct:ada@example.org"])
    );
}

#[test]
fn what_is_said_of_an_annotation_is_kept() {
    let told = told(&[
        ("annotation.text", json!("grün \u{0} \"x\"")),
        ("annotation.own", json!({"any": [1.5, null, "JSON"]})),
        ("annotation.permissions", json!({"read": ["acct:x@y"]})),
    ]);
    let shown: Value = serde_json::from_str(told.annotation.get()).unwrap();
    assert_eq!(shown["text"], "grün \u{0} \"x\"");
    assert_eq!(shown["own"], json!({"any": [1.5, null, "JSON"]}));
    assert_eq!(shown["permissions"], json!({"read": ["acct:x@y"]}));
}

#[test]
fn of_what_is_gone_only_its_id_is_told() {
    let told = told(&[
        ("action", json!("delete")),
        ("annotation.text", json!("gone")),
    ]);
    assert_eq!(told.annotation.get(), r#"{"id":"a1"}"#);
    assert_eq!(keys(&told), ["httpx://example.org/page?a=1&b=2"]);
}

#[test]
fn whether_it_is_shared_is_told_or_read_from_its_permissions() {
    let read = |who: &str| {
        told(&[
            ("shared", Value::Null),
            ("annotation.group", json!("g1")),
            ("group", json!({"readableBy": "members"})),
            ("annotation.permissions", json!({"read": [who]})),
        ])
        .shared
    };
    assert!(read("group:g1") && read("group:__world__"));
    assert!(!read("acct:ada@example.org") && !read("group:g2"));
    let both = [
        ("shared", json!(false)),
        (
            "annotation.permissions",
            json!({"read": ["group:__world__"]}),
        ),
    ];
    assert!(!told(&both).shared);
}

#[test]
fn who_reads_a_group_has_to_be_said() {
    let group = ("annotation.group", json!("g1"));
    let why = refusal(std::slice::from_ref(&group));
    assert_eq!(why, "group: expected an object with readableBy");
    for (name, readable) in [
        ("world", Readable::World),
        ("members", Readable::Members),
        ("nobody", Readable::Nobody),
    ] {
        let said = ("group", json!({"id": "g1", "readableBy": name}));
        assert_eq!(told(&[group.clone(), said]).group.readable_by, readable);
    }
}

#[test]
fn what_is_hidden_in_its_own_words_is_hidden() {
    let hidden = told(&[("annotation.moderation_status", json!("SPAM"))]);
    assert_eq!(hidden.moderation, Some(Moderation::Spam));
    let outweighed = told(&[
        ("annotation.moderation_status", json!("SPAM")),
        ("moderation", json!("APPROVED")),
    ]);
    assert!(!outweighed.hidden());
    let why = refusal(&[("annotation.hidden", json!(true))]);
    assert!(why.starts_with("moderation: expected why"), "{why}");
}

#[test]
fn the_addresses_of_a_document_are_those_it_is_found_by() {
    let link = |href: &str| json!({"href": href, "rel": "alternate"});
    let document = json!({"link": [link("http://b.example/"), link("urn:x-pdf:1")], "version": 3});
    let found = told(&[
        ("annotation.document", document.clone()),
        (
            "equivalentUris",
            json!(["http://c.example/", "https://b.example"]),
        ),
    ]);
    let expected = [
        "httpx://example.org/page?a=1&b=2__v3",
        "httpx://b.example__v3",
        "urn:x-pdf:1__v3",
        "httpx://c.example__v3",
    ];
    assert_eq!(keys(&found), expected);
    let unversioned = told(&[("annotation.document", document), ("version", json!(0))]);
    assert_eq!(keys(&unversioned)[1], "httpx://b.example");
}

#[test]
fn an_address_that_cannot_be_normalised_is_found_by_its_text() {
    let uri = ("annotation.uri", json!(" http://a:x/ "));
    let other = ("equivalentUris", json!(["http://[", "http://a:x/"]));
    assert_eq!(keys(&told(&[uri, other])), ["http://a:x/", "http://["]);
}

#[test]
fn a_page_that_names_itself_is_found_by_itself_alone() {
    let own = json!({"href": "https://example.org/page?b=2&a=1", "rel": "canonical"});
    let other = json!({"href": "http://b.example/", "rel": "alternate"});
    let told = told(&[("annotation.document", json!({"link": [own, other]}))]);
    assert_eq!(keys(&told), ["httpx://example.org/page?a=1&b=2"]);
}

#[test]
fn references_are_taken_from_the_annotation_unless_told() {
    let own = ("annotation.references", json!(["r1", "r2"]));
    let of = |changes: &[(&str, Value)]| told(changes).references.join(" ");
    assert_eq!(of(std::slice::from_ref(&own)), "r1 r2");
    assert_eq!(of(&[own, ("references", json!(["r3"]))]), "r3");
}

#[test]
fn a_mistake_is_told_with_its_place_and_never_with_what_stood_there() {
    let long = "SECRET".repeat(2000);
    for (path, value, told) in [
        (
            "action",
            json!("SECRET"),
            "action: expected create, update or delete",
        ),
        (
            "action",
            json!({"create": 1}),
            "action: expected create, update or delete",
        ),
        (
            "annotation",
            json!("SECRET"),
            "annotation: expected an object",
        ),
        (
            "annotation.id",
            json!(""),
            "annotation.id: expected a string of 1 to 255 characters",
        ),
        (
            "annotation.user",
            json!("SECRET"),
            "annotation.user: expected acct:<name>@<authority>, at most 256 bytes",
        ),
        (
            "annotation.uri",
            json!(long),
            "annotation.uri: expected a string of 1 to 8192 characters",
        ),
        (
            "annotation.uri",
            json!(" "),
            "annotation.uri: expected an address",
        ),
        (
            "annotation.group",
            json!("SE CRET"),
            "annotation.group: expected __world__, or 1 to 64 letters, digits, '_' or '-'",
        ),
        (
            "annotation.tags",
            json!(["a", 1]),
            "annotation.tags.1: expected a string",
        ),
        (
            "annotation.target",
            json!("SECRET"),
            "annotation.target: expected an array",
        ),
        (
            "annotation.target",
            json!(["SECRET"]),
            "annotation.target.0: expected an object",
        ),
        (
            "annotation.references",
            json!([""]),
            "annotation.references.0: expected a string of 1 to 255 characters",
        ),
        (
            "annotation.created",
            json!(1),
            "annotation.created: expected a string",
        ),
        (
            "annotation.hidden",
            json!("SECRET"),
            "annotation.hidden: expected true or false",
        ),
        (
            "group",
            json!({"id": "SECRET"}),
            "group.id: expected the same as annotation.group",
        ),
        (
            "group",
            json!({"readableBy": "SECRET"}),
            "group.readableBy: expected world, members or nobody",
        ),
        (
            "group",
            json!({}),
            "group.readableBy: expected world, members or nobody",
        ),
        (
            "group",
            json!({"SECRET": 1}),
            "group: expected no other members than id, readableBy",
        ),
        ("shared", json!("SECRET"), "shared: expected true or false"),
        (
            "shared",
            Value::Null,
            "shared: expected true or false, unless annotation.permissions.read tells",
        ),
        (
            "moderation",
            json!("SECRET"),
            "moderation: expected APPROVED, PENDING, DENIED or SPAM",
        ),
        (
            "flaggers",
            json!({"SECRET": 1}),
            "flaggers: expected an array",
        ),
        (
            "version",
            json!(-1),
            "version: expected a whole number from 0 to 2147483647",
        ),
        (
            "version",
            json!(1.5),
            "version: expected a whole number from 0 to 2147483647",
        ),
        (
            "sourceClientId",
            json!(7),
            "sourceClientId: expected a string of 1 to 255 characters",
        ),
        (
            "authorBanned",
            json!(0),
            "authorBanned: expected true or false",
        ),
        (
            "type",
            json!("SECRET"),
            "type: expected annotation or membership",
        ),
        (
            "id",
            json!("x".repeat(129)),
            "id: expected a string of 1 to 128 characters",
        ),
        (
            "id",
            Value::Null,
            "id: expected a string of 1 to 128 characters",
        ),
    ] {
        assert_eq!(refusal(&[(path, value)]), told);
    }
    let why = refusal(&[("authorBaned", json!(true))]);
    assert!(
        why.starts_with("event: expected no other members than id, type"),
        "{why}"
    );
    let many = vec!["x"; MAX_ITEMS + 1];
    for (path, told) in [
        ("references", "references: expected at most 1000 items"),
        ("flaggers", "flaggers: expected at most 1000 items"),
        (
            "equivalentUris",
            "equivalentUris: expected at most 256 items",
        ),
        (
            "annotation.tags",
            "annotation.tags: expected at most 1000 items",
        ),
    ] {
        assert_eq!(refusal(&[(path, json!(many))]), told);
    }
}

#[test]
fn what_is_no_json_object_is_refused() {
    let why = |json: &[u8]| Report::read(json, None).unwrap_err().why;
    for (json, told) in [
        (&b""[..], "expected JSON in UTF-8"),
        (b"{", "expected JSON in UTF-8"),
        (b"\xff", "expected JSON in UTF-8"),
        (b"[]", "expected an object"),
        (b"null", "expected an object"),
        (
            br#"{"id":"\ud83d"}"#,
            "expected texts without half a surrogate pair",
        ),
    ] {
        assert_eq!(why(json).to_string(), told);
        assert_eq!(why(json).label(), "json");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(why(deep.as_bytes()).label(), "json");
    let large = format!("{}{}", least(), " ".repeat(MAX_REPORT));
    assert_eq!(why(large.as_bytes()), Invalid::Size);
}

#[test]
fn a_refused_report_is_named_if_its_name_can_be_read() {
    let name = |json: &str| Report::read(json.as_bytes(), None).unwrap_err().id;
    assert_eq!(name(r#"{"id":"e9"}"#).as_deref(), Some("e9"));
    assert_eq!(name(r#"{"id":9}"#), None);
}

fn membership(changes: &Value) -> Result<(Arc<str>, MembershipChange), String> {
    let mut report = json!({
        "id": "e2", "type": "membership", "userid": "acct:ben@example.org", "group": "g1",
    });
    for (name, value) in changes.as_object().unwrap() {
        report[name] = value.clone();
    }
    match read(&report)? {
        What::Membership { userid, change } => Ok((userid, change)),
        What::Annotation(_) | What::Told { .. } => panic!("it is a membership"),
    }
}

#[test]
fn a_membership_is_read() {
    let session = json!({"userid": "acct:ben@example.org", "groups": []});
    let joined = json!({"action": "group-join", "role": "moderator", "session": session});
    let (userid, change) = membership(&joined).unwrap();
    assert_eq!(&*userid, "acct:ben@example.org");
    assert_eq!(change.action, Some(MembershipAction::GroupJoin));
    assert_eq!(change.role, Some(Role::Moderator));
    assert_eq!(
        change.session.unwrap().get(),
        r#"{"groups":[],"userid":"acct:ben@example.org"}"#
    );
    let (_, change) = membership(&json!({"action": null, "role": "admin"})).unwrap();
    assert_eq!((change.action, change.role), (None, Some(Role::Admin)));
    let (_, change) = membership(&json!({"action": "group-leave", "role": null})).unwrap();
    assert_eq!(change.role, None);
}

#[test]
fn a_membership_that_contradicts_itself_is_refused() {
    for (changes, told) in [
        (
            json!({"action": "group-join"}),
            "role: expected what the user is in the group now",
        ),
        (
            json!({"action": "group-leave", "role": "member"}),
            "role: expected null, as the user left",
        ),
        (
            json!({"role": "SECRET"}),
            "role: expected member, moderator, admin, owner or null",
        ),
        (
            json!({"action": "SECRET"}),
            "action: expected group-join, group-leave or null",
        ),
        (
            json!({"group": "__world__"}),
            "group: expected 1 to 64 letters, digits, '_' or '-', not __world__",
        ),
        (
            json!({"userid": "SECRET"}),
            "userid: expected acct:<name>@<authority>, at most 256 bytes",
        ),
        (
            json!({"session": {"userid": "SECRET"}}),
            "session.userid: expected the userid of the event",
        ),
        (
            json!({"annotation": {}}),
            "event: expected no other members than id, type, userid, group, action, role, session",
        ),
    ] {
        assert_eq!(membership(&changes).unwrap_err(), told);
    }
}

#[test]
fn the_type_beside_a_report_counts_and_does_not_contradict_it() {
    let json = br#"{"id":"e","userid":"acct:b@c","group":"g"}"#;
    let read = Report::read(json, Some("membership")).unwrap();
    assert!(matches!(read.what, What::Membership { .. }));
    let json = br#"{"id":"e","type":"membership","userid":"acct:b@c","group":"g"}"#;
    let why = Report::read(json, Some("annotation"))
        .unwrap_err()
        .to_string();
    assert_eq!(why, "type: expected what the entry's field type says");
}
