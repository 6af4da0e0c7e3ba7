//! What a report says happened, member by member.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::members::Members;
use super::{Invalid, What, shown};
use crate::annotation::document::{self, CANONICAL, MAX_CLAIMS};
use crate::annotation::schema::{MAX_ID, MAX_ITEMS, MAX_URI, MAX_VERSION};
use crate::annotation::{
    ANNOTATION, Audience, Change, Moderation, Notification, Readable, WORLD, uri,
};
use crate::people::{
    MEMBERSHIP, MembershipAction, MembershipChange, Role, check_group_id, check_userid,
};

/// The longest id of a tab, in characters.
const MAX_CLIENT_ID: usize = 255;

/// What a report says. `beside` is its type, where that is told beside it.
pub(super) fn what(report: &Members<'_>, beside: Option<&str>) -> Result<What, Invalid> {
    let within = report.any_text("type")?;
    if let (Some(beside), Some(within)) = (beside, within)
        && beside != within
    {
        return Err(report.bad("type", "what the entry's field type says"));
    }
    match within.or(beside).unwrap_or(ANNOTATION) {
        ANNOTATION => annotation(report).map(|told| What::Annotation(Box::new(told))),
        MEMBERSHIP => membership(report),
        // Beside an event, a push could have been meant.
        _ if beside.is_some() => {
            Err(report.bad("type", "annotation, membership, push or push-global"))
        }
        _ => Err(report.bad("type", "annotation or membership")),
    }
}

fn annotation(report: &Members<'_>) -> Result<Notification, Invalid> {
    report.only(&[
        "id",
        "type",
        "action",
        "annotation",
        "sourceClientId",
        "authorBanned",
        "group",
        "shared",
        "moderation",
        "flaggers",
        "references",
        "equivalentUris",
        "version",
    ])?;
    let action: Change = report.needed("action", "create, update or delete")?;
    let annotation = report.needed_object("annotation")?;
    let id = annotation.needed_text("id", MAX_ID)?;
    let author = annotation.needed_text("user", MAX_ID)?;
    check_userid(author)
        .map_err(|_| annotation.bad("user", "acct:<name>@<authority>, at most 256 bytes"))?;
    shown::check(&annotation)?;
    let group = audience(report, &annotation)?;
    let shared = shared(report, &annotation, &group)?;
    let references = match report.texts("references", MAX_ITEMS, MAX_ID)? {
        Some(references) => references,
        None => annotation
            .texts("references", MAX_ITEMS, MAX_ID)?
            .unwrap_or_default(),
    };
    let flaggers = report.texts("flaggers", MAX_ITEMS, MAX_ID)?;
    let flaggers = flaggers.unwrap_or_default();
    let told = match action {
        Change::Delete => json!({"id": id}),
        _ => Value::Object(shown::complete(&annotation, shared, &group)),
    };
    Ok(Notification {
        action,
        id: id.into(),
        annotation: raw(&told),
        author: author.into(),
        author_banned: report.flag("authorBanned")?.unwrap_or(false),
        shared,
        moderation: moderation(report, &annotation)?,
        references: references.into_iter().map(Arc::from).collect(),
        scope_keys: scope_keys(report, &annotation)?,
        source_client_id: report.text("sourceClientId", MAX_CLIENT_ID)?.map(Arc::from),
        flaggers: flaggers.into_iter().map(Arc::from).collect(),
        group,
    })
}

/// Who reads the annotation's group. Only of the group of everybody that need
/// not be said.
fn audience(report: &Members<'_>, annotation: &Members<'_>) -> Result<Audience, Invalid> {
    let id = annotation.needed_text("group", MAX_ID)?;
    if id != WORLD && check_group_id(id).is_err() {
        let expected = "__world__, or 1 to 64 letters, digits, '_' or '-'";
        return Err(annotation.bad("group", expected));
    }
    let said = report.object("group")?;
    if let Some(group) = &said {
        group.only(&["id", "readableBy"])?;
        if group.text("id", MAX_ID)?.is_some_and(|said| said != id) {
            return Err(group.bad("id", "the same as annotation.group"));
        }
    }
    const READERS: &str = "world, members or nobody";
    let readable_by = match said {
        Some(group) => group.needed("readableBy", READERS)?,
        None if id == WORLD => Readable::World,
        None => return Err(report.bad("group", "an object with readableBy")),
    };
    let id = id.into();
    Ok(Audience { id, readable_by })
}

