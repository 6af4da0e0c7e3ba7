//! What is a filter, and what is none.

use broker::annotation::uri;
use serde_json::{Value, json};

use super::super::filter::{BadFilter, Filter};
use super::notification;

fn read(filter: &Value) -> Result<Filter, BadFilter> {
    Filter::read(&filter.to_string())
}

fn clauses(clauses: &Value) -> Result<Filter, BadFilter> {
    read(&json!({"match_policy": "include_any", "clauses": clauses, "actions": {}}))
}

fn refused(filter: Result<Filter, BadFilter>) -> BadFilter {
    filter.expect_err("it cannot be used")
}

#[test]
fn a_filter_has_three_members_and_one_policy() {
    for filter in [
        json!({}),
        json!([]),
        json!(null),
        json!({"clauses": [], "actions": {}}),
        json!({"match_policy": "include_any", "actions": {}}),
        json!({"match_policy": "include_any", "clauses": []}),
        json!({"match_policy": "include_all", "clauses": [], "actions": {}}),
        json!({"match_policy": "include_any", "clauses": {}, "actions": {}}),
        json!({"match_policy": "include_any", "clauses": null, "actions": {}}),
    ] {
        assert_eq!(refused(read(&filter)), BadFilter::Form, "{filter}");
    }
    for actions in [json!(null), json!("x"), json!({"create": false})] {
        let filter = json!({
            "match_policy": "include_any", "clauses": [], "actions": actions, "extra": 1,
        });
        assert!(read(&filter).is_ok(), "{filter}");
    }
}

#[test]
fn a_clause_that_makes_no_sense_spoils_the_filter() {
    for clause in [
        json!({}),
        json!("x"),
        json!([]),
        json!({"field": []}),
        json!({"field": "/uri"}),
        json!({"field": "/id", "value": [{}]}),
        json!({"field": "/id", "value": [[]]}),
        json!({"field": "/uri", "value": 5}),
        json!({"field": "/uri", "value": null}),
        json!({"field": "/uri", "value": {}}),
        json!({"field": "/uri", "value": "http://e.org:port/"}),
    ] {
        let good = json!({"field": "/id", "value": "a1"});
        assert_eq!(
            refused(clauses(&json!([good, clause]))),
            BadFilter::Clause,
            "{clause}"
        );
    }
}

#[test]
fn what_no_annotation_has_matches_nothing_and_spoils_nothing() {
    for clause in [
        json!({"field": "/no-such-field"}),
        json!({"field": 5, "value": "a1"}),
        json!({"field": "/references", "value": {}}),
        json!({"field": "/id", "value": null}),
        json!({"field": "/group", "value": [true, 5, null]}),
        json!({"field": "/id", "value": []}),
        json!({"field": "/group", "value": "__WORLD__", "case_sensitive": false}),
    ] {
        let filter = clauses(&json!([clause])).unwrap();
        assert!(
            !filter.matches(&notification("create", "a1 references=a0")),
            "{clause}"
        );
    }
}

#[test]
fn one_value_of_one_clause_is_enough() {
    let annotation = notification(
        "create",
        "a1 group=g1 references=a0,b0 uri=httpx://e.org/1__v2",
    );
    for (clause, matches) in [
        (
            json!({"field": "/id", "value": "a1", "operator": "bogus"}),
            true,
        ),
        (json!({"field": "/id", "value": "a0"}), false),
        (
            json!({"field": "/group", "operator": "equals", "value": ["x", "g1"]}),
            true,
        ),
        (json!({"field": "/references", "value": "b0"}), true),
        (json!({"field": "/references", "value": "a1"}), false),
        (
            json!({"field": "/uri", "value": "HTTP://E.org:80/1/#x:v2"}),
            true,
        ),
        (
            json!({"field": "/uri", "value": "http://e.org/1:v0:v2"}),
            true,
        ),
        (json!({"field": "/uri", "value": "http://e.org/1"}), false),
        (
            json!({"field": "/uri", "value": "http://e.org/1:all"}),
            false,
        ),
    ] {
        let other = json!({"field": "/id", "value": "other"});
        let filter = clauses(&json!([other, clause])).unwrap();
        assert_eq!(filter.matches(&annotation), matches, "{clause}");
    }
}

#[test]
fn a_filter_is_no_longer_than_any_client_needs() {
    let clause = |value: Value| json!({"field": "/id", "value": value});
    let ids = |count: usize| -> Value { (0..count).map(|n| json!(n.to_string())).collect() };
    let many = |count: usize| -> Value { (0..count).map(|_| clause(json!("a1"))).collect() };
    assert!(clauses(&many(256)).is_ok());
    assert_eq!(refused(clauses(&many(257))), BadFilter::Size);
    assert!(clauses(&json!([clause(ids(1024))])).is_ok());
    assert_eq!(
        refused(clauses(&json!([clause(ids(1024)), clause(ids(1))]))),
        BadFilter::Size
    );
    let long = |bytes| json!([clause(json!("x".repeat(bytes)))]);
    assert!(clauses(&long(8 << 10)).is_ok());
    assert_eq!(refused(clauses(&long((8 << 10) + 1))), BadFilter::Size);
}

#[test]
fn an_address_with_many_versions_does_not_multiply() {
    let versions: String = (1..=20).map(|n| format!(":v{n}")).collect();
    let address = format!("http://e.org/{}{versions}", "a".repeat(7 << 10));
    let keys = uri::filter_keys(&address).unwrap();
    assert_eq!(keys.len(), 20);
    let filter = clauses(&json!([{"field": "/uri", "value": address}]));
    assert_eq!(refused(filter), BadFilter::Size);
}
