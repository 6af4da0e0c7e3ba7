//! Which request asks for what: one table is the router, the index that clients
//! read, and the names in metrics.

use axum::http::Method;
use serde_json::{Map, Value, json};

/// Something that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// What can be asked for, and how.
    Index,
    /// Where pages are, and the socket.
    Links,
    /// A new annotation.
    Create,
    /// An annotation.
    Read,
    /// A change of an annotation by its author.
    Update,
    /// The end of an annotation.
    Delete,
    /// An objection to an annotation.
    Flag,
    /// A moderator takes an annotation out of sight.
    Hide,
    /// A moderator takes that back.
    Unhide,
    /// A moderator says what they think of an annotation.
    Moderate,
    /// Annotations that meet conditions.
    Search,
    /// Who the caller is.
    Profile,
    /// A change of what is remembered for the caller.
    UpdateProfile,
    /// The groups of the caller.
    OwnGroups,
    /// The groups that the caller can read, of a page.
    Groups,
    /// A group.
    Group,
    /// The caller goes out of a group.
    Leave,
    /// Something that a client counts. Nobody else does.
    Event,
}

/// How a route is asked for.
struct Row {
    route: Route,
    method: Method,
    /// Under `/api/`; a step that begins with `:` is any, but not empty.
    path: &'static str,
    /// What clients look it up by, and what it says there.
    name: Option<(&'static str, &'static str)>,
}

const fn row(
    route: Route,
    method: Method,
    path: &'static str,
    name: &'static str,
    told: &'static str,
) -> Row {
    Row {
        route,
        method,
        path,
        name: Some((name, told)),
    }
}

const fn unnamed(route: Route, method: Method, path: &'static str) -> Row {
    Row {
        route,
        method,
        path,
        name: None,
    }
}

#[rustfmt::skip]
static TABLE: [Row; 19] = {
    use Route::*;
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    const PUT: Method = Method::PUT;
    const PATCH: Method = Method::PATCH;
    const DELETE: Method = Method::DELETE;
    [
        unnamed(Index, GET, ""),
        row(Links, GET, "links", "links", "Where pages are, and the socket"),
        row(Create, POST, "annotations", "annotation.create", "Make an annotation"),
        row(Read, GET, "annotations/:id", "annotation.read", "Read an annotation"),
        row(Update, PATCH, "annotations/:id", "annotation.update", "Change an annotation"),
        unnamed(Update, PUT, "annotations/:id"),
        row(Delete, DELETE, "annotations/:id", "annotation.delete", "Delete an annotation"),
        row(Flag, PUT, "annotations/:id/flag", "annotation.flag", "Object to an annotation"),
        row(Hide, PUT, "annotations/:id/hide", "annotation.hide", "Hide an annotation, as a moderator"),
        row(Unhide, DELETE, "annotations/:id/hide", "annotation.unhide", "Show it again, as a moderator"),
        row(Moderate, PATCH, "annotations/:id/moderation", "annotation.moderate", "Say what a moderator thinks of an annotation"),
        row(Search, GET, "search", "search", "Find annotations"),
        row(Profile, GET, "profile", "profile.read", "Read who you are"),
        row(UpdateProfile, PATCH, "profile", "profile.update", "Change what is remembered for you"),
        row(OwnGroups, GET, "profile/groups", "profile.groups.read", "List the groups you are in"),
        row(Groups, GET, "groups", "groups.read", "List the groups you can read"),
        row(Group, GET, "groups/:id", "group.read", "Read a group"),
        row(Leave, DELETE, "groups/:pubid/members/:userid", "group.member.delete", "Leave a group; the user is \"me\""),
        row(Event, POST, "analytics/events", "analytics.events.create", "Accepted, and not kept"),
    ]
};

