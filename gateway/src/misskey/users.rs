//! The users of one host who are here: what they follow and mute, read once for
//! all their sockets.
//!
//! Who is here is seen by who holds the callers that were given out: sockets do.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use broker::key::Key;
use broker::misskey::Field;
use broker::misskey::caller::{Account, Caller, Grant, Token};
use broker::misskey::hosts::Host;
use broker::misskey::relations::{Found, Seen};
use broker::misskey::viewer::{Me, Viewer};
use broker::topic::Topic;
use prometheus::IntGauge;

use super::Ear;

/// Who has gone is known this much longer: in a reconnect storm most are back
/// within seconds.
const LINGER: Duration = Duration::from_secs(30);
/// Nobody is read about sooner after the last time. A change must be known within
/// ten seconds, also by the last of those who came together in a storm.
const BELIEVED: Duration = Duration::from_millis(1500);
/// Parts into which all users are divided, so that they are not read at once:
/// four a second.
const PARTS: usize = 32;

/// The users of one host who are here.
pub(super) struct Users {
    by_key: Mutex<HashMap<Key, Arc<User>>>,
    /// All of them, with when they were last read about, oldest first.
    queue: Mutex<VecDeque<(Instant, Weak<User>)>>,
    ear: Ear,
    count: IntGauge,
}

/// One of them.
pub(super) struct User {
    /// The user's id.
    pub(super) id: Arc<str>,
    /// What stands for it.
    pub(super) key: Key,
    /// Held by who reads about the user for somebody who has just come.
    pub(super) filling: tokio::sync::Mutex<()>,
    /// Never held across an await.
    known: Mutex<Known>,
}

struct Known {
    /// None until it has been read once.
    viewer: Option<Arc<Viewer>>,
    seen: Seen,
    /// When the reading began that told it.
    read: Instant,
    /// Grows with each change that was told and not read.
    told: u64,
    here: Vec<Here>,
    doubts: Doubts,
    /// The host is being asked about them.
    asking: bool,
    /// Where word of tokens of our own is heard.
    word: Option<Topic>,
    /// When somebody was last here.
    last: Instant,
}

/// What the cache may never tell of a user, and is asked of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Doubts {
    /// Whom the user follows may have changed, and the cache may have no word of it.
    pub(super) following: bool,
    /// What the user may see, and whether the tokens are valid, may have changed.
    pub(super) rights: bool,
}

/// The sockets with one token.
struct Here {
    caller: Weak<Caller>,
    /// The id of the token, if it is one of our own.
    own: Option<Arc<str>>,
}

/// How far a user was known when reading began.
#[derive(Clone, Copy)]
pub(super) struct Before {
    at: Instant,
    pub(super) seen: Seen,
    told: u64,
}

impl Users {
    pub(super) fn new(ear: Ear, count: IntGauge) -> Self {
        Self {
            by_key: Mutex::default(),
            queue: Mutex::default(),
            ear,
            count,
        }
    }

    /// The user of this id, who may not be known yet.
    pub(super) fn enter(&self, id: &Arc<str>) -> Arc<User> {
        let key = Field::User.key(id);
        let mut all = self.all();
        let user = all.entry(key).or_insert_with(|| {
            self.count.inc();
            let user = Arc::new(User::new(Arc::clone(id), key));
            let entry = (Instant::now(), Arc::downgrade(&user));
            self.queue().push_back(entry);
            user
        });
        Arc::clone(user)
    }

    /// Listens for word of the user's tokens, if they are our own.
    pub(super) fn listen(&self, user: &User, word: Topic) {
        let mut known = user.known();
        if known.word.is_none() {
            known.word = Some(word.clone());
            self.ear.listen(word);
        }
    }

    /// Who is here under this key.
    pub(super) fn get(&self, key: Key) -> Option<Arc<User>> {
        self.all().get(&key).cloned()
    }

    /// All who are here.
    pub(super) fn everybody(&self) -> Vec<Arc<User>> {
        self.all().values().cloned().collect()
    }

