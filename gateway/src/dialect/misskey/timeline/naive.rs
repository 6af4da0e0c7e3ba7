//! The same rules once more, as slowly and plainly as can be: over JSON as it is
//! and sets of strings, sharing nothing with what is tested against them.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

/// A set of ids.
pub(super) type Ids = HashSet<String>;

/// Who looks. Visitors have no name.
#[derive(Clone, Debug, Default)]
pub(super) struct Person {
    pub(super) name: Option<String>,
    /// Whom they follow, and whether with replies.
    pub(super) follows: HashMap<String, bool>,
    pub(super) mutes: Ids,
    pub(super) blockers: Ids,
    pub(super) mutes_renotes: Ids,
    pub(super) follows_channels: Ids,
    pub(super) mutes_channels: Ids,
    pub(super) mutes_hosts: Ids,
    /// What visitors see: all, local, none.
    pub(super) visitors: &'static str,
}

/// A channel and its parameters.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) name: &'static str,
    pub(super) with_renotes: bool,
    pub(super) with_replies: bool,
    pub(super) with_files: bool,
    pub(super) members: Ids,
    pub(super) q: Vec<Vec<String>>,
    pub(super) channel: String,
}

fn is_null(note: &Value, member: &str) -> bool {
    note[member].is_null()
}

fn listed(note: &Value, member: &str, who: &str) -> bool {
    let ids = note[member].as_array();
    ids.is_some_and(|ids| ids.iter().any(|id| id == who))
}

fn author(note: &Value) -> &str {
    note["userId"].as_str().unwrap()
}

fn host(note: &Value) -> &str {
    note["user"]["host"].as_str().unwrap_or("")
}

fn visibility(note: &Value) -> &str {
    match note.get("visibility") {
        None => "public",
        Some(said) => said.as_str().unwrap_or("specified"),
    }
}

fn has_files(note: &Value) -> bool {
    note["fileIds"]
        .as_array()
        .is_some_and(|ids| !ids.is_empty())
}

fn is_pure_renote(note: &Value) -> bool {
    !is_null(note, "renoteId")
        && is_null(note, "text")
        && is_null(note, "cw")
        && is_null(note, "replyId")
        && is_null(note, "poll")
        && !has_files(note)
}

fn related(note: &Value, users: &Ids) -> bool {
    if users.contains(author(note)) {
        return true;
    }
    for other in ["reply", "renote"] {
        if is_null(note, other) || author(&note[other]) == author(note) {
            continue;
        }
        if users.contains(author(&note[other])) {
            return true;
        }
    }
    false
}

impl Person {
    fn is(&self, user: &str) -> bool {
        self.name.as_deref() == Some(user)
    }

    fn follows(&self, user: &str) -> bool {
        self.follows.contains_key(user)
    }

    fn wants_replies_of(&self, user: &str) -> bool {
        self.follows.get(user) == Some(&true)
    }

    pub(super) fn sees(&self, note: &Value) -> bool {
        let Some(me) = &self.name else {
            return ["public", "home"].contains(&visibility(note));
        };
        match visibility(note) {
            "public" | "home" => true,
            "followers" => {
                author(note) == me
                    || (!is_null(note, "reply") && author(&note["reply"]) == me)
                    || listed(note, "mentions", me)
                    || self.follows(author(note))
            }
            _ => author(note) == me || listed(note, "visibleUserIds", me),
        }
    }

    pub(super) fn mutes(&self, note: &Value, watched: Option<&str>) -> bool {
        if self.mutes_hosts.contains(host(note)) {
            return true;
        }
        for other in ["reply", "renote"] {
            if !is_null(note, other) && self.mutes_hosts.contains(host(&note[other])) {
                return true;
            }
        }
        if related(note, &self.mutes) || related(note, &self.blockers) {
            return true;
        }
        if is_pure_renote(note) && self.mutes_renotes.contains(author(note)) {
            return true;
        }
        let channel = note["channelId"].as_str();
        if let Some(channel) = channel
            && self.mutes_channels.contains(channel)
            && watched != Some(channel)
        {
            return true;
        }
        match note["renote"]["channelId"].as_str() {
            Some(inner) => self.mutes_channels.contains(inner) && channel != Some(inner),
            None => false,
        }
    }

