//! Who is told of which annotation.

use super::*;

#[test]
fn a_socket_is_told_of_what_its_filter_matches() {
    check(
        &mut anonymous(),
        &format!(
            r#"
create a1
> {EVERYTHING}
    want 1
create a1
    tells create a1 as reader
update a1
    tells update a1 as reader
delete a1
    tells delete a1
create a2 uri=httpx://e.org/other
create a3 uri=httpx://e.org/other,httpx://e.org
    tells create a3 as reader
> {{"filter":{{"match_policy":"include_any","clauses":[],"actions":{{}}}}}}
    want 0
create a4
"#
        ),
    );
}

#[test]
fn who_missed_annotations_they_asked_for_is_to_come_back() {
    check(
        &mut anonymous(),
        &format!("gap annotations\n> {EVERYTHING}\n    want 1\ngap annotations\n    close Missed"),
    );
    assert_eq!(CloseReason::Missed.code(), Some(1012));
}

#[test]
fn a_filter_that_cannot_be_used_leaves_the_one_before() {
    check(
        &mut anonymous(),
        &format!(
            r#"
> {EVERYTHING}
    want 1
> {{"type":"filter","filter":{{"match_policy":"include_any","clauses":[{{}}],"actions":{{}}}},"id":1}}
    < {{"type":"error","error":{{"type":"invalid_data","description":"failed to parse filter"}},"ok":false,"reply_to":1}}
create a1
    tells create a1 as reader
"#
        ),
    );
    let mut strict = conversation(None, true);
    check(&mut strict, OPEN);
    check(
        &mut strict,
        r#"
> {"type":"filter","filter":{"match_policy":"include_any","clauses":[{}],"actions":{}},"id":1}
> {"type":"filter","filter":{"match_policy":"include_any","clauses":[{"field":"/uri"}],"actions":{}},"id":2}
> {"type":[],"id":3}
> {"type":"filter","filter":{},"id":4}
    < {"type":"error","error":{"type":"invalid_data","description":"failed to parse filter"},"ok":false,"reply_to":4}
"#,
    );
}

#[test]
fn the_tab_that_caused_an_event_is_spared_it() {
    let mut socket = ada("", false);
    check(
        &mut socket,
        r#"
create a1
    tells create a1 as reader
create a1 client=tab
    tells create a1 as reader
> {"messageType":"client_id","value":"tab"}
create a1 client=tab
    suppressed Echo
create a1 client=other
    tells create a1 as reader
create a1
    tells create a1 as reader
> {"messageType":"client_id","value":5}
create a1 client=5
    tells create a1 as reader
"#,
    );
}

#[test]
fn two_unknown_tabs_are_the_same_to_the_original() {
    let mut socket = ada("", true);
    check(
        &mut socket,
        r#"
create a1
    suppressed Echo
create a1 client=tab
    tells create a1 as reader
> {"messageType":"client_id","value":"tab"}
create a1
    tells create a1 as reader
create a1 client=tab
    suppressed Echo
"#,
    );
}

#[test]
fn who_is_told_is_who_may_read() {
    let nobody = format!("> {EVERYTHING}\n    want 1");
    let mut stranger = anonymous();
    check(&mut stranger, &nobody);
    check(
        &mut stranger,
        r"
create a1 group=open
    tells create a1 as reader
create a1 group=g1:members
    suppressed Permission
create a1 private
    suppressed Permission
create a1 status=PENDING
    suppressed Permission
create a1 banned
    suppressed ShadowBan
delete a1 group=g1:members
    suppressed Permission
create a1 group=gone:nobody
    suppressed Permission
",
    );
    check(
        &mut ada("g1=member g2=moderator", false),
        r"
create a1 group=g1:members
    tells create a1 as reader
create a1 group=g2:members
    tells create a1 as moderator
create a1 group=g3:members
    suppressed Permission
create a1 group=g2:members status=PENDING
    tells create a1 as moderator
create a1 group=g1:members status=SPAM
    suppressed Permission
create a1 by=ada private
    tells create a1 as author
create a1 by=ada status=DENIED
    tells create a1 as author
create a1 group=g2:members private
    suppressed Permission
create a1 by=ada banned
    tells create a1 as author
create a1 group=g1:members banned
    suppressed ShadowBan
update a1 flagged
    tells update a1 as reader, flagged
",
    );
}

#[test]
fn anonymous_sockets_hear_of_shadow_banned_authors_only_in_the_original() {
    let mut strict = conversation(None, true);
    check(&mut strict, OPEN);
    check(
        &mut strict,
        &format!(
            r"
> {EVERYTHING}
    want 1
create a1 banned client=tab
    tells create a1 as reader
"
        ),
    );
    check(
        &mut ada("", true),
        "create a1 banned client=tab\n    suppressed ShadowBan",
    );
}
