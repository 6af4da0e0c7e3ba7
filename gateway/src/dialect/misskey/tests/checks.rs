//! What must be asked before a channel is open, and what waits meanwhile.

use super::*;

#[test]
fn everything_waits_in_order_while_a_check_is_under_way() {
    check(
        misskey(),
        r#"
> {"type":"connect","body":{"channel":"antenna","id":"a","params":{"antennaId":"a1"},"pong":true}}
? Antenna("a1")
> {"type":"connect","body":{"channel":"drive","id":"b","pong":true}}
> {"type":"s","body":{"id":"n1"}}
> {"type":"connect","body":{"channel":"roleTimeline","id":"c","params":{"roleId":"r1"},"pong":true}}
> {"type":"connect","body":{"channel":"main","id":"d","pong":true}}
> {"type":"disconnect","body":{"id":"b"}}
allowed
+ channel:antennaStream:a1
+ channel:notesStream none
< {"type":"connected","body":{"id":"a"}}
+ channel:driveStream:u1
< {"type":"connected","body":{"id":"b"}}
+ note:n1
? Role("r1")
refused
< {"type":"connected","body":{"id":"d"}}
- channel:driveStream:u1
allowed
refused
members u1
"#,
    );
}

#[test]
fn a_disconnect_right_behind_a_slow_connect_wins() {
    check(
        misskey(),
        r#"
> {"type":"connect","body":{"channel":"antenna","id":"a","params":{"antennaId":"a1"}}}
? Antenna("a1")
> {"type":"disconnect","body":{"id":"a"}}
allowed
+ channel:antennaStream:a1
+ channel:notesStream none
- channel:antennaStream:a1
- channel:notesStream
"#,
    );
}

#[test]
fn events_do_not_wait_for_a_check() {
    check(
        misskey(),
        r#"
> {"type":"s","body":{"id":"n1"}}
+ note:n1
> {"type":"connect","body":{"channel":"roleTimeline","id":"a","params":{"roleId":"r1"}}}
? Role("r1")
@ note:n1 {"type":"deleted","body":{"id":"n1","userId":"x1","visibility":"public","body":{}}}
< {"type":"noteUpdated","body":{"id":"n1","type":"deleted","body":{}}}
"#,
    );
}

#[test]
fn who_says_too_much_while_a_check_is_under_way_is_ended() {
    let connect =
        r#"{"type":"connect","body":{"channel":"roleTimeline","id":"a","params":{"roleId":"r1"}}}"#;
    for (message, most) in [("h".to_owned(), 2048), ("x".repeat(64 << 10), 4)] {
        let mut conversation = misskey();
        let now = conversation.now;
        conversation.dialect.receive(connect, now);
        let dialect = &mut conversation.dialect;
        let taken = (0..3000).take_while(|_| dialect.receive(&message, now).is_empty());
        assert_eq!(taken.count(), most);
        let end = dialect.receive(&message, now);
        assert_eq!(end, [Effect::Close(CloseReason::TooMuch)]);
    }
}

#[test]
fn apps_are_asked_whether_they_may_read_chats() {
    check(
        app(),
        r#"
> {"type":"connect","body":{"channel":"chatUser","id":"a","params":{"otherId":"f1"},"pong":true}}
? Chat
refused
! Connect Refused
> {"type":"connect","body":{"channel":"chatUser","id":"a","params":{"otherId":"f1"},"pong":true}}
? Chat
allowed
+ channel:chatUserStream:u1-f1
< {"type":"connected","body":{"id":"a"}}
! Connect Ok
> {"type":"connect","body":{"channel":"homeTimeline","id":"b","pong":true}}
+ channel:notesStream 3
< {"type":"connected","body":{"id":"b"}}
"#,
    );
}

#[test]
fn a_list_is_asked_for_once_its_changes_are_heard() {
    let mut slow = misskey();
    slow.quick = false;
    check(
        slow,
        r#"
> {"type":"connect","body":{"channel":"userList","id":"a","params":{"listId":"L1"},"pong":true}}
+ channel:userListStream:L1
> {"type":"connect","body":{"channel":"drive","id":"b"}}
confirmed channel:userListStream:L1
? List("L1")
@ channel:userListStream:L1 {"type":"userAdded","body":{"id":"x3"}}
@ channel:userListStream:L1 {"type":"userRemoved","body":{"id":"x1"}}
members x1 x2
+ channel:notesStream 2
+ channel:driveStream:u1
confirmed channel:notesStream
< {"type":"connected","body":{"id":"a"}}
@ channel:notesStream {"type":"note","body":{"id":"n1","userId":"x3"}}
< {"type":"channel","body":{"id":"a","type":"note","body":{"id":"n1","userId":"x3"}}}
@ channel:notesStream {"type":"note","body":{"id":"n2","userId":"x1"}}
"#,
    );
}

