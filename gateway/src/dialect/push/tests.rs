//! Conversations of the push dialect.
//!
//! What happens stands at the margin, what the dialect answers is indented:
//!
//! * `open`, `subscribed r`, `subscribed all`, `gap r`, `woken`, `time <ms>`
//! * `event m3 <text>`: message 3 comes live; `global g4 <text>` on the topic of all
//! * `page m1=a m2=b` and `page+ …` if there are more: the answer to a backlog
//! * `claimed g4 as m7`; `flushed m1`, `expired m1`; `revoked`; `> <frame>` from the client

use broker::event::{Event, message_payload, revoked_payload};
use broker::message::{Draft, Status};
use broker::topic::Tenant;

use super::*;

struct Conversation {
    dialect: Push,
    recipient: Topic,
    all: Topic,
    now: Timestamp,
    /// The label and expiry that events are published with.
    label: Option<&'static str>,
    expires_at: Option<i64>,
}

fn conversation(form: Form, label: Option<&str>) -> Conversation {
    let tenant: Tenant = "acme".parse().unwrap();
    let recipient = Topic::recipient(&tenant, "r");
    Conversation {
        dialect: Push::new(
            recipient.clone(),
            label.map(Into::into),
            form,
            Timestamp::from_millis(0),
        ),
        all: Topic::all(&tenant),
        recipient,
        now: Timestamp::from_millis(1000),
        label: None,
        expires_at: None,
    }
}

#[track_caller]
fn check(conversation: &mut Conversation, script: &str) {
    let mut answers: Vec<String> = Vec::new();
    let mut told = String::new();
    for line in script.lines().filter(|line| !line.trim().is_empty()) {
        if let Some(expected) = line.strip_prefix("    ") {
            let answer = if answers.is_empty() {
                "nothing".into()
            } else {
                answers.remove(0)
            };
            assert_eq!(answer, expected, "after: {told}");
        } else {
            assert!(answers.is_empty(), "after: {told}, unexpected: {answers:?}");
            line.clone_into(&mut told);
            answers = conversation.tell(line);
        }
    }
    assert!(answers.is_empty(), "after: {told}, unexpected: {answers:?}");
}

fn delivery(entry: &str, payload: &str) -> Delivery {
    let frame = format!("{entry} {payload}");
    Delivery::new(Arc::new(Event::parse(frame.as_bytes()).unwrap()))
}

impl Conversation {
    fn id(&self, name: &str) -> MessageId {
        let millis = name[1..].parse().unwrap();
        let topic = if name.starts_with('g') {
            &self.all
        } else {
            &self.recipient
        };
        MessageId {
            millis,
            sequence: 0,
            partition: topic.partition(),
        }
    }

    fn topic(&self, name: &str) -> Topic {
        if name == "all" {
            self.all.clone()
        } else {
            self.recipient.clone()
        }
    }

    fn message(&self, id: &str, text: &str) -> Delivery {
        let draft = Draft {
            text: text.into(),
            label: self.label.map(Into::into),
            expires_at: self.expires_at.map(Timestamp::from_millis),
            deliver_at: None,
        };
        let entry = format!("{}-0", &id[1..]);
        delivery(&entry, &message_payload(&draft))
    }

    /// `<id>[@<place>]=<text>[/<global>]`
    fn stored(&self, text: &str) -> Message {
        let (id, text) = text.split_once('=').unwrap();
        let (id, place) = match id.split_once('@') {
            Some((id, place)) => (id, Some(self.id(place))),
            None => (id, None),
        };
        let (text, global) = text.split_once("/").unwrap_or((text, ""));
        Message {
            id: self.id(id),
            recipient: "r".into(),
            text: text.into(),
            label: None,
            expires_at: self.expires_at.map(Timestamp::from_millis),
            status: Status::Pending,
            global_id: (!global.is_empty()).then(|| self.id(global)),
            deliver_at: place.map(MessageId::created_at),
            place,
        }
    }

