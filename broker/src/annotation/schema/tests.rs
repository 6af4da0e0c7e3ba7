//! What clients send, and what they are told of it.

use serde_json::json;

use super::*;

fn read(json: &Value) -> Result<Draft, String> {
    draft(json.to_string().as_bytes()).map_err(|invalid| invalid.to_string())
}

fn refusal(json: &Value) -> String {
    read(json).expect_err("it is wrong")
}

#[test]
fn the_least_annotation_is_an_address() {
    let least = Draft {
        uri: "http://e.org/".to_owned(),
        text: String::new(),
        tags: vec![],
        group: WORLD.to_owned(),
        references: vec![],
        shared: false,
        target: Target::default(),
        document: None,
        metadata: None,
        extra: Map::new(),
    };
    assert_eq!(read(&json!({"uri": " http://e.org/\n"})), Ok(least));
}

#[test]
fn an_annotation_says_all_there_is() {
    let said = json!({
        "uri": "http://e.org/", "text": "t", "tags": ["a", "b"], "group": "g", "references": ["r"],
        "permissions": {"read": ["group:g"], "update": ["acct:a@e.org"], "x": 5},
        "target": [
            {"source": "z", "description": "d", "selector": [{"type": "A", "x": 1}], "y": 2},
            {"selector": [{"type": "B"}]},
        ],
        "document": {"title": ["T"], "version": 2}, "metadata": {"m": 1},
        "foo": 1, "bar": {"z": 2},
    });
    let all = Draft {
        uri: "http://e.org/".to_owned(),
        text: "t".to_owned(),
        tags: vec!["a".to_owned(), "b".to_owned()],
        group: "g".to_owned(),
        references: vec!["r".to_owned()],
        shared: true,
        target: Target {
            description: Some("d".to_owned()),
            selectors: vec![json!({"type": "A", "x": 1})],
        },
        document: Some(json!({"title": ["T"], "version": 2})),
        metadata: object(json!({"m": 1})),
        extra: object(json!({"foo": 1, "bar": {"z": 2}})).expect("it is an object"),
    };
    assert_eq!(read(&said), Ok(all));
}

#[test]
fn what_we_say_of_an_annotation_no_client_does() {
    let mut said = json!({"uri": "x:y", "kept": true});
    for key in GIVEN_BY_US {
        said[key] = json!({"any": "thing"});
    }
    let extra = read(&said).expect("it is all right").extra;
    assert_eq!(Value::Object(extra), json!({"kept": true}));
}

#[test]
fn only_the_very_group_shares() {
    let shared = |read: Value, group: Option<&str>| {
        let mut said = json!({"uri": "x:y", "permissions": {"read": read}});
        if let Some(group) = group {
            said["group"] = json!(group);
        }
        super::draft(said.to_string().as_bytes())
            .expect("it is all right")
            .shared
    };
    assert!(shared(json!(["group:__world__"]), None));
    assert!(shared(json!(["group:g"]), Some("g")));
    assert!(!shared(json!(["group:g"]), None));
    assert!(!shared(json!(["group:__world__"]), Some("g")));
    assert!(!shared(json!(["group:g", "group:g"]), Some("g")));
    assert!(!shared(json!(["group:g", "acct:a@e.org"]), Some("g")));
    assert!(!shared(json!(["acct:g"]), Some("g")));
    assert!(!shared(json!([]), None));
}

#[test]
fn a_change_says_only_what_changes() {
    assert_eq!(patch(b"{}"), Ok(Patch::default()));
    let said = br#"{"text": "", "tags": [], "target": [], "group": "g", "references": ["r"],
        "permissions": {"read": ["group:g"]}, "id": "x", "actions": []}"#;
    let changes = patch(said).expect("it is all right");
    assert_eq!(changes.shared("g"), Some(true));
    assert_eq!(changes.shared(WORLD), Some(false));
    assert_eq!(
        changes,
        Patch {
            text: Some(String::new()),
            tags: Some(vec![]),
            read: Some(vec!["group:g".to_owned()]),
            target: Some(Target::default()),
            extra: object(json!({"actions": []})).expect("it is an object"),
            ..Patch::default()
        }
    );
    assert_eq!(Patch::default().shared(WORLD), None);
}