impl Route {
    /// What a request asks for, its path begun after `/api/`, and the free steps
    /// of the path, as they were sent. A method that a path does not have finds
    /// as little as a path that there is not.
    pub fn find<'a>(method: &Method, path: &'a str) -> Option<(Self, Vec<&'a str>)> {
        // Of an answer to HEAD the server sends all but the body.
        let method = match *method {
            Method::HEAD => &Method::GET,
            _ => method,
        };
        TABLE
            .iter()
            .filter(|row| row.method == *method)
            .find_map(|row| Some((row.route, free_steps(row.path, path)?)))
    }

    /// All of them, each once.
    pub fn every() -> impl Iterator<Item = Self> {
        let first = |at: &usize| TABLE[..*at].iter().all(|row| row.route != TABLE[*at].route);
        (0..TABLE.len()).filter(first).map(|at| TABLE[at].route)
    }

    /// Where it is asked for, under `/api/`.
    pub(super) fn path(self) -> &'static str {
        let row = TABLE.iter().find(|row| row.route == self);
        row.expect("the table has every route").path
    }

    /// Its name in the log.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Links => "links",
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Flag => "flag",
            Self::Hide => "hide",
            Self::Unhide => "unhide",
            Self::Moderate => "moderate",
            Self::Search => "search",
            Self::Profile => "profile",
            Self::UpdateProfile => "update_profile",
            Self::OwnGroups => "own_groups",
            Self::Groups => "groups",
            Self::Group => "group",
            Self::Leave => "leave",
            Self::Event => "event",
        }
    }

    /// Whether its answer is the same for everybody, so that nobody need be asked
    /// who the caller is.
    pub const fn is_for_all(self) -> bool {
        matches!(self, Self::Index | Self::Links | Self::Event)
    }
}

/// The steps of `path` that stand where `pattern` lets any stand, if it fits.
fn free_steps<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let mut free = Vec::new();
    let mut steps = path.split('/');
    for wanted in pattern.split('/') {
        let step = steps.next()?;
        if wanted.starts_with(':') && !step.is_empty() {
            free.push(step);
        } else if wanted != step {
            return None;
        }
    }
    steps.next().is_none().then_some(free)
}

/// What the index says: by name, how each route is asked for under `api`, which
/// ends in `/`.
pub(super) fn index(api: &str) -> Value {
    let mut links = Map::new();
    for row in &TABLE {
        let Some((name, told)) = row.name else {
            continue;
        };
        let mut at = &mut links;
        let (within, last) = name.rsplit_once('.').unwrap_or(("", name));
        for step in within.split('.').filter(|step| !step.is_empty()) {
            let deeper = at.entry(step).or_insert_with(|| json!({}));
            at = deeper.as_object_mut().expect("no name begins another");
        }
        let told = json!({
            "method": row.method.as_str(),
            "url": format!("{api}{}", row.path),
            "desc": told,
        });
        at.insert(last.to_owned(), told);
    }
    json!({ "links": links })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_route_with_its_free_steps() {
        let found = Route::find(&Method::DELETE, "annotations/abc/hide");
        assert_eq!(found, Some((Route::Unhide, vec!["abc"])));
        let found = Route::find(&Method::DELETE, "groups/g/members/me");
        assert_eq!(found, Some((Route::Leave, vec!["g", "me"])));
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(Route::find(&method, ""), Some((Route::Index, vec![])));
        }
    }

    #[test]
    fn nothing_else_leads_anywhere() {
        for path in [
            "annotations/",
            "annotations//flag",
            "annotations/a/b",
            "search/",
            "/search",
            "Search",
            "groups/g/members/",
        ] {
            for row in &TABLE {
                assert_eq!(Route::find(&row.method, path), None, "{path}");
            }
        }
        assert_eq!(Route::find(&Method::POST, "search"), None);
    }

    #[test]
    fn the_index_names_what_clients_look_up() {
        let index = index("https://notes.example/api/");
        for (name, method, path) in [
            ("search", "GET", "search"),
            ("annotation/update", "PATCH", "annotations/:id"),
            ("profile/groups/read", "GET", "profile/groups"),
            (
                "group/member/delete",
                "DELETE",
                "groups/:pubid/members/:userid",
            ),
        ] {
            let entry = index.pointer(&format!("/links/{name}")).unwrap();
            assert_eq!(entry["method"], method);
            assert_eq!(entry["url"], format!("https://notes.example/api/{path}"));
        }
    }
}