    fn tell(&mut self, line: &str) -> Vec<String> {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        let now = self.now;
        let effects = match what {
            "open" => self.dialect.open(now),
            ">" => self.dialect.receive(rest, now),
            "subscribed" => self
                .dialect
                .notice(Notice::Subscribed(&self.topic(rest)), now),
            "gap" => self.dialect.notice(Notice::Gap(&self.topic(rest)), now),
            "woken" => self.dialect.notice(Notice::Woken, now),
            "flushed" => self
                .dialect
                .notice(Notice::Flushed(&Tag::Message(self.id(rest))), now),
            "expired" => self
                .dialect
                .notice(Notice::Expired(&Tag::Message(self.id(rest))), now),
            "time" => {
                self.now = Timestamp::from_millis(rest.parse().unwrap());
                Vec::new()
            }
            "revoked" => {
                let revoked = Rc::new(delivery("0-0", &revoked_payload()));
                self.dialect.deliver(&self.recipient, &revoked, now)
            }
            "released" => {
                // `<where> <id> <text>`
                let mut words = rest.splitn(3, ' ');
                let (place, id) = (words.next().unwrap(), words.next().unwrap());
                let body = serde_json::json!({
                    "id": self.id(id).entry(),
                    "deliverAt": 1,
                    "message": words.next().unwrap(),
                });
                let event = serde_json::json!({"v": 1, "type": "message", "body": body});
                let released = delivery(&format!("{}-0", &place[1..]), &event.to_string());
                let global = place.starts_with('g');
                let topic = self.topic(if global { "all" } else { "r" });
                self.dialect.deliver(&topic, &Rc::new(released), now)
            }
            "event" | "global" => {
                let (id, text) = rest.split_once(' ').unwrap();
                let topic = if what == "event" {
                    &self.recipient
                } else {
                    &self.all
                };
                self.dialect
                    .deliver(topic, &Rc::new(self.message(id, text)), now)
            }
            "page" | "page+" => {
                let stored = rest.split_whitespace().map(|m| self.stored(m));
                let messages: Vec<_> = stored.collect();
                let last = messages.last().map(Message::place);
                let more = last.filter(|_| what == "page+");
                self.dialect.answer(Answer::Backlog { messages, more }, now)
            }
            "claimed" => {
                let (gid, id) = rest.split_once(" as ").unwrap();
                let global = GlobalMessage {
                    id: self.id(gid),
                    text: "to all".into(),
                    label: None,
                    expires_at: self.expires_at.map(Timestamp::from_millis),
                    deliver_at: None,
                };
                let answer = Answer::Claimed {
                    global: Arc::new(global),
                    id: self.id(id),
                };
                self.dialect.answer(answer, now)
            }
            _ => panic!("unknown: {line}"),
        };
        effects.iter().map(|effect| self.show(effect)).collect()
    }

    fn show_id(&self, id: MessageId) -> String {
        let kind = if id.partition == self.recipient.partition() {
            'm'
        } else {
            'g'
        };
        format!("{kind}{}", id.millis)
    }

    fn show_tag(&self, tag: &Tag) -> String {
        match tag {
            Tag::Message(id) => self.show_id(*id),
            Tag::Global(global) => self.show_id(global.id),
        }
    }

    fn show(&self, effect: &Effect) -> String {
        match effect {
            Effect::Send(outgoing) => {
                let bytes = outgoing.frame.parts()[0];
                let head = if bytes[1] < 126 { 2 } else { 4 };
                let text = str::from_utf8(&bytes[head..]).unwrap();
                match &outgoing.tag {
                    Some(tag) => format!("< {text} #{}", self.show_tag(tag)),
                    None => format!("< {text}"),
                }
            }
            Effect::Subscribe(topic, _) => format!("+ {topic}"),
            Effect::Unsubscribe(topic) => format!("- {topic}"),
            Effect::Ask(Errand::Backlog { after, .. }) => match after {
                Some(id) => format!("backlog after {}", self.show_id(*id)),
                None => "backlog".to_owned(),
            },
            Effect::Ask(Errand::Mark(mark)) => format!("mark {}", self.show_tag(&mark.what)),
            Effect::Ask(Errand::Claim { global, .. }) => {
                format!("claim {}", self.show_id(global.id))
            }
            Effect::Forward(_, message) => format!("forward {message}"),
            Effect::WakeAt(at) => format!("wake at {}", at.millis()),
            Effect::Want(..)
            | Effect::Count(_)
            | Effect::Ask(
                Errand::Identity(_)
                | Errand::Misskey(_)
                | Errand::Missed { .. }
                | Errand::Reached { .. },
            ) => {
                panic!("not of this dialect: {effect:?}")
            }
            Effect::Close(reason) => format!("close {}", reason.label()),
        }
    }
}

