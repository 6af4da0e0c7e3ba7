//! Each rule as a fact, for a user with a few relations and for a visitor.

use std::sync::Arc;

use broker::misskey::viewer::{Me, Visitors};
use serde_json::{Value, json};

use super::super::{copy, happened::Happened, personal, personal::Share};
use super::*;
use crate::interest::Interest;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn set(field: Field, ids: &str) -> KeySet {
    ids.split_whitespace().map(|id| field.key(id)).collect()
}

/// `me`, who follows `f`, `all` (with replies) and `loud` (whose renotes are muted),
/// mutes `m` and `bad.example`, is blocked by `b`, and follows the channels `c`
/// and `quiet`, which is muted as well.
fn me() -> Viewer {
    let id: Arc<str> = "me".into();
    Viewer {
        me: Some(Me {
            key: Field::User.key(&id),
            id,
        }),
        following: set(Field::User, "f all loud"),
        with_replies: set(Field::User, "all"),
        muting: set(Field::User, "m"),
        blocked_by: set(Field::User, "b"),
        renote_muting: set(Field::User, "loud"),
        followed_channels: set(Field::Channel, "c quiet"),
        muted_channels: set(Field::Channel, "quiet"),
        muted_servers: set(Field::Server, "bad.example"),
        ..Viewer::default()
    }
}

fn visitor() -> Viewer {
    Viewer::default()
}

const WISHES: Wishes = Wishes {
    renotes: true,
    replies: false,
    files: false,
};

fn home() -> Timeline {
    Timeline::Home(WISHES)
}

fn local() -> Timeline {
    Timeline::Local(WISHES)
}

fn hybrid() -> Timeline {
    Timeline::Hybrid(WISHES)
}

fn global() -> Timeline {
    Timeline::Global(WISHES)
}

fn list(members: &str) -> Timeline {
    Timeline::List(set(Field::User, members), WISHES)
}

