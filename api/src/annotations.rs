//! What clients that annotate ask over HTTP (Hypothesis real-time, from HTTP to
//! the streamer).
//!
//! In reading order: a request is led to its route (`route`), its sender is
//! recognised (here), it is answered (`annotation`, `search`, `group`,
//! `profile`, `pages`), and the answer, or why there is none, is put in
//! words (`answer`) and counted (`metrics`). Who may not do something is told
//! that there is no such thing.

mod route;
mod annotation;
mod search;
mod group;
mod profile;
mod pages;
mod answer;
mod metrics;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use axum::routing::any;
use broker::annotation::store::Annotations;
use broker::identity::{Authenticator, SignedIn};
use broker::people::People;
use broker::sites::{Site, Sites};
use broker::trace::{Kind, Span, Tracing};
use tracing::error;

pub use metrics::Metrics;
pub use pages::Pages;

use answer::{Answer, Refusal, preflight, respond};
use route::Route;

/// How long a request may take, its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// What all paths begin with.
const BASE: &str = "/api/";
/// The longest name of a client that is told to others, in bytes; real ones have
/// 32 characters.
const MAX_CLIENT_ID: usize = 256;

/// What answers requests.
pub struct Surface {
    /// Which host leads where.
    pub sites: Sites,
    /// Tells whom tokens name.
    pub authenticator: Authenticator,
    /// Where annotations are kept.
    pub annotations: Annotations,
    /// Where users and groups are kept.
    pub people: People,
    /// Where pages and the socket are.
    pub pages: Pages,
    /// What counts requests.
    pub metrics: Metrics,
    /// The longest body, in bytes.
    pub max_body: usize,
    /// What records some requests.
    pub tracing: Tracing,
}

/// Everything under `/api/`.
pub fn router(surface: Surface) -> Router {
    Router::new()
        .route("/api", any(serve))
        .route(BASE, any(serve))
        .route("/api/{*path}", any(serve))
        .with_state(Arc::new(surface))
}

async fn serve(State(surface): State<Arc<Surface>>, request: Request) -> Response {
    let since = Instant::now();
    let (parts, body) = request.into_parts();
    if parts.method == Method::OPTIONS {
        return preflight(&parts.headers);
    }
    let path = parts.uri.path();
    let path = path.strip_prefix(BASE).unwrap_or("");
    let found = Route::find(&parts.method, path);
    let route = found.as_ref().map(|(route, _)| *route);
    let span = route.map_or_else(Span::default, |route| {
        surface.recorded(route, &parts.method)
    });
    let answer = match found {
        Some((route, steps)) => {
            let work = surface.answer(route, &steps, &parts, body);
            span.around(work).await
        }
        None => Err(Refusal::Absent),
    };
    let outcome = answer.as_ref().map_or_else(Refusal::label, |_| "ok");
    surface.metrics.answered(route, outcome, since);
    let response = respond(answer);
    let status = response.status();
    span.note("http.response.status_code", i64::from(status.as_u16()));
    span.note("carillon.outcome", outcome);
    if status.is_server_error() {
        span.failed(outcome);
    }
    response
}

/// Who asks, and where.
struct Caller<'a> {
    site: &'a Site,
    /// `None`: somebody who is not signed in.
    user: Option<SignedIn>,
    /// Which of the caller's tabs, if it says so.
    client_id: Option<&'a str>,
}

impl Caller<'_> {
    /// The user, for what only users may do.
    fn signed_in(&self) -> Result<&SignedIn, Refusal> {
        self.user.as_ref().ok_or(Refusal::Absent)
    }

    fn userid(&self) -> Option<&str> {
        self.user.as_ref().map(|user| &*user.userid)
    }
}

impl Surface {
    /// A request that is to be recorded, or nothing. Chance alone decides: whoever
    /// browses may not have anything recorded.
    fn recorded(&self, route: Route, method: &Method) -> Span {
        let span = self.tracing.begin(
            Kind::Server,
            "annotations",
            &Span::default(),
            SystemTime::now(),
        );
        if span.is_recorded() {
            span.rename(format!("{method} {BASE}{}", route.path()));
        }
        span
    }

