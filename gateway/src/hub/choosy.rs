//! Listeners of a topic that want what bears one of their keys, and where each
//! key leads.
//!
//! Ten thousand of them may have hundreds of keys each, so an entry is four bytes:
//! the number of a listener's seat. Whoever leaves vacates the seat, and the lists
//! are tidied as they fill with such numbers; a seat is taken again only when no
//! list names it any more.

use rustc_hash::FxHashMap;
use slab::Slab;

use super::SessionKey;
use crate::interest::{Key, Keys};

/// Listeners with keys.
#[derive(Debug, Default)]
pub(super) struct Choosy {
    by_session: FxHashMap<SessionKey, u32>,
    seats: Slab<Seat>,
    /// Keys that lead to the same place because they are alike in this half find
    /// each other's listeners. Two in four billion are.
    by_key: FxHashMap<u32, Place>,
    crowds: Slab<Crowd>,
}

#[derive(Debug)]
enum Seat {
    Taken(SessionKey, Keys),
    /// So many lists name it still.
    Vacated(u32),
}

/// Where a key leads: to a seat, the usual case, or to a crowd.
#[derive(Clone, Copy, Debug)]
struct Place(u32);

/// Seats that a key leads to, each once.
#[derive(Debug, Default)]
struct Crowd {
    seats: Vec<u32>,
    /// How many of them are vacated.
    vacated: u32,
}

impl Choosy {
    pub(super) fn len(&self) -> usize {
        self.by_session.len()
    }

    pub(super) fn has(&self, session: SessionKey) -> bool {
        self.by_session.contains_key(&session)
    }

    /// All of them.
    pub(super) fn sessions(&self) -> impl Iterator<Item = SessionKey> {
        self.seats.iter().filter_map(|(_, seat)| seat.session())
    }

    /// Adds one that is not there.
    pub(super) fn add(&mut self, session: SessionKey, keys: Keys) {
        let short = short(&keys);
        let seat = number(self.seats.insert(Seat::Taken(session, keys)));
        self.by_session.insert(session, seat);
        for key in short {
            self.enter(key, seat);
        }
    }

    /// One that is there wants these keys from now on. What it wanted before and
    /// wants still costs nothing if it is in the same set.
    pub(super) fn replace(&mut self, session: SessionKey, keys: Keys) {
        let seat = self.by_session[&session];
        let Seat::Taken(_, held) = &mut self.seats[seat as usize] else {
            unreachable!("a session has a seat that is taken");
        };
        let (gone, new) = (held.without(&keys), keys.without(held));
        *held = keys;
        for key in gone {
            self.leave(key, seat);
        }
        for key in new {
            self.enter(key, seat);
        }
    }

    /// A key leads to a seat, which it did not before.
    fn enter(&mut self, key: u32, seat: u32) {
        let Some(place) = self.by_key.get_mut(&key) else {
            self.by_key.insert(key, Place::seat(seat));
            return;
        };
        match place.read() {
            Leads::Seat(first) => {
                let crowd = Crowd {
                    seats: vec![first, seat],
                    vacated: 0,
                };
                *place = Place::crowd(number(self.crowds.insert(crowd)));
            }
            Leads::Crowd(crowd) => self.crowds[crowd as usize].seats.push(seat),
        }
    }

    /// A key does not lead any more to a seat that is taken.
    fn leave(&mut self, key: u32, seat: u32) {
        match self.by_key[&key].read() {
            Leads::Seat(_) => {
                self.by_key.remove(&key);
            }
            Leads::Crowd(crowd) => {
                let members = &mut self.crowds[crowd as usize];
                members.seats.retain(|member| *member != seat);
                if members.seats.len() <= 1.max(2 * members.vacated as usize) {
                    self.tidy(key, crowd);
                }
            }
        }
    }

    /// Takes one out that is there.
    pub(super) fn remove(&mut self, session: SessionKey) {
        let seat = self.by_session.remove(&session);
        let seat = seat.expect("it is there");
        let left = std::mem::replace(&mut self.seats[seat as usize], Seat::Vacated(0));
        let Seat::Taken(_, keys) = left else {
            unreachable!("a session has a seat that is taken");
        };
        let short = short(&keys);
        if short.is_empty() {
            self.seats.remove(seat as usize);
            return;
        }
        self.seats[seat as usize] = Seat::Vacated(number(short.len()));
        for key in short {
            let place = self.by_key[&key];
            match place.read() {
                Leads::Seat(_) => {
                    self.by_key.remove(&key);
                    self.forget(seat);
                }
                Leads::Crowd(crowd) => {
                    let members = &mut self.crowds[crowd as usize];
                    members.vacated += 1;
                    if members.seats.len() <= 2 * members.vacated as usize {
                        self.tidy(key, crowd);
                    }
                }
            }
        }
    }