    /// Of whom is to be read again now: a part of them at most, so that all are
    /// once they have been asked for so often. Who has gone is forgotten.
    pub(super) fn due(&self, now: Instant) -> Vec<Arc<User>> {
        let mut due = Vec::new();
        let mut all = self.all();
        let mut queue = self.queue();
        for _ in 0..queue.len().div_ceil(PARTS) {
            let old = |(at, _): &(Instant, _)| BELIEVED <= now.saturating_duration_since(*at);
            let Some((_, user)) = queue.pop_front_if(|entry| old(entry)) else {
                break;
            };
            let Some(user) = user.upgrade() else {
                continue;
            };
            // Whoever is entering holds it beside the table and us.
            if Arc::strong_count(&user) <= 2 && user.is_gone(now) {
                all.remove(&user.key);
                // Before anybody who enters now listens anew.
                if let Some(topic) = user.known().word.take() {
                    self.ear.leave(topic);
                }
                self.count.dec();
                continue;
            }
            queue.push_back((now, Arc::downgrade(&user)));
            due.push(user);
        }
        if all.len() < all.capacity() / 4 {
            all.shrink_to_fit();
            queue.shrink_to_fit();
        }
        due
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<(Instant, Weak<User>)>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Key, Arc<User>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        let left = self.by_key.get_mut().map_or(0, |all| all.len());
        self.count.sub(left as i64);
    }
}

impl User {
    fn new(id: Arc<str>, key: Key) -> Self {
        Self {
            id,
            key,
            filling: tokio::sync::Mutex::default(),
            known: Mutex::new(Known {
                viewer: None,
                seen: Seen::default(),
                read: Instant::now(),
                told: 0,
                here: Vec::new(),
                doubts: Doubts::default(),
                asking: false,
                word: None,
                last: Instant::now(),
            }),
        }
    }

    /// What the user follows and mutes, if that has been read.
    pub(super) fn viewer(&self) -> Option<Arc<Viewer>> {
        self.known().viewer.clone()
    }

    /// Whether a reading that is noted began since then.
    pub(super) fn is_read_since(&self, then: Instant) -> bool {
        let known = self.known();
        known.viewer.is_some() && then <= known.read
    }

    /// How far the user is known, before something is read.
    pub(super) fn before(&self) -> Before {
        let known = self.known();
        Before {
            at: Instant::now(),
            seen: known.seen,
            told: known.told,
        }
    }

    /// Notes what was found, unless something was told since: it may be older
    /// than that, and has to be read again (`Err`). Returns the viewer if it is
    /// another than before.
    pub(super) fn found(&self, before: Before, found: Found) -> Result<Option<Arc<Viewer>>, ()> {
        let mut known = self.known();
        if known.told != before.told {
            return Err(());
        }
        let mut seen = known.seen;
        let mut viewer = known
            .viewer
            .as_deref()
            .map_or_else(|| self.nobody_known(), Viewer::clone);
        found.apply(&mut seen, &mut viewer);
        known.seen = seen;
        known.read = known.read.max(before.at);
        Ok(known.set(viewer))
    }

    /// Changes what is known as it was told. Returns the viewer if it is another
    /// than before; who was never read about is read about later.
    pub(super) fn told(&self, change: impl FnOnce(&mut Viewer, &mut Seen)) -> Option<Arc<Viewer>> {
        let mut known = self.known();
        known.told += 1;
        let mut viewer = known.viewer.as_deref()?.clone();
        let mut seen = known.seen;
        change(&mut viewer, &mut seen);
        known.seen = seen;
        known.set(viewer)
    }

    /// The caller for sockets with this token, one for all of them.
    pub(super) fn caller(
        &self,
        host: &Arc<Host>,
        token: &Token,
        grant: Grant,
        own: Option<Arc<str>>,
    ) -> Arc<Caller> {
        let mut known = self.known();
        known.last = Instant::now();
        known.here.retain(|here| 0 < here.caller.strong_count());
        let same = |caller: &Arc<Caller>| {
            let account = caller.account.as_ref();
            account.is_some_and(|account| account.token == *token && account.grant == grant)
        };
        let mut present = known.here.iter().filter_map(|here| here.caller.upgrade());
        if let Some(caller) = present.find(same) {
            return caller;
        }
        let caller = Arc::new(Caller {
            host: Arc::clone(host),
            account: Some(Account {
                user: Arc::clone(&self.id),
                key: self.key,
                grant,
                token: token.clone(),
            }),
        });
        let weak = Arc::downgrade(&caller);
        known.here.push(Here { caller: weak, own });
        caller
    }

    /// The tokens with which the user is here, and the ids of those that are our own.
    pub(super) fn tokens(&self) -> Vec<(Token, Option<Arc<str>>)> {
        let known = self.known();
        let tokens = known.here.iter().filter_map(|here| {
            let caller = here.caller.upgrade()?;
            Some((caller.account.as_ref()?.token.clone(), here.own.clone()))
        });
        tokens.collect()
    }

    /// What is to be asked of the host, for who begins to ask; nothing if somebody
    /// asks already, or nobody is here with whose token to ask.
    pub(super) fn begin_asking(&self) -> Option<Doubts> {
        let mut known = self.known();
        let is_here = known.here.iter().any(|here| 0 < here.caller.strong_count());
        if known.asking || !is_here || known.doubts == Doubts::default() {
            return None;
        }
        known.asking = true;
        Some(std::mem::take(&mut known.doubts))
    }

