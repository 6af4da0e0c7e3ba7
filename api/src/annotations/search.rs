//! Which annotations a query asks for, and the page that answers it.

use broker::annotation::store::{Search, Sort, Stored};
use broker::sites::Site;
use url::form_urlencoded;

use super::annotation::view;
use super::answer::{Answer, Refusal};
use super::{Caller, Surface};

/// How many a page may leave out; what is further on is reached with
/// `search_after`.
const MAX_OFFSET: usize = 9800;

impl Surface {
    pub(super) async fn search(&self, caller: &Caller<'_>, query: &str) -> Result<Answer, Refusal> {
        let search = read(query, caller.site)?;
        let found = self
            .annotations
            .search(caller.site, &search, caller.user.as_ref())
            .await?;
        let mut json = format!(r#"{{"total":{},"rows":"#, found.total);
        list(&mut json, &found.rows, caller);
        if search.separate_replies {
            json.push_str(r#","replies":"#);
            list(&mut json, &found.replies, caller);
        }
        json.push('}');
        Ok(Answer::Json(json))
    }
}

/// Writes the views as an array: each is JSON already, and some are long.
fn list(json: &mut String, found: &[Stored], caller: &Caller<'_>) {
    json.push('[');
    let views = found.iter().filter_map(|stored| view(stored, caller));
    for (n, view) in views.enumerate() {
        if n != 0 {
            json.push(',');
        }
        json.push_str(&view);
    }
    json.push(']');
}

/// What is asked for. Parameters that would leave something out, and that we do
/// not know, are refused: a page that ignores them would show too much.
fn read(query: &str, site: &Site) -> Result<Search, Refusal> {
    let mut search = Search::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let text = || value.clone().into_owned();
        match &*name {
            "uri" | "url" => search.uris.push(text()),
            "group" => search.groups.push(text()),
            "user" => search.users.push(userid(&value, site)),
            "references" => search.references.push(text()),
            "limit" => search.limit = number("limit", &value)?.min(Search::MAX_LIMIT),
            "offset" => search.offset = number("offset", &value)?.min(MAX_OFFSET),
            "search_after" => search.after = Some(text()),
            "_separate_replies" => search.separate_replies = truth(&value)?,
            "order" => search.descending = descending(&value)?,
            "sort" => search.sort = sort(&value)?,
            "any" | "quote" | "tag" | "tags" | "text" | "uri.parts" | "wildcard_uri" => {
                return Err(Refusal::bad(&name, "is not searched for here"));
            }
            _ => {}
        }
    }
    let most = [
        ("uri", &search.uris),
        ("group", &search.groups),
        ("user", &search.users),
        ("references", &search.references),
    ];
    match most
        .iter()
        .find(|(_, values)| Search::MAX_VALUES < values.len())
    {
        Some((name, _)) => Err(Refusal::bad(
            name,
            format!("at most {}", Search::MAX_VALUES),
        )),
        None => Ok(search),
    }
}

/// A user as they are known to others: by their whole name, by one with their
/// authority, or by that without.
fn userid(said: &str, site: &Site) -> String {
    if said.starts_with("acct:") {
        said.to_owned()
    } else if said.contains('@') {
        format!("acct:{said}")
    } else {
        format!("acct:{said}@{}", site.authority)
    }
}

fn number(name: &str, said: &str) -> Result<usize, Refusal> {
    said.parse()
        .map_err(|_| Refusal::bad(name, "expected a whole number, not below 0"))
}

fn truth(said: &str) -> Result<bool, Refusal> {
    match said.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "t" | "y" => Ok(true),
        "false" | "0" | "no" | "f" | "n" | "" => Ok(false),
        _ => Err(Refusal::bad("_separate_replies", "expected true or false")),
    }
}

fn descending(said: &str) -> Result<bool, Refusal> {
    match said {
        "asc" => Ok(false),
        "desc" => Ok(true),
        _ => Err(Refusal::bad("order", "expected asc or desc")),
    }
}

fn sort(said: &str) -> Result<Sort, Refusal> {
    Ok(match said {
        "created" => Sort::Created,
        "updated" => Sort::Updated,
        "group" => Sort::Group,
        "id" => Sort::Id,
        "user" => Sort::User,
        _ => {
            return Err(Refusal::bad(
                "sort",
                "expected created, updated, group, id or user",
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Result<Search, String> {
        let site = Site {
            tenant: "acme".parse().unwrap(),
            authority: "example.org".into(),
        };
        read(query, &site).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn what_the_sidebar_asks_for_is_understood() {
        let query = "limit=50&sort=created&order=asc&_separate_replies=true&group=__world__\
            &uri=https%3A%2F%2Fa.example%2F%3Fb%3Dc&search_after=2026-01-01T00%3A00%3A00.000000%2B00%3A00";
        let wanted = Search {
            uris: vec!["https://a.example/?b=c".to_owned()],
            groups: vec!["__world__".to_owned()],
            sort: Sort::Created,
            descending: false,
            limit: 50,
            after: Some("2026-01-01T00:00:00.000000+00:00".to_owned()),
            separate_replies: true,
            ..Search::default()
        };
        assert_eq!(asked(query), Ok(wanted));
    }

    #[test]
    fn a_page_holds_no_more_than_the_most() {
        let search = asked("limit=100000&offset=100000").unwrap();
        assert_eq!((search.limit, search.offset), (200, 9800));
    }

    #[test]
    fn a_user_may_be_named_without_their_authority() {
        for name in ["jo", "jo@example.org", "acct:jo@example.org"] {
            let search = asked(&format!("user={name}")).unwrap();
            assert_eq!(search.users, ["acct:jo@example.org"], "{name}");
        }
    }

    #[test]
    fn what_cannot_be_looked_for_is_refused_by_its_name() {
        for (query, fault) in [
            ("limit=-1", "limit: "),
            ("limit=x", "limit: "),
            ("offset=1.5", "offset: "),
            ("order=up", "order: "),
            ("sort=text", "sort: "),
            ("_separate_replies=perhaps", "_separate_replies: "),
            ("tag=a", "tag: "),
            ("wildcard_uri=https://a/*", "wildcard_uri: "),
            (&"uri=a&".repeat(33), "uri: "),
        ] {
            let refused = asked(query).unwrap_err();
            assert!(refused.starts_with(fault), "{query}: {refused}");
        }
    }
}