    async fn answer(
        &self,
        route: Route,
        steps: &[&str],
        parts: &Parts,
        body: Body,
    ) -> Result<Answer, Refusal> {
        if !accepts_json(&parts.headers) {
            return Err(Refusal::NotAcceptable);
        }
        let work = async {
            let caller = self.caller(route, parts).await?;
            self.dispatch(route, steps, parts, &caller, body).await
        };
        tokio::time::timeout(REQUEST_TIMEOUT, work)
            .await
            .unwrap_or_else(|_| {
                let route = route.label();
                error!(
                    route,
                    "a request for {route} took longer than {REQUEST_TIMEOUT:?}"
                );
                Err(Refusal::TooSlow)
            })
    }

    async fn dispatch(
        &self,
        route: Route,
        steps: &[&str],
        parts: &Parts,
        caller: &Caller<'_>,
        body: Body,
    ) -> Result<Answer, Refusal> {
        let query = parts.uri.query().unwrap_or_default();
        let first = steps.first().copied().unwrap_or_default();
        match route {
            Route::Index => Ok(Answer::from(&self.pages.index())),
            Route::Links => Ok(Answer::from(&self.pages.links())),
            Route::Create => self.create(caller, body).await,
            Route::Read => self.read(caller, first).await,
            Route::Update => self.update(caller, first, body).await,
            Route::Delete => self.delete(caller, first).await,
            Route::Flag => self.flag(caller, first).await,
            Route::Hide => self.hide(caller, first).await,
            Route::Unhide => self.unhide(caller, first).await,
            Route::Moderate => self.moderate(caller, first, body).await,
            Route::Search => self.search(caller, query).await,
            Route::Profile => self.profile(caller).await,
            Route::UpdateProfile => self.update_profile(caller, body).await,
            Route::OwnGroups => self.own_groups(caller).await,
            Route::Groups => self.groups(caller, query).await,
            Route::Group => self.group(caller, first).await,
            Route::Leave => {
                let who = steps.get(1).copied().unwrap_or_default();
                self.leave(caller, first, who).await
            }
            Route::Event => Ok(Answer::Done),
        }
    }

    async fn caller<'a>(&'a self, route: Route, parts: &'a Parts) -> Result<Caller<'a>, Refusal> {
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| parts.uri.host());
        let site = self.sites.site(host).ok_or(Refusal::Absent)?;
        let user = match bearer(&parts.headers) {
            Some(token) if !route.is_for_all() => self.authenticator.signed_in(site, token).await?,
            _ => None,
        };
        let client_id = parts.headers.get("x-client-id");
        let client_id = client_id.and_then(|id| id.to_str().ok());
        Ok(Caller {
            site,
            user,
            client_id: client_id.filter(|id| (1..=MAX_CLIENT_ID).contains(&id.len())),
        })
    }

    async fn read_body(&self, body: Body) -> Result<Bytes, Refusal> {
        to_bytes(body, self.max_body)
            .await
            .map_err(|_| Refusal::TooLarge(self.max_body))
    }
}

/// The access token of a request, if it has one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Whether the caller reads what we write.
fn accepts_json(headers: &HeaderMap) -> bool {
    const KNOWN: [&str; 5] = [
        "*/*",
        "application/*",
        "application/json",
        "application/vnd.hypothesis.v1+json",
        "application/vnd.hypothesis.v2+json",
    ];
    let mut asked = headers.get_all(ACCEPT).iter().peekable();
    if asked.peek().is_none() {
        return true;
    }
    asked
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|range| {
            KNOWN
                .iter()
                .any(|known| range.trim().eq_ignore_ascii_case(known))
        })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn with(name: axum::http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_token_follows_the_word_bearer() {
        for (value, token) in [
            ("Bearer ct_1", Some("ct_1")),
            ("bearer  ct_1 ", Some("ct_1")),
            ("Bearer ", None),
            ("Bearer", None),
            ("Basic ct_1", None),
            ("ct_1", None),
        ] {
            assert_eq!(bearer(&with(AUTHORIZATION, value)), token, "{value}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }

    #[test]
    fn clients_that_read_no_json_are_told_so() {
        for accept in [
            "*/*",
            "application/json",
            "text/html, application/xhtml+xml, */*;q=0.8",
            "application/vnd.hypothesis.v1+json",
            "Application/JSON; q=0.5",
        ] {
            assert!(accepts_json(&with(ACCEPT, accept)), "{accept}");
        }
        for accept in ["text/html", "application/vnd.hypothesis.v9+json", ""] {
            assert!(!accepts_json(&with(ACCEPT, accept)), "{accept}");
        }
        assert!(accepts_json(&HeaderMap::new()));
    }
}