    fn is_kept_out(&self, note: &Value) -> bool {
        self.name.is_none()
            && ["/user", "/renote/user", "/reply/user"].iter().any(|user| {
                let user = note.pointer(user).unwrap_or(&Value::Null);
                user["requireSigninToViewContents"] == json!(true)
            })
    }

    /// Whether one is not to see what the note says. `now` in Unix seconds.
    pub(super) fn is_blind_to(&self, note: &Value, now: f64) -> bool {
        if self.is(author(note)) {
            return false;
        }
        if self.name.is_none() && note["user"]["requireSigninToViewContents"] == json!(true) {
            return true;
        }
        if let Some(before) = note["user"]["makeNotesHiddenBefore"].as_f64() {
            let Some(created) = note["createdAt"].as_str().map(seconds) else {
                return true;
            };
            let hidden = if before <= 0.0 {
                now - created > -before
            } else {
                created <= before
            };
            if hidden {
                return true;
            }
        }
        !self.sees(note)
    }

    /// Whether anything within is hidden.
    fn is_blind_within(&self, note: &Value, now: f64) -> bool {
        ["reply", "renote"].iter().any(|inner| {
            let inner = &note[*inner];
            !inner.is_null() && (self.is_blind_to(inner, now) || self.is_blind_within(inner, now))
        })
    }

    /// The note as one is sent it.
    fn hide(&self, note: &Value, now: f64) -> Option<Value> {
        let remote = !host(note).is_empty();
        if self.name.is_none() && (self.visitors == "none" || (self.visitors == "local" && remote))
        {
            return None;
        }
        let mut copy = note.clone();
        let (mut hidden_note, mut pure) = (false, false);
        let mut here = &mut copy;
        loop {
            let blind = self.is_blind_to(here, now);
            hidden_note |= blind;
            pure |= is_pure_renote(here);
            if !is_null(here, "reply") {
                if self.is_blind_within(&here["reply"], now) {
                    return None;
                }
                if self.is_blind_to(&here["reply"], now) {
                    blank(&mut here["reply"]);
                }
            }
            if blind {
                blank(here);
            }
            if is_null(here, "renote") {
                break;
            }
            here = &mut here["renote"];
        }
        (!(hidden_note && pure)).then_some(copy)
    }

    /// What one is sent of a note on a channel.
    pub(super) fn gets(&self, open: &Open, note: &Value, now: f64) -> Option<Value> {
        if !self.wants(open, note) {
            return None;
        }
        let mut copy = self.hide(note, now)?;
        if let Some(me) = &self.name
            && is_pure_renote(note)
            && let Some(counts) = note["renote"]["reactions"].as_object()
            && counts.values().any(|count| *count != json!(0))
            && let Some(pairs) = note["renote"]["reactionAndUserPairCache"].as_array()
        {
            let begin = format!("{me}/");
            let mut pairs = pairs.iter().filter_map(Value::as_str);
            if let Some(pair) = pairs.find(|pair| pair.starts_with(&begin)) {
                copy["renote"]["myReaction"] = pair[begin.len()..].into();
            }
        }
        Some(copy)
    }