    /// Adds those that want one of the keys to `concerned`, each once.
    pub(super) fn concerned(&self, keys: &Keys, concerned: &mut Vec<SessionKey>) {
        let mut lists = 0;
        for key in short(keys) {
            let Some(place) = self.by_key.get(&key) else {
                continue;
            };
            lists += 1;
            match place.read() {
                Leads::Seat(seat) => concerned.extend(self.seats[seat as usize].session()),
                Leads::Crowd(crowd) => {
                    let seats = self.crowds[crowd as usize].seats.iter();
                    concerned.extend(seats.filter_map(|seat| self.seats[*seat as usize].session()));
                }
            }
        }
        if 1 < lists {
            concerned.sort_unstable();
            concerned.dedup();
        }
    }

    /// Takes vacated seats out of a crowd, of which at least half are.
    fn tidy(&mut self, key: u32, crowd: u32) {
        let mut seats = std::mem::take(&mut self.crowds[crowd as usize].seats);
        seats.retain(|seat| {
            let taken = self.seats[*seat as usize].session().is_some();
            if !taken {
                self.forget(*seat);
            }
            taken
        });
        match seats[..] {
            [] => {
                self.crowds.remove(crowd as usize);
                self.by_key.remove(&key);
            }
            [only] => {
                self.crowds.remove(crowd as usize);
                self.by_key.insert(key, Place::seat(only));
            }
            _ => {
                seats.shrink_to(2 * seats.len());
                self.crowds[crowd as usize] = Crowd { seats, vacated: 0 };
            }
        }
    }

    /// One list less names a vacated seat.
    fn forget(&mut self, seat: u32) {
        if let Seat::Vacated(lists) = &mut self.seats[seat as usize] {
            *lists -= 1;
            if *lists == 0 {
                self.seats.remove(seat as usize);
            }
        }
    }
}

impl Seat {
    fn session(&self) -> Option<SessionKey> {
        match self {
            Self::Taken(session, _) => Some(*session),
            Self::Vacated(_) => None,
        }
    }
}

/// What a [`Place`] says.
enum Leads {
    Seat(u32),
    Crowd(u32),
}

impl Place {
    /// Set if the rest is the number of a crowd.
    const CROWD: u32 = 1 << 31;

    fn seat(number: u32) -> Self {
        Self(number)
    }

    fn crowd(number: u32) -> Self {
        Self(number | Self::CROWD)
    }

    fn read(self) -> Leads {
        if self.0 & Self::CROWD == 0 {
            Leads::Seat(self.0)
        } else {
            Leads::Crowd(self.0 & !Self::CROWD)
        }
    }
}

/// A place in one of the slabs, of which none ever holds half of four billion.
fn number(place: usize) -> u32 {
    let number = u32::try_from(place).ok();
    let number = number.filter(|number| number & Place::CROWD == 0);
    number.expect("memory ends before")
}