fn tag(tag: &str) -> Timeline {
    let json = format!(r#"{{"q":[["{tag}"]]}}"#);
    let params = Params::read(serde_json::from_str(&json).ok());
    Timeline::Hashtag(Hashtags::read(&params).unwrap())
}

fn channel(id: &str) -> Timeline {
    Timeline::Channel(Some(Field::Channel.key(id)))
}

/// A note of this author with these members.
fn by(author: &str, members: Value) -> Value {
    let mut note = json!({"id": "n", "userId": author, "text": "t"});
    let Value::Object(members) = members else {
        panic!("no members: {members}");
    };
    note.as_object_mut().unwrap().extend(members);
    note
}

/// A pure renote of this note.
fn renote(author: &str, target: Value) -> Value {
    let mut note = by(author, json!({"text": null, "renoteId": "r"}));
    note["renote"] = target;
    note
}

/// An answer to this note.
fn reply(author: &str, target: Value) -> Value {
    let mut note = by(author, json!({"replyId": "p"}));
    note["reply"] = target;
    note
}

/// What the viewer gets of the note on the timeline.
fn gets(timeline: &Timeline, viewer: &Viewer, note: &Value) -> Option<Value> {
    let body = note.to_string();
    let note = Note::parse(&body).unwrap_or_else(|| panic!("no note: {body}"));
    let view = timeline.takes(&note, viewer, NOW)?;
    let own = copy::note(&body, &view).unwrap();
    let sent = if view.is_whole() { &body } else { &own };
    Some(serde_json::from_str(sent).unwrap())
}

#[track_caller]
fn shows(timeline: &Timeline, viewer: &Viewer, note: Value) {
    assert_eq!(gets(timeline, viewer, &note), Some(note));
}

#[track_caller]
fn drops(timeline: &Timeline, viewer: &Viewer, note: &Value) {
    assert_eq!(gets(timeline, viewer, note), None);
}

#[test]
fn home_shows_notes_of_those_one_follows_and_one_s_own() {
    shows(&home(), &me(), by("f", json!({})));
    shows(&home(), &me(), by("me", json!({"visibility": "specified"})));
    drops(&home(), &me(), &by("x", json!({})));
    drops(&home(), &visitor(), &by("f", json!({})));
}

#[test]
fn home_shows_notes_in_channels_one_follows_whoever_wrote_them() {
    shows(&home(), &me(), by("x", json!({"channelId": "c"})));
    drops(&home(), &me(), &by("f", json!({"channelId": "other"})));
    drops(&home(), &me(), &by("me", json!({"channelId": "other"})));
}

#[test]
fn who_may_see_a_note_is_its_author_s_choice() {
    let to = |visibility: &str, more: Value| {
        let mut note = by("f", more);
        note["visibility"] = visibility.into();
        note
    };
    shows(&home(), &me(), to("home", json!({})));
    shows(&home(), &me(), to("followers", json!({})));
    drops(
        &home(),
        &me(),
        &to("specified", json!({"visibleUserIds": ["x"]})),
    );
    shows(
        &home(),
        &me(),
        to("specified", json!({"visibleUserIds": ["x", "me"]})),
    );
    drops(
        &home(),
        &me(),
        &to("specified", json!({"mentions": ["me"]})),
    );
    drops(&home(), &me(), &to("circle", json!({})));

    let followers = |more: Value| {
        let mut note = by("x", more);
        note["visibility"] = "followers".into();
        note
    };
    drops(&list("x"), &me(), &followers(json!({})));
    shows(&list("x"), &me(), followers(json!({"mentions": ["me"]})));
    shows(
        &list("x"),
        &me(),
        followers(json!({"replyId": "p", "reply": by("me", json!({}))})),
    );
    shows(
        &list("me"),
        &me(),
        by("me", json!({"visibility": "followers"})),
    );
    drops(&tag("t"), &visitor(), &followers(json!({"tags": ["t"]})));
    drops(
        &tag("t"),
        &visitor(),
        &by("x", json!({"tags": ["t"], "visibility": "specified"})),
    );
}

#[test]
fn home_shows_replies_that_are_near() {
    drops(&home(), &me(), &reply("f", by("x", json!({}))));
    shows(&home(), &me(), reply("f", by("f", json!({}))));
    shows(
        &home(),
        &me(),
        reply("f", by("me", json!({"visibility": "followers"}))),
    );
    shows(&home(), &me(), reply("me", by("x", json!({}))));
    shows(
        &home(),
        &me(),
        by("f", json!({"replyId": "p", "reply": null})),
    );
}

#[test]
fn home_shows_all_replies_of_those_whose_replies_are_wanted_to_what_one_may_know() {
    shows(&home(), &me(), reply("all", by("x", json!({}))));
    shows(
        &home(),
        &me(),
        reply("all", by("f", json!({"visibility": "followers"}))),
    );
    shows(
        &home(),
        &me(),
        reply("all", by("me", json!({"visibility": "followers"}))),
    );
    drops(
        &home(),
        &me(),
        &reply("all", by("x", json!({"visibility": "followers"}))),
    );
}

#[test]
fn a_renote_is_shown_if_renotes_are_wanted() {
    let none = |timeline: fn(Wishes) -> Timeline| {
        timeline(Wishes {
            renotes: false,
            ..WISHES
        })
    };
    let plain = renote("f", by("x", json!({})));
    let quote = by("f", json!({"renoteId": "r", "renote": by("x", json!({}))}));
    for timeline in [
        Timeline::Home,
        Timeline::Local,
        Timeline::Hybrid,
        Timeline::Global,
    ] {
        shows(&timeline(WISHES), &me(), plain.clone());
        drops(&none(timeline), &me(), &plain);
        shows(&none(timeline), &me(), quote.clone());
    }
    let members = || set(Field::User, "f");
    shows(&Timeline::List(members(), WISHES), &me(), plain.clone());
    drops(
        &none(|wishes| Timeline::List(set(Field::User, "f"), wishes)),
        &me(),
        &plain,
    );
}

#[test]
fn a_renote_of_an_answer_to_what_one_may_not_know_is_not_shown_at_home() {
    let answered = |author: &str| {
        let secret = by(author, json!({"visibility": "followers"}));
        renote("f", reply("f", secret))
    };
    for timeline in [home(), hybrid()] {
        drops(&timeline, &me(), &answered("x"));
        shows(&timeline, &me(), answered("f"));
        shows(&timeline, &me(), answered("me"));
    }
}

#[test]
fn only_notes_with_files_are_shown_if_only_those_are_wanted() {
    let files = Wishes {
        files: true,
        ..WISHES
    };
    let with = by("f", json!({"fileIds": ["d"], "files": [{"id": "d"}]}));
    for timeline in [
        Timeline::Home(files),
        Timeline::Local(files),
        Timeline::Hybrid(files),
        Timeline::Global(files),
        Timeline::List(set(Field::User, "f"), files),
    ] {
        shows(&timeline, &me(), with.clone());
        drops(&timeline, &me(), &by("f", json!({"fileIds": []})));
    }
}

#[test]
fn whom_one_mutes_or_is_blocked_by_is_seen_nowhere() {
    for user in ["m", "b"] {
        for note in [
            by(user, json!({"tags": ["t"]})),
            reply("me", by(user, json!({}))),
            renote("me", by(user, json!({}))),
            by(
                "me",
                json!({"renoteId": "r", "renote": by(user, json!({}))}),
            ),
        ] {
            for timeline in [
                local(),
                hybrid(),
                global(),
                Timeline::Role,
                Timeline::Antenna,
            ] {
                drops(&timeline, &me(), &note);
            }
        }
        drops(&tag("t"), &me(), &by(user, json!({"tags": ["t"]})));
        drops(&list(user), &me(), &by(user, json!({})));
        drops(&channel("x"), &me(), &by(user, json!({"channelId": "x"})));
    }
}

#[test]
fn a_muted_server_is_muted_by_its_exact_name() {
    let from = |host: &str| json!({"user": {"id": "x", "host": host}});
    drops(&global(), &me(), &by("x", from("bad.example")));
    drops(&global(), &me(), &reply("x", by("y", from("bad.example"))));
    drops(&global(), &me(), &renote("x", by("y", from("bad.example"))));
    shows(&global(), &me(), by("x", from("sub.bad.example")));
    shows(&global(), &me(), by("x", from("BAD.example")));
}

#[test]
fn of_one_whose_renotes_are_muted_only_pure_renotes_are_missed() {
    drops(&home(), &me(), &renote("loud", by("x", json!({}))));
    shows(
        &home(),
        &me(),
        by(
            "loud",
            json!({"renoteId": "r", "renote": by("x", json!({}))}),
        ),
    );
    shows(&home(), &me(), renote("f", by("loud", json!({}))));
}

#[test]
fn a_muted_channel_is_seen_only_by_who_looks_at_it() {
    let within = |channel: &str| by("x", json!({"channelId": channel}));
    drops(&home(), &me(), &within("quiet"));
    shows(&channel("quiet"), &me(), within("quiet"));
    drops(&home(), &me(), &renote("f", within("quiet")));
    let mut same = renote("f", within("quiet"));
    same["channelId"] = "quiet".into();
    shows(&channel("quiet"), &me(), same.clone());
    same["channelId"] = "c".into();
    drops(&channel("c"), &me(), &same);
}

#[test]
fn local_shows_public_notes_of_this_host_outside_of_channels() {
    for viewer in [me(), visitor()] {
        shows(&local(), &viewer, by("x", json!({})));
        shows(
            &local(),
            &viewer,
            by("x", json!({"user": {"id": "x", "host": null}})),
        );
        drops(
            &local(),
            &viewer,
            &by("x", json!({"user": {"id": "x", "host": "far.example"}})),
        );
        drops(&local(), &viewer, &by("f", json!({"visibility": "home"})));
        drops(
            &local(),
            &viewer,
            &by("f", json!({"visibility": "followers"})),
        );
        drops(
            &local(),
            &viewer,
            &by(
                "f",
                json!({"visibility": "specified", "visibleUserIds": ["me"]}),
            ),
        );
        drops(&local(), &viewer, &by("f", json!({"channelId": "c"})));
    }
}

#[test]
fn local_shows_replies_to_visitors_and_to_those_who_want_them() {
    let answer = || reply("x", by("f", json!({})));
    drops(&local(), &me(), &answer());
    shows(&local(), &visitor(), answer());
    let replies = Timeline::Local(Wishes {
        replies: true,
        ..WISHES
    });
    shows(&replies, &me(), answer());
    shows(&local(), &me(), reply("all", by("x", json!({}))));
    shows(&local(), &me(), reply("x", by("x", json!({}))));
    shows(&local(), &me(), reply("x", by("me", json!({}))));
}

#[test]
fn hybrid_shows_what_home_and_local_do() {
    shows(&hybrid(), &me(), by("x", json!({})));
    shows(
        &hybrid(),
        &me(),
        by("f", json!({"visibility": "followers"})),
    );
    shows(&hybrid(), &me(), by("x", json!({"channelId": "c"})));
    shows(
        &hybrid(),
        &me(),
        by("f", json!({"user": {"id": "f", "host": "far.example"}})),
    );
    drops(&hybrid(), &me(), &by("x", json!({"visibility": "home"})));
    drops(&hybrid(), &me(), &by("x", json!({"channelId": "other"})));
    drops(
        &hybrid(),
        &me(),
        &by("x", json!({"user": {"id": "x", "host": "far.example"}})),
    );
    drops(&hybrid(), &me(), &reply("x", by("f", json!({}))));
    let replies = Timeline::Hybrid(Wishes {
        replies: true,
        ..WISHES
    });
    shows(&replies, &me(), reply("x", by("f", json!({}))));
    drops(
        &replies,
        &me(),
        &reply("x", by("y", json!({"visibility": "followers"}))),
    );
}

#[test]
fn global_shows_all_public_notes_and_all_replies() {
    shows(
        &global(),
        &me(),
        by("x", json!({"user": {"id": "x", "host": "far.example"}})),
    );
    shows(&global(), &me(), reply("f", by("x", json!({}))));
    drops(&global(), &me(), &by("f", json!({"visibility": "home"})));
    drops(&global(), &me(), &by("f", json!({"channelId": "c"})));
}

#[test]
fn a_list_shows_its_members_without_their_replies_to_others() {
    shows(&list("x y"), &me(), by("x", json!({})));
    drops(&list("x y"), &me(), &by("f", json!({})));
    drops(&list("x"), &me(), &by("x", json!({"channelId": "c"})));
    drops(&list("all"), &me(), &reply("all", by("x", json!({}))));
    shows(&list("f"), &me(), reply("f", by("me", json!({}))));
}

#[test]
fn a_channel_shows_its_own_notes() {
    shows(
        &channel("c"),
        &visitor(),
        by("x", json!({"channelId": "c"})),
    );
    drops(
        &channel("c"),
        &visitor(),
        &by("x", json!({"channelId": "other"})),
    );
    drops(&channel("c"), &visitor(), &by("x", json!({})));
    drops(&Timeline::Channel(None), &me(), &by("f", json!({})));
}

#[test]
fn a_role_shows_public_notes_only() {
    shows(
        &Timeline::Role,
        &visitor(),
        by("x", json!({"channelId": "c"})),
    );
    drops(
        &Timeline::Role,
        &me(),
        &by("f", json!({"visibility": "home"})),
    );
}

#[test]
fn who_requires_a_sign_in_is_not_seen_by_visitors() {
    let shy = |user: &str| {
        by(
            user,
            json!({"channelId": "c", "user": {"id": user, "requireSigninToViewContents": true}}),
        )
    };
    for note in [
        shy("x"),
        by(
            "y",
            json!({"channelId": "c", "replyId": "p", "reply": shy("x")}),
        ),
        by(
            "y",
            json!({"channelId": "c", "renoteId": "r", "renote": shy("x")}),
        ),
    ] {
        shows(&channel("c"), &me(), note.clone());
        drops(&channel("c"), &visitor(), &note);
        drops(&Timeline::Role, &visitor(), &note);
    }
}

#[test]
fn visitors_see_what_the_host_lets_them() {
    let to = |visitors| Viewer {
        visitors,
        ..visitor()
    };
    let remote = || by("x", json!({"user": {"id": "x", "host": "far.example"}}));
    shows(&global(), &to(Visitors::All), remote());
    drops(&global(), &to(Visitors::Local), &remote());
    shows(&global(), &to(Visitors::Local), by("x", json!({})));
    drops(&global(), &to(Visitors::None), &by("x", json!({})));
    let viewer = Viewer {
        visitors: Visitors::None,
        ..me()
    };
    shows(&global(), &viewer, remote());
}

/// What a hidden note is shown as.
fn blank(mut note: Value) -> Value {
    for (name, value) in [
        ("text", Value::Null),
        ("cw", Value::Null),
        ("fileIds", json!([])),
        ("files", json!([])),
        ("isHidden", json!(true)),
    ] {
        note[name] = value;
    }
    note
}

#[test]
fn what_is_quoted_is_shown_only_to_those_who_may_see_it() {
    let secret = || {
        by(
            "x",
            json!({"visibility": "followers", "poll": {"choices": []}}),
        )
    };
    drops(&home(), &me(), &renote("f", secret()));
    let quote = |target: Value| by("f", json!({"renoteId": "r", "renote": target}));
    let mut hidden = blank(secret());
    hidden.as_object_mut().unwrap().remove("poll");
    assert_eq!(gets(&home(), &me(), &quote(secret())), Some(quote(hidden)));
    let quoted_twice = quote(quote(by(
        "x",
        json!({"visibility": "specified", "visibleUserIds": ["y"]}),
    )));
    let hidden = blank(by("x", json!({"visibility": "specified"})));
    assert_eq!(
        gets(&home(), &me(), &quoted_twice),
        Some(quote(quote(hidden)))
    );
    drops(&home(), &me(), &renote("f", quote(secret())));
}

#[test]
fn what_is_answered_is_shown_only_to_those_who_may_see_it() {
    let secret = || by("x", json!({"visibility": "specified"}));
    let hidden = blank(secret());
    let given = reply("all", secret());
    assert_eq!(
        gets(&home(), &me(), &given),
        Some(reply("all", hidden.clone()))
    );
    let given = renote("f", reply("y", secret()));
    assert_eq!(
        gets(&home(), &me(), &given),
        Some(renote("f", reply("y", hidden)))
    );
}

#[test]
fn nothing_hidden_leaves_within_a_reply() {
    let secret = || by("x", json!({"visibility": "specified"}));
    drops(&home(), &me(), &reply("all", reply("y", secret())));
    drops(&home(), &me(), &reply("all", renote("y", secret())));
    shows(&home(), &me(), reply("all", reply("y", by("x", json!({})))));
}

#[test]
fn an_author_hides_what_is_old() {
    let second = NOW.millis() / 1000;
    let old = |age: i64, before: i64, author: &str| {
        let at = Timestamp::from_millis((second - age) * 1000).to_string();
        by(
            author,
            json!({"createdAt": at, "user": {"id": author, "makeNotesHiddenBefore": before}}),
        )
    };
    for (age, before, hidden) in [
        (60, -60, true),
        (59, -60, false),
        (1, 0, true),
        (10, second - 10, true),
        (10, second - 11, false),
        (-5, second, false),
    ] {
        let given = old(age, before, "f");
        let expected = if hidden {
            blank(given.clone())
        } else {
            given.clone()
        };
        assert_eq!(
            gets(&home(), &me(), &given),
            Some(expected),
            "{age} {before}"
        );
        shows(&home(), &me(), old(age, before, "me"));
    }
    let undated = by(
        "f",
        json!({"user": {"id": "f", "makeNotesHiddenBefore": second}}),
    );
    assert_eq!(gets(&home(), &me(), &undated), Some(blank(undated)));
}

#[test]
fn a_renote_bears_one_s_own_reaction_to_its_target() {
    let target = |pairs: Value, count: u64| {
        by(
            "x",
            json!({"reactions": {"👍": count}, "reactionAndUserPairCache": pairs}),
        )
    };
    let mine = json!(["y/👍", "me/:blob:"]);
    let given = renote("f", target(mine.clone(), 2));
    let mut expected = given.clone();
    expected["renote"]["myReaction"] = ":blob@.:".into();
    assert_eq!(gets(&home(), &me(), &given), Some(expected));
    shows(&global(), &visitor(), given);
    shows(&home(), &me(), renote("f", target(json!(["y/👍"]), 1)));
    shows(&home(), &me(), renote("f", target(mine.clone(), 0)));
    shows(
        &home(),
        &me(),
        by("f", json!({"renoteId": "r", "renote": target(mine, 2)})),
    );
}

#[test]
fn what_is_wanted_is_read_with_its_defaults() {
    let read = |json: &str| Wishes::read(&Params::read(serde_json::from_str(json).ok()));
    assert_eq!(read("{}"), WISHES);
    assert_eq!(
        read(r#"{"withRenotes":null,"withFiles":null,"withReplies":null}"#),
        WISHES
    );
    let other = Wishes {
        renotes: false,
        replies: true,
        files: true,
    };
    assert_eq!(
        read(r#"{"withRenotes":0,"withFiles":"false","withReplies":[]}"#),
        other
    );
}

#[test]
fn an_event_of_a_watched_note_concerns_those_who_may_see_the_note() {
    let concerns = |body: Value, viewer: &Viewer| {
        let happened = Happened::read(&body.to_string()).expect("it is one");
        assert_eq!(happened.body.get(), "5");
        assert_eq!(
            happened.concerns(viewer, true),
            happened.concerns(viewer, false)
        );
        happened.concerns(viewer, false)
    };
    let of = |author: &str, visibility: &str, listed: &[&str]| json!({"id": "n", "userId": author, "visibility": visibility, "visibleUserIds": listed, "body": 5});
    for (body, user, anybody) in [
        (of("x", "public", &[]), true, true),
        (of("m", "home", &[]), true, true),
        (of("x", "followers", &["me"]), false, false),
        (of("f", "followers", &[]), true, false),
        (of("me", "followers", &[]), true, false),
        (of("x", "specified", &["y"]), false, false),
        (of("f", "specified", &[]), false, false),
        (of("x", "specified", &["me"]), true, false),
        (of("me", "specified", &[]), true, false),
        (of("f", "circle", &[]), false, false),
        (
            json!({"userId": "x", "visibleUserIds": [], "body": 5}),
            true,
            true,
        ),
        (json!({"visibility": "followers", "body": 5}), false, false),
    ] {
        assert_eq!(concerns(body.clone(), &me()), user, "{body}");
        assert_eq!(concerns(body.clone(), &visitor()), anybody, "{body}");
        let none = Viewer {
            visitors: Visitors::None,
            ..visitor()
        };
        assert!(!concerns(body, &none));
    }
}

#[test]
fn an_event_that_tells_nothing_of_its_note_is_for_hosts_that_speak_so() {
    let bare = Happened::read(r#"{"id":"n","body":{"choice":1}}"#).unwrap();
    for viewer in [me(), visitor()] {
        assert!(bare.concerns(&viewer, true));
        assert!(!bare.concerns(&viewer, false));
    }
    for body in [
        "null",
        r#"{"id":"n","userId":"x"}"#,
        r#"{"userId":5,"body":1}"#,
    ] {
        assert!(Happened::read(body).is_none(), "{body}");
    }
}

fn share(kind: &str, body: &Value) -> Share {
    let frame = json!({"v": 1, "type": kind, "body": body}).to_string();
    let event = broker::event::Event::parse(frame.as_bytes()).unwrap();
    personal::share(&event, &me())
}

#[test]
fn who_is_muted_notifies_nobody() {
    let of = |body| share("notification", &body);
    for body in [
        json!({"type": "follow", "userId": "m"}),
        json!({"type": "follow", "user": {"id": "m"}}),
        json!({"type": "follow", "userId": "x", "user": {"id": "x", "host": "bad.example"}}),
    ] {
        assert_eq!(of(body), Share::Nothing);
    }
    for body in [
        json!({"type": "follow", "userId": "x", "user": {"id": "x", "host": null}}),
        json!({"type": "reaction", "userId": "b", "note": by("m", json!({}))}),
        json!({"type": "login", "createdAt": ""}),
        json!(null),
    ] {
        assert_eq!(of(body), Share::Whole);
    }
    let hidden = json!({"userId": "x", "note": {"id": "n7", "userId": "x", "isHidden": true}});
    assert_eq!(of(hidden), Share::Again("n7".into()));
}

#[test]
fn a_mention_is_shown_like_a_note() {
    let of = |body| share("mention", &body);
    assert_eq!(of(by("x", json!({"mentions": ["me"]}))), Share::Whole);
    assert_eq!(of(by("m", json!({}))), Share::Nothing);
    assert_eq!(of(by("b", json!({}))), Share::Nothing);
    assert_eq!(
        of(by("x", json!({"user": {"host": "bad.example"}}))),
        Share::Nothing
    );
    assert_eq!(
        of(by("x", json!({"visibility": "specified"}))),
        Share::Nothing
    );
    assert_eq!(of(json!({"id": 5})), Share::Nothing);
    assert_eq!(
        of(by("x", json!({"isHidden": true}))),
        Share::Again("n".into())
    );
}

#[test]
fn whatever_else_is_meant_for_a_user_is_passed_on() {
    for kind in [
        "reply",
        "renote",
        "unreadNotification",
        "followed",
        "unknown",
    ] {
        assert_eq!(share(kind, &by("m", json!({}))), Share::Whole, "{kind}");
    }
}

#[test]
fn a_timeline_is_found_by_a_key_of_every_note_that_it_takes() {
    let finds = |timeline: &Timeline, note: Value| {
        let note = Note::parse(&note.to_string()).unwrap();
        let Interest::Keys(wanted) = interest([timeline], [], &me()) else {
            panic!("a timeline wants everything");
        };
        let borne: Vec<_> = keys(&note).iter().collect();
        wanted.iter().any(|key| borne.contains(&key))
    };
    assert!(finds(&home(), by("f", json!({}))));
    assert!(finds(&home(), by("me", json!({}))));
    assert!(finds(&home(), by("x", json!({"channelId": "c"}))));
    assert!(!finds(&home(), by("x", json!({}))));
    assert!(!finds(&home(), by("f", json!({"channelId": "other"}))));
    assert!(finds(&local(), by("x", json!({}))));
    assert!(!finds(
        &local(),
        by("x", json!({"user": {"host": "far.example"}}))
    ));
    assert!(finds(
        &global(),
        by("x", json!({"user": {"host": "far.example"}}))
    ));
    assert!(!finds(&global(), by("x", json!({"visibility": "home"}))));
    assert!(finds(&list("x"), by("x", json!({}))));
    assert!(finds(&tag("T"), by("x", json!({"tags": ["t"]}))));
    assert!(finds(&channel("q"), by("x", json!({"channelId": "q"}))));
    assert!(!finds(&Timeline::Role, by("f", json!({}))));
}

#[test]
fn those_whom_one_follows_are_not_copied() {
    let viewer = me();
    let Interest::Keys(keys) = interest([&home(), &hybrid(), &local()], [], &viewer) else {
        panic!("a timeline wants everything");
    };
    let (shared, own) = (3, 2 + 1 + 1);
    assert_eq!(
        keys.iter().count(),
        shared + own,
        "channels, me and everybody"
    );
    assert_eq!(interest([], [], &viewer), Interest::none());
}
