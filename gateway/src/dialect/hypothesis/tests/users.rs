//! Users whose groups and tokens change while they are connected.

use super::*;

#[test]
fn a_user_who_joins_a_group_hears_of_it_and_from_it() {
    let model = r#"{"userid":"acct:ada@example.org"}"#;
    let joined =
        format!(r#"    < {{"type":"session-change","action":"group-join","model":{model}}}"#);
    let left =
        format!(r#"    < {{"type":"session-change","action":"group-leave","model":{model}}}"#);
    check(
        &mut ada("", false),
        &format!(
            r"
create a1 group=g1:members
    suppressed Permission
joined g1 member
{joined}
create a1 group=g1:members
    tells create a1 as reader
role g1 moderator
create a1 group=g1:members status=PENDING
    tells create a1 as moderator
left g1
{left}
create a1 group=g1:members
    suppressed Permission
"
        ),
    );
    check(
        &mut ada("g2=member", true),
        &format!(
            r"
joined g1 member
{joined}
create a1 group=g1:members client=tab
    suppressed Permission
left g2
{left}
create a1 group=g2:members client=tab
    tells create a1 as reader
"
        ),
    );
}

#[test]
fn nobody_is_let_into_a_group_by_what_no_script_published() {
    check(
        &mut ada("", false),
        r"
forged g1 member
create a1 group=g1:members
    suppressed Permission
",
    );
}

#[test]
fn what_changed_before_the_user_s_topic_was_subscribed_is_read() {
    let mut socket = conversation(Some(signed_in("g1=member")), false);
    check(
        &mut socket,
        &format!(
            r"
open
    + acme:channel:annotations
    + acme:user:{ADA}
subscribed annotations
subscribed user
    ask identity
> {EVERYTHING}
    want 1
identity g2=member
create a1 group=g1:members
    suppressed Permission
create a1 group=g2:members
    tells create a1 as reader
resumed user
    ask identity
identity nobody
    close SignedOut
"
        ),
    );
}

#[test]
fn an_answer_that_may_be_older_than_a_change_is_asked_for_again() {
    let mut socket = ada("g1=member", false);
    check(&mut socket, "resumed user\n    ask identity");
    socket.tell("left g1");
    check(
        &mut socket,
        r"
identity g1=member
    ask identity
create a1 group=g1:members
    suppressed Permission
identity g1=member
create a1 group=g1:members
    tells create a1 as reader
resumed user
    ask identity
resumed user
identity
    ask identity
create a1 group=g1:members
    tells create a1 as reader
",
    );
}

#[test]
fn the_groups_of_the_beginning_stay_in_the_original() {
    check(
        &mut ada("g1=member", true),
        r"
resumed user
    ask identity
identity
create a1 group=g1:members client=tab
    tells create a1 as reader
resumed user
    ask identity
identity nobody
    close SignedOut
",
    );
}

#[test]
fn a_withdrawn_token_ends_its_sockets_and_no_other() {
    check(
        &mut ada("", false),
        "signed-out t2\nsigned-out t1\n    close SignedOut",
    );
    check(&mut ada("", false), "signed-out all\n    close SignedOut");
}

#[test]
fn a_token_that_expires_ends_its_socket_then() {
    let hour = 3_600_000;
    let expires_at = Some(Timestamp::from_millis(1000 + hour + 5));
    let mut socket = conversation(
        Some(SignedIn {
            expires_at,
            ..signed_in("")
        }),
        false,
    );
    check(
        &mut socket,
        &format!(
            r"
open
    + acme:channel:annotations
    + acme:user:{ADA}
    wake at 3601000
time 3601000
woken
    wake at 3601005
time 3601005
woken
    close Expired
"
        ),
    );
}

#[test]
fn a_group_that_was_left_is_not_entered_again_because_the_token_said_so() {
    let groups = "g1=member g2=member";
    let viewer = SignedIn {
        vouched: ["g1", "g2"].map(Arc::from).into(),
        ..signed_in(groups)
    };
    let mut ada = conversation(Some(viewer), false);
    check(
        &mut ada,
        &format!(
            "
open
    + acme:channel:annotations
    + acme:user:{ADA}
subscribed annotations
subscribed user
    ask identity
identity {groups}
"
        ),
    );
    ada.publish("membership", &membership("left", "g1"));
    let effects = ada.dialect.notice(Notice::Resumed(&ada.user), ada.now);
    let [Effect::Ask(Errand::Identity(known))] = &*effects else {
        panic!("{effects:?}")
    };
    assert_eq!(&*known.vouched, [Arc::from("g2")]);
}