/// Whether the group reads it. It is never guessed: what is private would be
/// told, or what is shared kept back.
fn shared(
    report: &Members<'_>,
    annotation: &Members<'_>,
    group: &Audience,
) -> Result<bool, Invalid> {
    if let Some(shared) = report.flag("shared")? {
        return Ok(shared);
    }
    let permissions = annotation.object("permissions")?;
    let read = match permissions {
        Some(permissions) => permissions.texts("read", MAX_ITEMS, MAX_ID)?,
        None => None,
    };
    let Some(read) = read else {
        let expected = "true or false, unless annotation.permissions.read tells";
        return Err(report.bad("shared", expected));
    };
    let with = |reader: &&str| {
        let group_read = reader.strip_prefix("group:");
        group_read.is_some_and(|id| id == &*group.id || id == WORLD)
    };
    Ok(read.iter().any(with))
}

/// What moderators think of it. What is said to be hidden is not shown for want
/// of a reason.
fn moderation(
    report: &Members<'_>,
    annotation: &Members<'_>,
) -> Result<Option<Moderation>, Invalid> {
    const STATUS: &str = "APPROVED, PENDING, DENIED or SPAM";
    let status = match report.one("moderation", STATUS)? {
        Some(status) => Some(status),
        None => annotation.one("moderation_status", STATUS)?,
    };
    let hidden = annotation.flag("hidden")?.unwrap_or(false);
    if hidden && status.is_none() {
        return Err(report.bad(
            "moderation",
            "why annotation.hidden is true: PENDING, DENIED or SPAM",
        ));
    }
    Ok(status)
}

/// What filters on `/uri` are compared with (Hypothesis real-time, scope keys).
/// What cannot be normalised is found by the very same text.
fn scope_keys(report: &Members<'_>, annotation: &Members<'_>) -> Result<Vec<Arc<str>>, Invalid> {
    let own = annotation.needed_text("uri", MAX_URI)?.trim();
    if own.is_empty() {
        return Err(annotation.bad("uri", "an address"));
    }
    let document = annotation.get("document");
    let mut claims = document::claims(own, document);
    // The page names this very address as the one to be known by.
    if claims
        .iter()
        .any(|claim| claim.kind == CANONICAL && claim.uri == own)
    {
        claims.truncate(1);
    }
    let others = report.texts("equivalentUris", MAX_CLAIMS, MAX_URI)?;
    let others = others.unwrap_or_default().into_iter().map(str::trim);
    let others = others.map(|other| uri::normalise(other).unwrap_or_else(|_| other.to_owned()));
    let version = report.number("version", MAX_VERSION)?;
    let version = version.or_else(|| document::version(document));
    let mut known = HashSet::new();
    let keys = claims
        .into_iter()
        .map(|claim| claim.normalised)
        .chain(others);
    let keys = keys.filter(|key| known.insert(key.clone()));
    Ok(keys
        .map(|key| uri::with_version(&key, version).into())
        .collect())
}

fn membership(report: &Members<'_>) -> Result<What, Invalid> {
    report.only(&["id", "type", "userid", "group", "action", "role", "session"])?;
    let userid = report.needed_text("userid", MAX_ID)?;
    check_userid(userid)
        .map_err(|_| report.bad("userid", "acct:<name>@<authority>, at most 256 bytes"))?;
    let group = report.needed_text("group", MAX_ID)?;
    check_group_id(group).map_err(|_| {
        report.bad(
            "group",
            "1 to 64 letters, digits, '_' or '-', not __world__",
        )
    })?;
    let action: Option<MembershipAction> =
        report.one("action", "group-join, group-leave or null")?;
    let role: Option<Role> = report.one("role", "member, moderator, admin, owner or null")?;
    match (action, role) {
        (Some(MembershipAction::GroupJoin), None) => {
            return Err(report.bad("role", "what the user is in the group now"));
        }
        (Some(MembershipAction::GroupLeave), Some(_)) => {
            return Err(report.bad("role", "null, as the user left"));
        }
        _ => {}
    }
    let session = report.object("session")?;
    if let Some(session) = &session
        && session.text("userid", MAX_ID)? != Some(userid)
    {
        return Err(session.bad("userid", "the userid of the event"));
    }
    let change = MembershipChange {
        action,
        group: group.into(),
        role,
        session: session.map(|session| raw(session.all())),
    };
    Ok(What::Membership {
        userid: userid.into(),
        change,
    })
}

fn raw(value: &impl serde::Serialize) -> Box<RawValue> {
    to_raw_value(value).expect("JSON can be written")
}