/// Each key's half by which it is found, once.
fn short(keys: &Keys) -> Vec<u32> {
    let mut short: Vec<_> = keys.iter().map(Key::short).collect();
    short.sort_unstable();
    short.dedup();
    short
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use broker::key::KeySet;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn session(slot: u32) -> SessionKey {
        SessionKey { slot, turn: 0 }
    }

    fn key(value: u32) -> Key {
        Key::of(0, &value.to_string())
    }

    impl Choosy {
        fn found(&self, keys: impl IntoIterator<Item = Key>) -> Vec<u32> {
            let mut concerned = Vec::new();
            self.concerned(&keys.into_iter().collect(), &mut concerned);
            let mut slots: Vec<_> = concerned.iter().map(|session| session.slot).collect();
            slots.sort_unstable();
            slots
        }

        /// Bytes on the heap, but for the keys, which are shared.
        fn footprint(&self) -> usize {
            // A hash table has one byte more for each of its places, of which an
            // eighth is never taken.
            fn table<K, V>(map: &FxHashMap<K, V>) -> usize {
                map.capacity() * 8 / 7 * (size_of::<(K, V)>() + 1)
            }
            let lists = self.crowds.iter().map(|(_, crowd)| crowd.seats.capacity());
            table(&self.by_session)
                + table(&self.by_key)
                + self.seats.capacity() * size_of::<Seat>()
                + self.crowds.capacity() * size_of::<Crowd>()
                + lists.sum::<usize>() * size_of::<u32>()
        }
    }

    #[test]
    fn whoever_comes_and_goes_each_key_leads_to_those_who_have_it() {
        const KEYS: u32 = 40;
        let mut random = SmallRng::seed_from_u64(4);
        let sets: Vec<(Vec<u32>, KeySet)> = (0..5)
            .map(|many| {
                let values: Vec<_> = (0..many).map(|_| random.random_range(0..KEYS)).collect();
                let set = values.iter().map(|value| key(*value)).collect();
                (values, set)
            })
            .collect();
        let mut choosy = Choosy::default();
        let mut model: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for step in 0..20_000 {
            // In turns the house fills and empties.
            let fills = (step / 2_000) % 2 == 0;
            let slot = random.random_range(0..300);
            let was_there = model.remove(&slot).is_some();
            assert_eq!(choosy.has(session(slot)), was_there);
            let stays = was_there && random.random_bool(0.3);
            if was_there && !stays {
                choosy.remove(session(slot));
            }
            if stays || random.random_ratio(if fills { 9 } else { 1 }, 10) {
                // Some in sets that others hold too, some of its own, some in both.
                let (values, shared) = &sets[random.random_range(0..sets.len())];
                let own = random.random_range(0..6);
                let own: Vec<_> = (0..own).map(|_| random.random_range(0..KEYS)).collect();
                let keys = own.iter().map(|value| key(*value));
                let keys = Keys::union([shared.clone(), shared.clone()], keys);
                if stays {
                    choosy.replace(session(slot), keys);
                } else {
                    choosy.add(session(slot), keys);
                }
                model.insert(slot, own.iter().chain(values).copied().collect());
            }
            let borne: BTreeSet<_> = (0..3).map(|_| random.random_range(0..KEYS)).collect();
            let concerned = |wanted: &BTreeSet<u32>| !wanted.is_disjoint(&borne);
            let concerned = model.iter().filter(|(_, wanted)| concerned(wanted));
            let expected: Vec<_> = concerned.map(|(slot, _)| *slot).collect();
            assert_eq!(
                choosy.found(borne.iter().map(|value| key(*value))),
                expected
            );
            assert_eq!(choosy.len(), model.len());
            let vacated = choosy.seats.len() - choosy.len();
            assert!(vacated <= 300 * 12, "seats are taken again: {vacated}");
        }
        let mut all: Vec<_> = choosy.sessions().map(|session| session.slot).collect();
        all.sort_unstable();
        assert_eq!(all, model.keys().copied().collect::<Vec<_>>());
        for slot in all {
            choosy.remove(session(slot));
        }
        let left = (choosy.seats.len(), choosy.by_key.len(), choosy.crowds.len());
        assert_eq!(left, (0, 0, 0), "nothing is left of those who are gone");
    }

    #[test]
    fn of_ten_thousand_with_two_hundred_keys_each_takes_less_than_two_kilobytes() {
        const SESSIONS: u32 = 10_000;
        let mut random = SmallRng::seed_from_u64(5);
        let keys: Vec<_> = (0..SESSIONS).map(key).collect();
        let mut choosy = Choosy::default();
        for slot in 0..SESSIONS {
            let wanted = (0..200).map(|_| keys[random.random_range(0..keys.len())]);
            choosy.add(session(slot), wanted.collect());
        }
        let each = choosy.footprint() / SESSIONS as usize;
        assert!(each < 1_500, "each key leads to two hundred: {each} bytes");
        for slot in 0..SESSIONS {
            choosy.remove(session(slot));
        }
        assert_eq!(choosy.len() + choosy.seats.len() + choosy.by_key.len(), 0);
        let each = choosy.footprint() / SESSIONS as usize;
        assert!(each < 256, "all are gone: {each} bytes");
    }

    #[test]
    fn a_key_that_leads_to_one_takes_little_more_than_its_place() {
        let mut choosy = Choosy::default();
        for slot in 0..1_000 {
            let wanted = (0..200).map(|value| key(200 * slot + value));
            choosy.add(session(slot), wanted.collect());
        }
        let each = choosy.footprint() / 200_000;
        assert!(each < 24, "{each} bytes");
    }
}