    /// Nobody asks any more; this is in doubt still.
    pub(super) fn end_asking(&self, left: Doubts) {
        let mut known = self.known();
        known.asking = false;
        known.doubts.following |= left.following;
        known.doubts.rights |= left.rights;
    }

    /// Changes what is to be asked of the host.
    pub(super) fn doubt(&self, change: impl FnOnce(&mut Doubts)) {
        change(&mut self.known().doubts);
    }

    /// Whether nobody has been here for a while.
    fn is_gone(&self, now: Instant) -> bool {
        let mut known = self.known();
        if known.here.iter().any(|here| 0 < here.caller.strong_count()) {
            known.last = now;
            return false;
        }
        LINGER <= now.saturating_duration_since(known.last)
    }

    fn nobody_known(&self) -> Viewer {
        Viewer {
            me: Some(Me {
                id: Arc::clone(&self.id),
                key: self.key,
            }),
            ..Viewer::default()
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn set(&mut self, viewer: Viewer) -> Option<Arc<Viewer>> {
        if self.viewer.as_deref() == Some(&viewer) {
            return None;
        }
        let viewer = viewer.later();
        self.viewer = Some(Arc::clone(&viewer));
        Some(viewer)
    }
}

#[cfg(test)]
mod tests {
    use broker::link::Wants;

    use super::*;

    fn users() -> Users {
        let ear = Ear {
            wants: Wants::default(),
            number: 0,
        };
        Users::new(ear, IntGauge::new("users", "Users.").unwrap())
    }

    fn host() -> Arc<Host> {
        let hosts: broker::misskey::hosts::Hosts = "m.example=acme".parse().unwrap();
        Arc::clone(hosts.host(Some("m.example")).unwrap())
    }

    fn arrive(users: &Users, name: &str) -> Arc<Caller> {
        let user = users.enter(&name.into());
        user.caller(&host(), &Token::new(name), Grant::App, None)
    }

    #[test]
    fn everybody_is_read_about_within_ten_seconds_and_in_parts() {
        const USERS: usize = 1000;
        let (users, start) = (users(), Instant::now());
        let callers: Vec<_> = (0..USERS)
            .map(|n| arrive(&users, &format!("u{n}")))
            .collect();
        let mut last: HashMap<Key, Instant> = HashMap::new();
        for turn in 0..200 {
            let now = start + Duration::from_millis(250) * turn;
            let due = users.due(now);
            assert!(due.len() <= USERS.div_ceil(PARTS), "{}", due.len());
            for user in due {
                let before = last.insert(user.key, now).unwrap_or(start);
                assert!(now - before <= Duration::from_secs(10), "{turn}");
            }
        }
        assert_eq!(last.len(), callers.len());
    }

    #[test]
    fn who_has_gone_is_forgotten_after_a_while_and_who_stays_is_not() {
        let (users, start) = (users(), Instant::now());
        let (gone, stays) = (arrive(&users, "gone"), arrive(&users, "stays"));
        let again = arrive(&users, "stays");
        assert!(Arc::ptr_eq(&stays, &again), "one caller for one token");
        drop(gone);
        for seconds in 9..=29 {
            users.due(start + Duration::from_secs(seconds));
        }
        assert_eq!(users.count.get(), 2);
        for seconds in 30..60 {
            users.due(start + Duration::from_secs(seconds));
        }
        assert_eq!(users.count.get(), 1);
        assert!(users.get(Field::User.key("stays")).is_some());
        drop(users.due(start));
        assert!(users.get(Field::User.key("gone")).is_none());
    }

    #[test]
    fn what_is_in_doubt_is_asked_once_and_again_if_that_failed() {
        let users = users();
        let here = arrive(&users, "u");
        let user = users.enter(&"u".into());
        assert_eq!(user.begin_asking(), None);
        let rights = Doubts {
            rights: true,
            following: false,
        };
        user.doubt(|doubts| *doubts = rights);
        assert_eq!(user.begin_asking(), Some(rights));
        user.doubt(|doubts| doubts.following = true);
        assert_eq!(user.begin_asking(), None, "somebody asks already");
        user.end_asking(rights);
        let both = Doubts {
            rights: true,
            following: true,
        };
        drop(here);
        assert_eq!(user.begin_asking(), None, "nobody is here to ask for");
        let _here = arrive(&users, "u");
        assert_eq!(user.begin_asking(), Some(both));
        user.end_asking(Doubts::default());
        assert_eq!(user.begin_asking(), None);
    }
}
