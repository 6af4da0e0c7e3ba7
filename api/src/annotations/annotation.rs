//! One annotation: made, read, changed, removed, objected to, moderated.

use axum::body::Body;
use broker::annotation::Moderation;
use broker::annotation::schema;
use broker::annotation::store::{Expected, Stored};
use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use super::{Caller, Surface};

impl Surface {
    pub(super) async fn create(&self, caller: &Caller<'_>, body: Body) -> Result<Answer, Refusal> {
        let user = caller.signed_in()?;
        let draft = schema::draft(&self.read_body(body).await?)?;
        let made = self
            .annotations
            .create(caller.site, draft, user, caller.client_id)
            .await?;
        shown(&made, caller)
    }

    pub(super) async fn read(&self, caller: &Caller<'_>, id: &str) -> Result<Answer, Refusal> {
        let found = self.annotations.annotation(caller.site, id).await?;
        shown(&found.ok_or(Refusal::Absent)?, caller)
    }

    pub(super) async fn update(
        &self,
        caller: &Caller<'_>,
        id: &str,
        body: Body,
    ) -> Result<Answer, Refusal> {
        let user = caller.signed_in()?;
        let body = self.read_body(body).await?;
        // Whose it is comes first: others learn nothing, not even what is wrong
        // with what they sent.
        let found = self.annotations.annotation(caller.site, id).await?;
        let kept = found
            .filter(|stored| stored.notification.author == user.userid)
            .ok_or(Refusal::Absent)?;
        // Changes add members that stay; without an end to that, one annotation
        // could grow until its readers' queues have no room for it.
        let together = kept.notification.annotation.get().len() + body.len();
        if 2 * self.max_body < together {
            return Err(Refusal::TooLarge(self.max_body));
        }
        let changed = self
            .annotations
            .update(
                caller.site,
                id,
                schema::patch(&body)?,
                user,
                caller.client_id,
            )
            .await?;
        shown(&changed, caller)
    }

    pub(super) async fn delete(&self, caller: &Caller<'_>, id: &str) -> Result<Answer, Refusal> {
        self.annotations
            .delete(caller.site, id, caller.signed_in()?, caller.client_id)
            .await?;
        Ok(Answer::from(&json!({ "id": id, "deleted": true })))
    }

    pub(super) async fn flag(&self, caller: &Caller<'_>, id: &str) -> Result<Answer, Refusal> {
        self.annotations
            .flag(caller.site, id, caller.signed_in()?)
            .await?;
        Ok(Answer::Done)
    }

    pub(super) async fn hide(&self, caller: &Caller<'_>, id: &str) -> Result<Answer, Refusal> {
        self.set_status(caller, id, Moderation::Spam, &Expected::default())
            .await?;
        Ok(Answer::Done)
    }

    pub(super) async fn unhide(&self, caller: &Caller<'_>, id: &str) -> Result<Answer, Refusal> {
        self.set_status(caller, id, Moderation::Approved, &Expected::default())
            .await?;
        Ok(Answer::Done)
    }

    pub(super) async fn moderate(
        &self,
        caller: &Caller<'_>,
        id: &str,
        body: Body,
    ) -> Result<Answer, Refusal> {
        caller.signed_in()?;
        let (status, expected) = decision(&self.read_body(body).await?)?;
        let decided = self.set_status(caller, id, status, &expected).await?;
        shown(&decided, caller)
    }

    async fn set_status(
        &self,
        caller: &Caller<'_>,
        id: &str,
        status: Moderation,
        expected: &Expected,
    ) -> Result<Stored, Refusal> {
        let user = caller.signed_in()?;
        Ok(self
            .annotations
            .moderate(caller.site, id, status, user, caller.client_id, expected)
            .await?)
    }
}

/// An annotation as this caller sees it.
pub(super) fn view(stored: &Stored, caller: &Caller<'_>) -> Option<String> {
    let class = stored.class_for(caller.user.as_ref())?;
    let flaggers = &stored.notification.flaggers;
    let flagged = caller
        .userid()
        .is_some_and(|userid| flaggers.iter().any(|flagger| **flagger == *userid));
    Some(stored.notification.view(class, flagged))
}

fn shown(stored: &Stored, caller: &Caller<'_>) -> Result<Answer, Refusal> {
    let json = view(stored, caller).ok_or(Refusal::Absent)?;
    Ok(Answer::Json(json))
}

/// What a moderator says, and of which state of the annotation.
fn decision(body: &[u8]) -> Result<(Moderation, Expected), Refusal> {
    let said: Value = serde_json::from_slice(body).map_err(|_| schema::Invalid::NotJson)?;
    let said = said
        .as_object()
        .ok_or_else(|| Refusal::Invalid("expected an object".to_owned()))?;
    let status = match said.get("moderation_status") {
        Some(status) => status_in("moderation_status", status)?,
        None => return Err(missing("moderation_status")),
    };
    let updated = match said.get("annotation_updated") {
        Some(Value::String(updated)) => updated.clone(),
        Some(_) => {
            return Err(Refusal::bad(
                "annotation_updated",
                "is not of type 'string'",
            ));
        }
        None => return Err(missing("annotation_updated")),
    };
    let before = match said.get("current_moderation_status") {
        None | Some(Value::Null) => None,
        Some(status) => Some(status_in("current_moderation_status", status)?),
    };
    let expected = Expected {
        updated: Some(updated),
        status: before,
    };
    Ok((status, expected))
}

fn status_in(member: &str, said: &Value) -> Result<Moderation, Refusal> {
    said.as_str().and_then(Moderation::parse).ok_or_else(|| {
        let why = "is not one of ['APPROVED', 'DENIED', 'PENDING', 'SPAM']";
        Refusal::bad(member, why)
    })
}

fn missing(member: &str) -> Refusal {
    Refusal::Invalid(format!("'{member}' is a required property"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_names_the_state_that_it_is_about() {
        let said = br#"{"moderation_status":"DENIED","annotation_updated":"t","current_moderation_status":"PENDING"}"#;
        let (status, expected) = decision(said).unwrap();
        assert_eq!(status, Moderation::Denied);
        assert_eq!(expected.updated.as_deref(), Some("t"));
        assert_eq!(expected.status, Some(Moderation::Pending));
        let said = br#"{"moderation_status":"SPAM","annotation_updated":"t","current_moderation_status":null}"#;
        assert_eq!(decision(said).unwrap().1.status, None);
    }

    #[test]
    fn a_decision_of_another_shape_is_refused_with_its_fault() {
        for (said, fault) in [
            ("", "Expected a valid JSON payload"),
            ("[]", "expected an object"),
            (r#"{"annotation_updated":"t"}"#, "'moderation_status' is"),
            (r#"{"moderation_status":"SPAM"}"#, "'annotation_updated' is"),
            (
                r#"{"moderation_status":1,"annotation_updated":"t"}"#,
                "moderation_status: is not one of",
            ),
            (
                r#"{"moderation_status":"SPAM","annotation_updated":7}"#,
                "annotation_updated: ",
            ),
            (
                r#"{"moderation_status":"SPAM","annotation_updated":"t","current_moderation_status":"x"}"#,
                "current_moderation_status: ",
            ),
        ] {
            let refused = decision(said.as_bytes()).unwrap_err().to_string();
            assert!(refused.starts_with(fault), "{said}: {refused}");
        }
    }
}
