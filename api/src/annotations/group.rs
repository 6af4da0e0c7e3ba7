//! Groups, as a caller may read them.

use broker::annotation::WORLD;
use broker::people::{Group, Role};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::answer::{Answer, Refusal};
use super::{Caller, Surface};

impl Surface {
    /// The groups that the caller is in.
    pub(super) async fn own_groups(&self, caller: &Caller<'_>) -> Result<Answer, Refusal> {
        let groups = self.groups_of(caller).await?;
        Ok(self.list(&groups))
    }

    /// The group of everybody, those that anybody reads and that are about the
    /// page, and those of the caller.
    pub(super) async fn groups(&self, caller: &Caller<'_>, query: &str) -> Result<Answer, Refusal> {
        let page = form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "document_uri")
            .map(|(_, page)| page);
        let mut groups = self.people.public_groups(&caller.site.tenant).await?;
        groups.retain(|group| is_about(group, page.as_deref()));
        groups.insert(0, Group::world());
        for own in self.groups_of(caller).await? {
            if groups.iter().all(|group| group.id != own.id) {
                groups.push(own);
            }
        }
        Ok(self.list(&groups))
    }

    pub(super) async fn group(&self, caller: &Caller<'_>, id: &str) -> Result<Answer, Refusal> {
        let found = self.people.group(&caller.site.tenant, id).await?;
        let group = found
            .filter(|group| group.kind.is_public() || role_in(caller, &group.id).is_some())
            .ok_or(Refusal::Absent)?;
        Ok(Answer::from(&self.show(&group)))
    }

    /// Takes the caller out of a group; nobody else can be taken out here.
    pub(super) async fn leave(
        &self,
        caller: &Caller<'_>,
        id: &str,
        who: &str,
    ) -> Result<Answer, Refusal> {
        let user = caller.signed_in()?;
        if who != "me" || id == WORLD {
            return Err(Refusal::Absent);
        }
        let left = self.people.leave(caller.site, id, &user.userid).await?;
        if left {
            Ok(Answer::Done)
        } else {
            Err(Refusal::Absent)
        }
    }

    async fn groups_of(&self, caller: &Caller<'_>) -> Result<Vec<Group>, Refusal> {
        let Some(user) = &caller.user else {
            return Ok(Vec::new());
        };
        let ids: Vec<&str> = user.memberships.keys().map(|id| &**id).collect();
        let mut groups = self.people.groups(&caller.site.tenant, &ids).await?;
        groups.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(groups)
    }

    fn list(&self, groups: &[Group]) -> Answer {
        let groups: Vec<_> = groups.iter().map(|group| self.show(group)).collect();
        Answer::from(&Value::Array(groups))
    }

    /// A group as clients know it. There are no organizations; scopes are always
    /// told, whether asked to be expanded or not.
    fn show(&self, group: &Group) -> Value {
        let patterns: Vec<_> = group
            .scopes
            .iter()
            .map(|scope| format!("{scope}*"))
            .collect();
        json!({
            "id": group.id,
            "groupid": null,
            "name": group.name,
            "type": group.kind.as_str(),
            "links": { "html": self.pages.of_group(group) },
            "organization": null,
            "pre_moderated": group.pre_moderated,
            "scoped": !group.scopes.is_empty(),
            "scopes": { "enforced": group.enforce_scope, "uri_patterns": patterns },
        })
    }
}

fn role_in(caller: &Caller<'_>, group: &str) -> Option<Role> {
    caller.user.as_ref()?.memberships.get(group).copied()
}

/// Whether a group is about a page: one of its scopes begins the page's address.
/// Without scopes it is about all; without a page nobody asked.
fn is_about(group: &Group, page: Option<&str>) -> bool {
    let begins = |page: &str| {
        group
            .scopes
            .iter()
            .any(|scope| page.starts_with(scope.as_str()))
    };
    group.scopes.is_empty() || page.is_none_or(begins)
}
