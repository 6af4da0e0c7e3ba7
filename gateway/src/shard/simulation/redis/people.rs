//! Who is in the club, as a simulated server keeps it and tells it.

use broker::{annotation, people};

use super::super::subject::{CLUB, USERS, tenant, userid};
use super::{Away, Redis, Time};

/// For each user whether they are in it since when; a replica may know less.
#[derive(Debug)]
pub(super) struct People {
    changes: [Vec<(Time, bool)>; USERS],
    /// A change that was told is forgotten.
    forgot: bool,
}

impl People {
    /// At first all are in it.
    pub(super) fn new() -> Self {
        Self {
            changes: std::array::from_fn(|_| vec![(0, true)]),
            forgot: false,
        }
    }

    /// Nothing is known of anybody any more.
    pub(super) fn clear(&mut self) {
        self.changes.iter_mut().for_each(Vec::clear);
        self.forgot = true;
    }

    /// They are as a replica has them that has not heard what came after `until`.
    pub(super) fn as_heard(&mut self, until: Time) {
        for changes in &mut self.changes {
            let before = changes.len();
            changes.retain(|(at, _)| *at <= until);
            self.forgot |= changes.len() < before;
        }
    }
}

impl Redis {
    /// A user joins the club or leaves it, which is told.
    pub(in super::super) fn change(
        &mut self,
        user: usize,
        member: bool,
        now: Time,
        due: impl FnMut() -> Time,
    ) -> Result<(), Away> {
        let at = self.home_of_people();
        self.running(at)?.people.changes[user].push((now, member));
        let (action, role) = match member {
            true => ("group-join", r#""member""#),
            false => ("group-leave", "null"),
        };
        let body = format!(r#"{{"action":"{action}","group":"{CLUB}","role":{role}}}"#);
        let json = format!(
            r#"0-0 {{"v":1,"type":"{}","body":{body}}}"#,
            people::MEMBERSHIP
        );
        let channel = self.keys.channel(&people::topic(&tenant(), &userid(user)));
        self.publish(at, &channel, json.as_bytes(), due)
    }

    /// Whether a user is in the club.
    pub(in super::super) fn is_member(&mut self, user: usize) -> Result<bool, Away> {
        let at = self.home_of_people();
        let changes = &self.running(at)?.people.changes[user];
        Ok(changes.last().is_some_and(|(_, member)| *member))
    }

    /// Whether changes were told that are forgotten.
    pub(in super::super) fn has_forgotten_people(&self) -> bool {
        self.servers[self.home_of_people()].people.forgot
    }

    /// Where all people of the tenant are kept.
    fn home_of_people(&self) -> usize {
        self.server_of(&annotation::topic(&tenant()))
    }
}