const OPENED: &str = "
open
    + acme:recipient:r
    + acme:all:
subscribed r
subscribed all
    backlog
";

fn live(form: Form) -> Conversation {
    let mut conversation = conversation(form, None);
    check(&mut conversation, OPENED);
    check(&mut conversation, "page");
    conversation
}

#[test]
fn the_two_kinds_of_topic_live_apart() {
    let conversation = conversation(Form::Raw, None);
    assert_ne!(
        conversation.recipient.partition(),
        conversation.all.partition()
    );
}

#[test]
fn a_raw_client_gets_the_text_alone_and_it_is_marked_once_flushed() {
    check(
        &mut live(Form::Raw),
        r#"
event m5 hello
    < hello #m5
flushed m5
    mark m5
> anything that the client says is ignored
"#,
    );
}

#[test]
fn what_waited_comes_first_and_what_happened_meanwhile_follows_in_order() {
    let mut conversation = conversation(Form::Raw, None);
    check(&mut conversation, OPENED);
    check(
        &mut conversation,
        "
event m4 four
event m3 three
page m1=one m2=two m3=three
    < one #m1
    < two #m2
    < three #m3
    wake at 11000
    < four #m4
event m3 three
event m5 five
    < five #m5
time 11000
woken
",
    );
}

#[test]
fn an_event_that_came_before_the_backlog_was_asked_for_is_not_lost() {
    let mut conversation = conversation(Form::Raw, None);
    check(
        &mut conversation,
        "
open
    + acme:recipient:r
    + acme:all:
subscribed r
event m1 early
subscribed all
    backlog
page
    < early #m1
",
    );
}

#[test]
fn a_long_backlog_is_sent_as_fast_as_it_is_taken() {
    let mut conversation = conversation(Form::Raw, None);
    check(&mut conversation, OPENED);
    check(
        &mut conversation,
        "
page+ m1=one m2=two
    < one #m1
    < two #m2
flushed m1
    mark m1
flushed m2
    mark m2
    backlog after m2
event m4 four
page m3=three m4=four
    < three #m3
    < four #m4
    wake at 11000
",
    );
}

#[test]
fn a_page_whose_last_message_expired_does_not_stall_the_next() {
    let mut conversation = conversation(Form::Raw, None);
    check(&mut conversation, OPENED);
    check(
        &mut conversation,
        "
page+ m1=one m2=two
    < one #m1
    < two #m2
flushed m1
    mark m1
expired m2
    backlog after m2
page
    wake at 11000
",
    );
}

#[test]
fn a_message_for_another_label_is_not_for_this_socket() {
    let mut conversation = conversation(Form::Raw, Some("news"));
    check(&mut conversation, OPENED);
    check(&mut conversation, "page");
    conversation.label = Some("sport");
    check(&mut conversation, "event m1 goal");
    conversation.label = Some("news");
    check(&mut conversation, "event m2 headline\n    < headline #m2");
    conversation.label = None;
    check(
        &mut conversation,
        "event m3 for all labels\n    < for all labels #m3",
    );
}

#[test]
fn a_socket_without_a_label_gets_only_messages_without_one() {
    let mut conversation = live(Form::Raw);
    conversation.label = Some("news");
    check(&mut conversation, "event m1 headline");
}