#[test]
fn without_an_address_nothing_is_annotated() {
    let told = "uri: 'uri' is a required property";
    assert_eq!(refusal(&json!({})), told);
    assert_eq!(refusal(&json!({"uri": " \n"})), told);
    assert_eq!(patch(br#"{"uri": ""}"#), Err(Invalid::NoUri));
}

#[test]
fn what_is_no_json_is_told_apart() {
    let none = "Expected a valid JSON payload, but none was found!";
    let bodies: [&[u8]; 8] = [
        b"",
        b" ",
        b"{nope",
        b"{}{}",
        b"\xff",
        b"{\"uri\":\"\xff\"}",
        b"\xef\xbb\xbf{}",
        b"1e999",
    ];
    for body in bodies {
        let told = draft(body).map_err(|invalid| invalid.to_string());
        assert_eq!(told, Err(none.to_owned()), "{body:?}");
    }
}

#[test]
fn what_is_not_of_the_shape_is_told_as_clients_know_it() {
    let cases = [
        (
            json!({"permissions": {"read": ["foo"]}}),
            "permissions.read.0: 'foo' does not match '^(acct:|group:).+$'",
        ),
        (
            json!({"permissions": {"read": ["group:"]}}),
            "permissions.read.0: 'group:' does not match '^(acct:|group:).+$'",
        ),
        (
            json!({"permissions": {}}),
            "permissions: 'read' is a required property",
        ),
        (json!({"tags": false}), "tags: False is not of type 'array'"),
        (
            json!({"tags": ["a", 5, null]}),
            "tags.1: 5 is not of type 'string', tags.2: None is not of type 'string'",
        ),
        (
            json!({"document": {"link": [{}]}}),
            "document.link.0: 'href' is a required property",
        ),
        (
            json!({"document": {"link": [{"href": "x:y", "type": 1.5}]}}),
            "document.link.0.type: 1.5 is not of type 'string'",
        ),
        (
            json!({"document": {"dc": {"identifier": {}}, "highwire": {"doi": [[]], "pdf_url": 1}}}),
            "document.dc.identifier: {} is not of type 'array', \
             document.highwire.doi.0: [] is not of type 'string', \
             document.highwire.pdf_url: 1 is not of type 'array'",
        ),
        (
            json!({"document": {"version": -1}}),
            "document.version: -1 is less than the minimum of 0",
        ),
        (
            json!({"document": {"version": true}}),
            "document.version: True is not of type 'integer'",
        ),
        (
            json!({"document": {"version": 1.0}}),
            "document.version: 1.0 is not of type 'integer'",
        ),
        (
            json!({"document": {"version": u64::MAX}}),
            "document.version: 18446744073709551615 is greater than the maximum of 2147483647",
        ),
        (json!({"uri": false}), "uri: False is not of type 'string'"),
        (
            json!({"text": {"a": [1, "it's", null]}}),
            "text: {'a': [1, \"it's\", None]} is not of type 'string'",
        ),
        (
            json!({"group": 5, "uri": 6}),
            "group: 5 is not of type 'string', uri: 6 is not of type 'string'",
        ),
        (
            json!({"target": [{"selector": [{"exact": "x"}]}]}),
            "target.0.selector.0: 'type' is a required property",
        ),
        (
            json!({"target": [{}, {"description": 1}]}),
            "target.1.description: 1 is not of type 'string'",
        ),
        (
            json!({"metadata": "x"}),
            "metadata: 'x' is not of type 'object'",
        ),
        (
            json!({"references": [null]}),
            "references.0: None is not of type 'string'",
        ),
        (json!([]), "[] is not of type 'object'"),
        (json!(5), "5 is not of type 'object'"),
        (json!(null), "None is not of type 'object'"),
        (json!("x"), "'x' is not of type 'object'"),
    ];
    for (said, told) in cases {
        assert_eq!(refusal(&said), told, "{said}");
        let changes = patch(said.to_string().as_bytes());
        assert_eq!(
            changes.map_err(|e| e.to_string()),
            Err(told.to_owned()),
            "{said}"
        );
    }
}

#[test]
fn limits_are_in_characters_and_met_exactly() {
    let at_limit = |length: usize| {
        let text = "é".repeat(length);
        move |excess: usize| text.clone() + &"é".repeat(excess)
    };
    let (tag, description, href, uri) = (
        at_limit(MAX_TAG),
        at_limit(MAX_DESCRIPTION),
        at_limit(MAX_HREF),
        at_limit(MAX_URI),
    );
    let said = |excess: usize| {
        json!({
            "uri": uri(excess), "tags": [tag(excess)],
            "target": [{"description": description(excess)}],
            "document": {"link": [{"href": href(excess)}]},
        })
    };
    assert!(read(&said(0)).is_ok());
    let told = refusal(&said(1));
    let paths: Vec<_> = told
        .split(", ")
        .map(|told| {
            (
                told.split(':').next(),
                told.ends_with("…' is too long"),
                told.ends_with("… is too long"),
            )
        })
        .collect();
    let each = |path| (Some(path), false, true);
    assert_eq!(
        paths,
        [
            each("document.link.0.href"),
            each("tags.0"),
            each("target.0.description"),
            each("uri")
        ]
    );
}

#[test]
fn lists_are_bounded_and_the_rest_of_them_unread() {
    let tags = |length: usize| json!({"uri": "x:y", "tags": vec!["a"; length]});
    assert!(read(&tags(MAX_ITEMS)).is_ok());
    let told = refusal(&tags(MAX_ITEMS + 1));
    assert!(told.starts_with("tags: ['a', 'a', "), "{told}");
    assert!(told.ends_with("… is too long"), "{told}");
}

#[test]
fn what_is_told_is_bounded_whatever_was_sent() {
    let long = "\u{1}".repeat(1000);
    let said = json!({"tags": vec![json!({"deep": [long, long]}); 100]});
    let told = refusal(&said);
    assert!(told.len() < 8 * 1024, "{}", told.len());
    assert_eq!(told.matches("is not of type 'string'").count(), 16);
}

#[test]
fn half_a_character_is_told_where_it_stands() {
    let selector = |body: &str| {
        format!(
            r#"{{"uri":"x:y","target":[{{"selector":[{{"type":"A"}},{{"type":"B",{body}}}]}}]}}"#
        )
    };
    let cases = [
        (
            selector(r#""prefix":"a\ud83d""#),
            "prefix: 'prefix' must be valid unicode",
        ),
        (
            selector(r#""suffix":"\uDE00b""#),
            "suffix: 'suffix' must be valid unicode",
        ),
        (
            selector(r#""suffix":"\ude00\ud83d","exact":"x\\ud83d""#),
            "suffix: 'suffix' must be valid unicode",
        ),
        (
            selector(r#""exact":"\ud83d\ud83d\ude00""#),
            "target.0.selector.1.exact: 'exact' must be valid unicode",
        ),
        (
            r#"{"text":"\ud83d"}"#.to_owned(),
            "text: 'text' must be valid unicode",
        ),
        (
            r#"{"a":["\ufffd\uffff",["\ud83d"]]}"#.to_owned(),
            "a.1.0: '0' must be valid unicode",
        ),
        (
            r#"{"\ud83d":1}"#.to_owned(),
            "payload: 'payload' must be valid unicode",
        ),
        (
            r#"{"\ud83d"#.to_owned(),
            "Expected a valid JSON payload, but none was found!",
        ),
    ];
    for (body, told) in cases {
        let refused = draft(body.as_bytes()).map_err(|invalid| invalid.to_string());
        assert_eq!(refused, Err(told.to_owned()), "{body}");
    }
    let whole = selector(r#""prefix":"\ud83d\ude00\\ud83d\"\\""#);
    let kept = draft(whole.as_bytes()).expect("it is whole").target;
    assert_eq!(kept.selectors[1]["prefix"], "😀\\ud83d\"\\");
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| {
        let lists = depth - 1;
        format!(
            r#"{{"uri":"x:y","a":{}{}}}"#,
            "[".repeat(lists),
            "]".repeat(lists)
        )
    };
    assert!(draft(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert_eq!(
        draft(nested(MAX_DEPTH + 1).as_bytes()),
        Err(Invalid::TooDeep)
    );
    assert_eq!(
        draft("[".repeat(1_000_000).as_bytes()),
        Err(Invalid::TooDeep)
    );
    let text = format!(r#"{{"uri":"x:y","text":"{}"}}"#, "[{".repeat(1000));
    assert!(draft(text.as_bytes()).is_ok());
}

#[test]
fn broken_bodies_are_refused_and_nothing_else_happens() {
    let body = br#"{"uri":"x:y","tags":["\ud83d\ude00","\\"],"target":[{"selector":[{"type":"\ud83d"}]}]}"#;
    for end in 0..body.len() {
        assert_eq!(draft(&body[..end]), Err(Invalid::NotJson), "{end}");
        for byte in [b'"', b'\\', b'{', b'u', 0xff] {
            let mut changed = body.to_vec();
            changed[end] = byte;
            let _ = draft(&changed);
            let _ = patch(&changed);
        }
    }
}
