//! Sessions in no order, of which any can be taken out quickly.

use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;

use super::SessionKey;

/// Some sessions, each once. One, the usual number, costs no allocation.
#[derive(Debug, Default)]
pub(super) enum Sessions {
    #[default]
    None,
    One(SessionKey),
    Many(Box<Crowd>),
}

/// Sessions, and where each stands, so that ten thousand leaving at once are not
/// searched for one by one.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    sessions: Vec<SessionKey>,
    places: FxHashMap<SessionKey, usize>,
}

impl Sessions {
    pub(super) fn all(&self) -> &[SessionKey] {
        match self {
            Self::None => &[],
            Self::One(session) => std::slice::from_ref(session),
            Self::Many(crowd) => &crowd.sessions,
        }
    }

    pub(super) fn add(&mut self, session: SessionKey) {
        match self {
            Self::None => *self = Self::One(session),
            Self::One(first) => {
                let mut crowd = Crowd::default();
                crowd.add(*first);
                crowd.add(session);
                *self = Self::Many(Box::new(crowd));
            }
            Self::Many(crowd) => crowd.add(session),
        }
    }

    /// True if it was there.
    pub(super) fn remove(&mut self, session: SessionKey) -> bool {
        match self {
            Self::None => false,
            Self::One(only) => {
                let found = *only == session;
                if found {
                    *self = Self::None;
                }
                found
            }
            Self::Many(crowd) => {
                let found = crowd.remove(session);
                if let [only] = crowd.sessions[..] {
                    *self = Self::One(only);
                }
                found
            }
        }
    }
}

impl Crowd {
    fn add(&mut self, session: SessionKey) {
        if let Entry::Vacant(place) = self.places.entry(session) {
            place.insert(self.sessions.len());
            self.sessions.push(session);
        }
    }

    fn remove(&mut self, session: SessionKey) -> bool {
        let Some(place) = self.places.remove(&session) else {
            return false;
        };
        self.sessions.swap_remove(place);
        if let Some(moved) = self.sessions.get(place) {
            self.places.insert(*moved, place);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_taken_out_the_others_stay() {
        let key = |slot| SessionKey { slot, turn: 0 };
        let mut sessions = Sessions::default();
        assert!(!sessions.remove(key(0)));
        for slot in [0, 1, 2, 1] {
            sessions.add(key(slot));
        }
        assert_eq!(sessions.all().len(), 3);
        assert!(sessions.remove(key(0)));
        assert!(!sessions.remove(key(0)));
        assert_eq!(sessions.all(), [key(2), key(1)]);
        assert!(sessions.remove(key(2)) && sessions.remove(key(1)));
        assert!(sessions.all().is_empty());
    }
}