#[test]
fn what_has_expired_is_not_sent_on_any_path() {
    let mut conversation = live(Form::Raw);
    conversation.expires_at = Some(1000);
    check(&mut conversation, "event m1 late\nglobal g1 late");
    check(
        &mut conversation,
        "gap r\n    backlog\npage m2=late\n    wake at 11000",
    );
    let mut json = live(Form::Json);
    json.expires_at = Some(1000);
    check(&mut json, "claimed g1 as m2");
}

#[test]
fn after_a_gap_nothing_comes_twice() {
    check(
        &mut live(Form::Raw),
        "
event m1 one
    < one #m1
gap r
    backlog
gap all
event m3 three
page m1=one m2=two m3=three
    < two #m2
    < three #m3
    backlog
page m1=one m2=two m3=three
    wake at 11000
event m3 three
event m4 four
    < four #m4
",
    );
}

#[test]
fn what_a_store_told_and_lost_does_not_come_again_once_that_is_known() {
    check(
        &mut live(Form::Raw),
        "
gap r
    backlog
page m1=one
    < one #m1
    wake at 11000
gap r
    backlog
event m1 one
time 11000
woken
page
",
    );
}

#[test]
fn after_a_gap_what_a_redis_with_a_slow_clock_stored_is_read_too() {
    check(
        &mut live(Form::Raw),
        "
event m1000 one
    < one #m1000
event m20000 seen and then lost
    < seen and then lost #m20000
gap r
    backlog after m1000
page m15000=after
    < after #m15000
    wake at 11000
gap r
    backlog after m1000
page+ m15000=after m20000=before
    backlog after m20000
page
    wake at 11000
",
    );
}

#[test]
fn of_many_messages_at_once_not_all_are_read_again() {
    let mut conversation = live(Form::Raw);
    for n in 1..=100 {
        check(&mut conversation, &format!("event m{n} x\n    < x #m{n}"));
    }
    check(&mut conversation, "gap r\n    backlog after m36");
}

#[test]
fn a_page_that_holds_nothing_for_the_client_is_not_read_again() {
    let mut conversation = live(Form::Raw);
    conversation.expires_at = Some(1000);
    check(
        &mut conversation,
        "
gap r
    backlog
page+ m1=late m2=late
    backlog after m2
page
    wake at 11000
",
    );
}

#[test]
fn more_than_can_be_parked_is_read_from_the_store() {
    let mut conversation = conversation(Form::Raw, None);
    check(&mut conversation, OPENED);
    for n in 10..10 + 300 {
        check(&mut conversation, &format!("event m{n} x"));
    }
    check(&mut conversation, "page m1=one\n    < one #m1\n    backlog");
    let rest: Vec<_> = (10..310).map(|n| format!("m{n}=x")).collect();
    let sent: String = (10..310).map(|n| format!("\n    < x #m{n}")).collect();
    check(
        &mut conversation,
        &format!("page {}{sent}\n    wake at 11000", rest.join(" ")),
    );
}

#[test]
fn a_global_message_reaches_raw_clients_at_once_and_is_noted_after() {
    let mut conversation = live(Form::Raw);
    check(&mut conversation, "global g9 to all\n    < to all #g9");
}