    fn wants(&self, open: &Open, note: &Value) -> bool {
        let user = author(note);
        let channel = note["channelId"].as_str();
        let in_channel = channel.is_some();
        let watches = || self.follows_channels.contains(channel.unwrap());
        let local = host(note).is_empty();
        let public = visibility(note) == "public";
        let files = !open.with_files || has_files(note);
        let renotes = open.with_renotes || !is_pure_renote(note);
        let muted = self.mutes(note, None);
        match open.name {
            "home" => {
                files
                    && (if in_channel {
                        watches()
                    } else {
                        self.is(user) || self.follows(user)
                    })
                    && self.sees(note)
                    && self.rule_h(note, self.wants_replies_of(user))
                    && self.renote_rule(open, note)
                    && !muted
            }
            "local" => {
                files
                    && local
                    && public
                    && !in_channel
                    && !self.is_kept_out(note)
                    && self.rule_l(open, note)
                    && renotes
                    && !muted
            }
            "hybrid" => {
                let near = if in_channel {
                    watches()
                } else {
                    self.is(user) || self.follows(user) || (local && public)
                };
                files
                    && near
                    && self.sees(note)
                    && !muted
                    && self.rule_h(note, self.wants_replies_of(user) || open.with_replies)
                    && self.renote_rule(open, note)
            }
            "global" => {
                files && public && !in_channel && !self.is_kept_out(note) && renotes && !muted
            }
            "list" => {
                !in_channel
                    && files
                    && open.members.contains(user)
                    && self.sees(note)
                    && self.rule_h(note, false)
                    && renotes
                    && !muted
            }
            "hashtag" => {
                let tags: Vec<String> = note["tags"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|tag| tag.as_str().unwrap().to_lowercase())
                    .collect();
                let found = open
                    .q
                    .iter()
                    .any(|all| all.iter().all(|tag| tags.contains(tag)));
                found && self.sees(note) && !self.is_kept_out(note) && !muted
            }
            "channel" => {
                channel == Some(&*open.channel)
                    && !self.is_kept_out(note)
                    && self.sees(note)
                    && !self.mutes(note, Some(&open.channel))
            }
            "role" => public && !self.is_kept_out(note) && !muted,
            "antenna" => self.sees(note) && !muted,
            other => panic!("no such channel: {other}"),
        }
    }

    fn rule_h(&self, note: &Value, with_replies: bool) -> bool {
        let reply = &note["reply"];
        if reply.is_null() {
            return true;
        }
        if with_replies {
            visibility(reply) != "followers"
                || self.follows(author(reply))
                || self.is(author(reply))
        } else {
            self.is(author(reply)) || self.is(author(note)) || author(reply) == author(note)
        }
    }

    fn rule_l(&self, open: &Open, note: &Value) -> bool {
        let exempt =
            self.name.is_none() || self.wants_replies_of(author(note)) || open.with_replies;
        exempt || self.rule_h(note, false)
    }

    fn renote_rule(&self, open: &Open, note: &Value) -> bool {
        if !is_pure_renote(note) {
            return true;
        }
        if !open.with_renotes {
            return false;
        }
        let answered = &note["renote"]["reply"];
        answered.is_null()
            || visibility(answered) != "followers"
            || self.follows(author(answered))
            || self.is(author(answered))
    }

    /// Whether one hears what happened to a note that one watches.
    pub(super) fn hears(&self, event: &Value, old_bus: bool) -> bool {
        if self.name.is_none() && self.visitors == "none" {
            return false;
        }
        if event.get("userId").is_none() && event.get("visibility").is_none() {
            return old_bus;
        }
        let user = event["userId"].as_str();
        match visibility(event) {
            "public" | "home" => true,
            "followers" => user.is_some_and(|user| self.is(user) || self.follows(user)),
            _ => {
                let me = self.name.as_deref();
                me.is_some_and(|me| user == Some(me) || listed(event, "visibleUserIds", me))
            }
        }
    }

    /// Whether one is told of a notification.
    pub(super) fn is_notified(&self, notification: &Value) -> bool {
        let muted_host = notification
            .get("user")
            .is_some_and(|_| self.mutes_hosts.contains(host(notification)));
        let user = notification["userId"].as_str();
        !muted_host && !user.is_some_and(|user| self.mutes.contains(user))
    }
}

fn blank(note: &mut Value) {
    let note = note.as_object_mut().unwrap();
    note.insert("text".into(), Value::Null);
    note.insert("cw".into(), Value::Null);
    note.insert("fileIds".into(), json!([]));
    note.insert("files".into(), json!([]));
    note.insert("isHidden".into(), json!(true));
    note.remove("poll");
    note.remove("visibleUserIds");
}

/// Unix seconds, of a time in the first minute of 2026.
fn seconds(at: &str) -> f64 {
    let second = at.strip_prefix("2026-01-01T00:00:").unwrap();
    let second: f64 = second.strip_suffix('Z').unwrap().parse().unwrap();
    1_767_225_600.0 + second
}
