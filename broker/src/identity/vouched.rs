//! What a provider says of a token: whom it names, and until when.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::settings::Claims;
use crate::people::{check_group_id, check_userid};
use crate::time::Timestamp;

/// Most groups that are taken from a token.
const MAX_GROUPS: usize = 1000;

/// Whom a provider's token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vouched {
    /// The user, as the provider calls them.
    pub(super) name: String,
    /// The groups that the provider says they are in.
    pub(super) groups: Arc<[Arc<str>]>,
    /// From then on the token opens nothing.
    pub(super) expires_at: Option<Timestamp>,
}

impl Vouched {
    /// What these members say; nothing if they name no user.
    pub(super) fn read(
        members: &Map<String, Value>,
        claims: &Claims,
        expires_at: Option<Timestamp>,
    ) -> Option<Self> {
        let ids = claims.groups.as_ref().and_then(|claim| members.get(claim));
        let ids = ids.and_then(Value::as_array).into_iter().flatten();
        Some(Self {
            name: members.get(&claims.user)?.as_str()?.to_owned(),
            groups: groups(ids.filter_map(Value::as_str)),
            expires_at,
        })
    }

    /// The user's id on a site of this authority: the name if it is one
    /// already, otherwise the name there. Nothing if that is no userid.
    pub(super) fn userid(&self, authority: &str) -> Option<Arc<str>> {
        let userid = if self.name.starts_with("acct:") {
            self.name.clone()
        } else {
            format!("acct:{}@{authority}", self.name)
        };
        check_userid(&userid).ok()?;
        Some(userid.into())
    }
}

/// Those of the ids that are ids, as many as are taken.
pub(super) fn groups<'a>(ids: impl Iterator<Item = &'a str>) -> Arc<[Arc<str>]> {
    ids.filter(|id| check_group_id(id).is_ok())
        .take(MAX_GROUPS)
        .map(Arc::from)
        .collect()
}

/// The time of a claim: seconds since 1970, perhaps with a fraction.
pub(super) fn time(claim: &Value) -> Option<Timestamp> {
    // Far beyond any date that a token can mean.
    const LAST: f64 = 1e12;
    let seconds = claim
        .as_f64()
        .filter(|seconds| (0.0..LAST).contains(seconds))?;
    Some(Timestamp::from_millis((seconds * 1000.0) as i64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(members: &Value) -> Option<Vouched> {
        let claims = Claims {
            issuer: None,
            audience: None,
            user: "name".to_owned(),
            groups: Some("in".to_owned()),
        };
        Vouched::read(members.as_object().unwrap(), &claims, None)
    }

    #[test]
    fn a_name_gets_the_site_s_authority_unless_it_has_one() {
        for (name, userid) in [
            ("jo", Some("acct:jo@a.example")),
            ("acct:jo@b.example", Some("acct:jo@b.example")),
            ("jo@b.example", None),
            ("jo smith", None),
            ("acct:jo", None),
            ("", None),
        ] {
            let vouched = read(&json!({ "name": name })).unwrap();
            assert_eq!(vouched.userid("a.example").as_deref(), userid, "{name}");
        }
        for members in [json!({}), json!({ "name": 1 }), json!({ "sub": "jo" })] {
            assert_eq!(read(&members), None);
        }
    }

    #[test]
    fn only_ids_of_groups_are_taken_and_not_too_many() {
        let ids = |members: &Value| read(members).unwrap().groups.to_vec();
        let some = json!({ "name": "jo", "in": ["g1", 2, "__world__", "a b", "g2"] });
        assert_eq!(ids(&some), ["g1", "g2"].map(Arc::from));
        assert!(ids(&json!({ "name": "jo", "in": "g1" })).is_empty());
        let many: Vec<_> = (0..2 * MAX_GROUPS).map(|n| n.to_string()).collect();
        assert_eq!(ids(&json!({ "name": "jo", "in": many })).len(), MAX_GROUPS);
    }

    #[test]
    fn a_time_is_seconds() {
        assert_eq!(time(&json!(1.5)), Some(Timestamp::from_millis(1500)));
        for no_time in [json!(-1), json!(1e300), json!("5"), json!(null)] {
            assert_eq!(time(&no_time), None);
        }
    }
}
