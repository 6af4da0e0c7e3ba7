//! Which channels there are, who gets them, and what they tell.

use super::*;

#[test]
fn a_home_timeline_shows_notes_of_those_whom_the_user_follows() {
    check(
        misskey(),
        r#"
> {"type":"connect","body":{"channel":"homeTimeline","id":"a","pong":true}}
+ channel:notesStream 3
< {"type":"connected","body":{"id":"a"}}
@ channel:notesStream {"type":"note","body":{"id":"n1","userId":"f1","text":"x"}}
< {"type":"channel","body":{"id":"a","type":"note","body":{"id":"n1","userId":"f1","text":"x"}}}
@ channel:notesStream {"type":"note","body":{"id":"n2","userId":"x1","text":"x"}}
! withheld Filtered
> {"type":"disconnect","body":{"id":"a"}}
- channel:notesStream
"#,
    );
}

#[test]
fn one_note_is_one_frame_for_each_channel_that_takes_it() {
    check(
        misskey(),
        r#"
> {"type":"connect","body":{"channel":"localTimeline","id":"a"}}
+ channel:notesStream 1
> {"type":"connect","body":{"channel":"globalTimeline","id":"b"}}
want channel:notesStream 2
> {"type":"connect","body":{"channel":"homeTimeline","id":"c"}}
want channel:notesStream 5
@ channel:notesStream {"type":"note","body":{"id":"n1","userId":"f1","text":"x"}}
< {"type":"channel","body":{"id":"a","type":"note","body":{"id":"n1","userId":"f1","text":"x"}}}
< {"type":"channel","body":{"id":"b","type":"note","body":{"id":"n1","userId":"f1","text":"x"}}}
< {"type":"channel","body":{"id":"c","type":"note","body":{"id":"n1","userId":"f1","text":"x"}}}
> {"type":"disconnect","body":{"id":"a"}}
want channel:notesStream 4
"#,
    );
}