#[test]
fn members_of_a_list_come_and_go() {
    check(
        misskey(),
        r#"
> {"type":"connect","body":{"channel":"userList","id":"a","params":{"listId":"L1"}}}
+ channel:userListStream:L1
? List("L1")
members x1
+ channel:notesStream 1
@ channel:userListStream:L1 {"type":"userAdded","body":{"id":"x2","name":null}}
< {"type":"channel","body":{"id":"a","type":"userAdded","body":{"id":"x2","name":null}}}
want channel:notesStream 2
@ channel:notesStream {"type":"note","body":{"id":"n1","userId":"x2"}}
< {"type":"channel","body":{"id":"a","type":"note","body":{"id":"n1","userId":"x2"}}}
@ channel:userListStream:L1 {"type":"userRemoved","body":{"id":"x1"}}
< {"type":"channel","body":{"id":"a","type":"userRemoved","body":{"id":"x1"}}}
want channel:notesStream 1
@ channel:notesStream {"type":"note","body":{"id":"n2","userId":"x1"}}
> {"type":"connect","body":{"channel":"userList","id":"b","params":{"listId":"L1"}}}
? List("L1")
refused
> {"type":"disconnect","body":{"id":"a"}}
- channel:userListStream:L1
- channel:notesStream
> {"type":"connect","body":{"channel":"userList","id":"b","params":{"listId":"L2"}}}
+ channel:userListStream:L2
? List("L2")
refused
- channel:userListStream:L2
"#,
    );
}

#[test]
fn a_list_is_read_anew_when_its_changes_may_have_been_missed() {
    check(
        misskey(),
        r#"
> {"type":"connect","body":{"channel":"userList","id":"a","params":{"listId":"L1"}}}
+ channel:userListStream:L1
? List("L1")
resumed channel:userListStream:L1
resumed channel:userListStream:L1
members x1
+ channel:notesStream 1
? List("L1")
members x1
want channel:notesStream 1
resumed channel:userListStream:L2
resumed channel:userListStream:L1
? List("L1")
> {"type":"connect","body":{"channel":"main","id":"b"}}
@ channel:userListStream:L1 {"type":"userAdded","body":{"id":"x4"}}
< {"type":"channel","body":{"id":"a","type":"userAdded","body":{"id":"x4"}}}
want channel:notesStream 2
members x2 x3
want channel:notesStream 3
resumed channel:userListStream:L1
? List("L1")
refused
@ channel:notesStream {"type":"note","body":{"id":"n1","userId":"x4"}}
< {"type":"channel","body":{"id":"a","type":"note","body":{"id":"n1","userId":"x4"}}}
"#,
    );
}

#[test]
fn a_role_or_an_antenna_that_is_gone_closes_its_channels() {
    check(
        misskey(),
        r#"
> {"type":"connect","body":{"channel":"roleTimeline","id":"a","params":{"roleId":"r1"}}}
? Role("r1")
allowed
+ channel:roleTimelineStream:r1
> {"type":"connect","body":{"channel":"roleTimeline","id":"b","params":{"roleId":"r1"}}}
? Role("r1")
allowed
@ channel:roleTimelineStream:r1 {"type":"note","body":{"id":"n1","userId":"x1"}}
< {"type":"channel","body":{"id":"a","type":"note","body":{"id":"n1","userId":"x1"}}}
< {"type":"channel","body":{"id":"b","type":"note","body":{"id":"n1","userId":"x1"}}}
@ channel:roleTimelineStream:r1 {"type":"note","body":{"id":"n2","userId":"m1"}}
! withheld Filtered
news channel:roleTimelineStream:r1 role-closed
- channel:roleTimelineStream:r1
@ channel:roleTimelineStream:r1 {"type":"note","body":{"id":"n3","userId":"x1"}}
> {"type":"connect","body":{"channel":"antenna","id":"a","params":{"antennaId":"a1"}}}
? Antenna("a1")
allowed
+ channel:antennaStream:a1
+ channel:notesStream none
news channel:antennaStream:a1 antenna-gone
- channel:antennaStream:a1
- channel:notesStream
"#,
    );
}