#[test]
fn a_json_client_gets_its_own_copy_of_a_global_message() {
    let mut conversation = live(Form::Json);
    let (g9, m12) = (conversation.id("g9"), conversation.id("m12"));
    check(
        &mut conversation,
        &format!(
            "
global g9 to all
    claim g9
claimed g9 as m12
    < {{\"id\":\"{m12}\",\"message\":\"to all\",\"topic\":null,\
\"createdAt\":\"1970-01-01T00:00:00.012Z\",\"expiresAt\":null,\"globalMessageId\":\"{g9}\"}}
"
        ),
    );
}

#[test]
fn a_global_message_that_waited_is_not_sent_again_live() {
    let mut conversation = conversation(Form::Raw, None);
    check(&mut conversation, OPENED);
    check(
        &mut conversation,
        "
global g9 to all
page m12=to-all/g9
    < to-all #m12
    wake at 11000
",
    );
}

#[test]
fn after_a_gap_a_copy_of_what_came_live_is_not_sent_again() {
    check(
        &mut live(Form::Raw),
        "
global g9 to all
    < to all #g9
gap all
    backlog
page m12=to-all/g9 m13=other/g10
    < other #m13
    wake at 11000
",
    );
}

#[test]
fn a_json_client_acknowledges_by_id() {
    let mut conversation = live(Form::Json);
    let m5 = conversation.id("m5");
    check(
        &mut conversation,
        &format!(
            "
event m5 hello
    < {{\"id\":\"{m5}\",\"message\":\"hello\",\"topic\":null,\
\"createdAt\":\"1970-01-01T00:00:00.005Z\",\"expiresAt\":null,\"globalMessageId\":null}}
> {{\"ack\":[\"{m5}\"]}}
    mark m5
> {{\"ack\":[]}}
"
        ),
    );
}

#[test]
fn a_json_client_that_talks_nonsense_is_told_so() {
    for nonsense in [
        "",
        "hello",
        "{}",
        r#"{"ack":"x"}"#,
        r#"{"ack":["x"]}"#,
        r#"{"ack":[1]}"#,
    ] {
        let mut conversation = live(Form::Json);
        check(
            &mut conversation,
            &format!("> {nonsense}\n    close malformed"),
        );
    }
}

#[test]
fn a_json_backlog_is_paged_by_flushes_but_marked_by_acknowledgements() {
    let mut conversation = conversation(Form::Json, None);
    check(&mut conversation, OPENED);
    let frame = |conversation: &Conversation, id: &str| {
        format!(
            "< {{\"id\":\"{}\",\"message\":\"x\",\"topic\":null,\
\"createdAt\":\"1970-01-01T00:00:00.00{}Z\",\"expiresAt\":null,\"globalMessageId\":null}}",
            conversation.id(id),
            &id[1..]
        )
    };
    let (one, two) = (frame(&conversation, "m1"), frame(&conversation, "m2"));
    check(
        &mut conversation,
        &format!("page+ m1=x m2=x\n    {one}\n    {two} #m2\nflushed m2\n    backlog after m2"),
    );
}

#[test]
fn a_revoked_recipient_is_sent_away_at_any_time() {
    let mut opening = conversation(Form::Raw, None);
    check(&mut opening, OPENED);
    check(&mut opening, "revoked\n    close revoked");
    check(&mut live(Form::Json), "revoked\n    close revoked");
}

#[test]
fn a_released_message_is_marked_by_its_id_and_has_its_place_among_the_others() {
    check(
        &mut live(Form::Raw),
        "
event m5 hello
    < hello #m5
released m9 m2 scheduled
    < scheduled #m2
flushed m2
    mark m2
gap r
    backlog
page m5=hello m2@m9=scheduled m3@m10=missed
    < missed #m3
    wake at 11000
",
    );
    let mut json = live(Form::Json);
    let told = json.tell("released m9 m2 scheduled").concat();
    let id = json.id("m2");
    assert!(told.contains(&format!(r#""id":"{id}""#)), "{told}");
}

#[test]
fn a_release_during_the_backlog_follows_it_once() {
    let mut conversation = conversation(Form::Raw, None);
    check(&mut conversation, OPENED);
    check(
        &mut conversation,
        "
released m9 m2 scheduled
released m8 m3 earlier
event m7 seven
page+ m4=four m3@m8=earlier
    < four #m4
    < earlier #m3
flushed m3
    mark m3
    backlog after m8
page
    wake at 11000
    < seven #m7
    < scheduled #m2
released m8 m3 earlier
",
    );
}

#[test]
fn a_released_global_message_is_known_by_its_id() {
    check(
        &mut live(Form::Raw),
        "
released g9 g2 scheduled
    < scheduled #g2
released g9 g2 scheduled
",
    );
}
