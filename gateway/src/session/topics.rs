//! What one session listens to, and how often it said so.

use broker::topic::{Topic, TopicMap};

/// So many are searched one by one, which nearly all sessions stay below.
const FEW: usize = 16;
/// Topics of most sessions: its own and that of all. Room for more is made when
/// there are more.
const USUAL: usize = 2;

/// Topics, each with its count.
#[derive(Debug)]
pub(super) enum Topics {
    Few(Vec<(Topic, u16)>),
    Many(TopicMap<u16>),
}

impl Default for Topics {
    fn default() -> Self {
        Self::Few(Vec::with_capacity(USUAL))
    }
}

impl Topics {
    /// Counts a topic once more; true if it is new.
    pub(super) fn add(&mut self, topic: &Topic) -> bool {
        match self {
            Self::Few(few) => {
                if let Some((_, count)) = few.iter_mut().find(|(t, _)| t == topic) {
                    *count += 1;
                    return false;
                }
                few.push((topic.clone(), 1));
                if FEW < few.len() {
                    *self = Self::Many(few.drain(..).collect());
                }
                true
            }
            Self::Many(many) => {
                let count = many.entry(topic.clone()).or_default();
                *count += 1;
                *count == 1
            }
        }
    }

    /// Counts a topic once less; true if it is gone.
    pub(super) fn remove(&mut self, topic: &Topic) -> bool {
        match self {
            Self::Few(few) => {
                let Some(at) = few.iter().position(|(t, _)| t == topic) else {
                    return false;
                };
                few[at].1 -= 1;
                let last = few[at].1 == 0;
                if last {
                    few.swap_remove(at);
                }
                last
            }
            Self::Many(many) => {
                let Some(count) = many.get_mut(topic) else {
                    return false;
                };
                *count -= 1;
                let last = *count == 0;
                if last {
                    many.remove(topic);
                }
                last
            }
        }
    }

    /// Names a topic by this copy of it from now on.
    pub(super) fn share(&mut self, topic: &Topic) {
        match self {
            Self::Few(few) => {
                if let Some((own, _)) = few.iter_mut().find(|(own, _)| own == topic) {
                    own.clone_from(topic);
                }
            }
            Self::Many(many) => {
                if let Some((_, count)) = many.remove_entry(topic) {
                    many.insert(topic.clone(), count);
                }
            }
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    /// All of them, each once.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Topic> {
        let (few, many): (&[_], _) = match self {
            Self::Few(few) => (few, None),
            Self::Many(many) => (&[], Some(many)),
        };
        let many = many.into_iter().flat_map(TopicMap::keys);
        few.iter().map(|(topic, _)| topic).chain(many)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn topics_are_counted_alike_however_many_there_are() {
        let tenant = "acme".parse().unwrap();
        let topic = |n: u32| Topic::recipient(&tenant, &n.to_string());
        for most in [4, FEW as u32 * 4] {
            let mut random = SmallRng::seed_from_u64(most.into());
            let (mut topics, mut counts) = (Topics::default(), BTreeMap::new());
            for _ in 0..20_000 {
                let n = random.random_range(0..most);
                let count: &mut u16 = counts.entry(n).or_default();
                if random.random_bool(0.5) {
                    *count += 1;
                    assert_eq!(topics.add(&topic(n)), *count == 1);
                    topics.share(&topic(n));
                } else {
                    assert_eq!(topics.remove(&topic(n)), *count == 1);
                    *count = count.saturating_sub(1);
                }
            }
            let known = counts.iter().filter(|(_, count)| 0 < **count);
            let mut known: Vec<_> = known.map(|(n, _)| topic(*n)).collect();
            let mut held: Vec<_> = topics.iter().cloned().collect();
            known.sort();
            held.sort();
            assert_eq!(held, known);
        }
    }
}
