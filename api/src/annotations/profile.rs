//! Who the caller is, and what clients remember for them.

use axum::body::Body;
use broker::annotation::schema::Invalid;
use broker::identity::SignedIn;
use broker::people::{Group, SessionGroup, UserPatch};
use serde_json::{Map, Value, json};

use super::answer::{Answer, Refusal};
use super::{Caller, Surface};

/// What clients may have remembered, and that an object of theirs is.
const TUTORIAL: &str = "show_sidebar_tutorial";
const BANNER: &str = "show_youtube_gdpr_banner";
const SHORTCUTS: &str = "shortcuts_preferences";
/// The longest such object, in bytes of JSON: it stands in every session.
const MAX_SHORTCUTS: usize = 4 * 1024;

impl Surface {
    pub(super) async fn profile(&self, caller: &Caller<'_>) -> Result<Answer, Refusal> {
        match &caller.user {
            Some(user) => self.profile_of(caller, user).await,
            None => Ok(Answer::from(&json!({
                "userid": null,
                "authority": caller.site.authority,
                "groups": [self.in_session(&Group::world())],
                "features": {},
                "preferences": {},
            }))),
        }
    }

    pub(super) async fn update_profile(
        &self,
        caller: &Caller<'_>,
        body: Body,
    ) -> Result<Answer, Refusal> {
        let user = caller.signed_in()?;
        let said = wishes(&self.read_body(body).await?)?;
        let tenant = &caller.site.tenant;
        let known = self.people.user(tenant, &user.userid).await?;
        let mut preferences = known.map(|user| user.preferences).unwrap_or_default();
        for (name, value) in said {
            // What is off is not remembered: clients take it for unset.
            if value == Value::Bool(false) {
                preferences.remove(&name);
            } else {
                preferences.insert(name, value);
            }
        }
        let patch = UserPatch {
            preferences: Some(preferences),
            ..UserPatch::default()
        };
        self.people
            .update_user(tenant, &user.userid, &patch)
            .await?;
        self.profile_of(caller, user).await
    }

    async fn profile_of(&self, caller: &Caller<'_>, user: &SignedIn) -> Result<Answer, Refusal> {
        let site = caller.site;
        let mut session = self.people.session(site, &user.userid).await?;
        let known = self.people.user(&site.tenant, &user.userid).await?;
        let vouched: Vec<&str> = user.vouched.iter().map(|id| &**id).collect();
        for group in self.people.groups(&site.tenant, &vouched).await? {
            if session.groups.iter().all(|known| known.id != group.id) {
                session.groups.push(self.in_session(&group));
            }
        }
        let authority = user.userid.rsplit_once('@').map(|(_, authority)| authority);
        Ok(Answer::from(&json!({
            "userid": session.userid,
            "authority": authority,
            "groups": session.groups,
            "features": session.features,
            "preferences": session.preferences,
            "user_info": { "display_name": known.and_then(|user| user.display_name) },
        })))
    }

    fn in_session(&self, group: &Group) -> SessionGroup {
        let public = group.kind.is_public();
        SessionGroup {
            id: group.id.clone(),
            name: group.name.clone(),
            public,
            url: (!public).then(|| self.pages.of_group(group)),
        }
    }
}

/// What a client wants remembered.
fn wishes(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let said: Value = serde_json::from_slice(body).map_err(|_| Invalid::NotJson)?;
    let preferences = match said.get("preferences") {
        None => return Ok(Map::new()),
        Some(Value::Object(preferences)) => preferences,
        Some(_) => return Err(Refusal::bad("preferences", "is not of type 'object'")),
    };
    for (name, value) in preferences {
        match name.as_str() {
            TUTORIAL | BANNER if value.is_boolean() => {}
            SHORTCUTS if value.is_object() && value.to_string().len() <= MAX_SHORTCUTS => {}
            TUTORIAL | BANNER => {
                return Err(Refusal::bad(name, "is not of type 'boolean'"));
            }
            SHORTCUTS => {
                let why = format!("expected an object of at most {MAX_SHORTCUTS} bytes");
                return Err(Refusal::bad(name, why));
            }
            _ => return Err(Refusal::Invalid(unknown())),
        }
    }
    Ok(preferences.clone())
}

fn unknown() -> String {
    format!("preferences: expected {TUTORIAL}, {BANNER} or {SHORTCUTS}")
}
