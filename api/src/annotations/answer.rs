//! What goes back to a client: JSON, nothing, or why not.

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL, CONTENT_TYPE, ORIGIN,
    RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::response::Builder;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use broker::annotation::schema::Invalid;
use broker::annotation::store::Refused;
use broker::people;
use serde_json::{Value, json};
use tracing::error;

/// In which version of the protocol an answer is.
const MEDIA_TYPE: &str = "application/vnd.hypothesis.v1+json";
/// How long clients wait, in seconds, before they ask again what could not be
/// answered: a lost connection to Redis is back sooner.
const PAUSE: &str = "5";
/// How long browsers remember what may be asked from where: a day, in seconds.
const PREFLIGHT_AGE: &str = "86400";

/// What a request is answered with.
#[derive(Debug)]
pub(super) enum Answer {
    /// This JSON.
    Json(String),
    /// It was done, and there is nothing to say of it.
    Done,
}

/// Why a request was not answered. Its text is for the client: it repeats, at
/// most, what the client itself sent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// There is no such thing, or it is not for this caller: which of the two, is
    /// not told.
    #[error(
        "Either the resource you requested doesn't exist, or you are not currently authorized to see it."
    )]
    Absent,
    /// The caller reads none of the forms that there are.
    #[error("Not acceptable")]
    NotAcceptable,
    /// The request is not what it should be.
    #[error("{0}")]
    Invalid(String),
    /// What the request builds on has changed.
    #[error("{0}")]
    Conflict(String),
    /// The body is longer than so many bytes, or broke off; or the annotation
    /// would have more than twice as many.
    #[error(
        "The body must arrive whole and have at most {0} bytes, the annotation at most twice as many"
    )]
    TooLarge(usize),
    /// The caller comes from somewhere else than browsers do.
    #[error("A preflight must have the headers Origin and Access-Control-Request-Method")]
    NoPreflight,
    /// Something that is needed does not answer.
    #[error("The service cannot answer at the moment; try again")]
    Unavailable,
    /// It took too long; what was asked for may or may not have been done.
    #[error("The request took too long; what it asked for may or may not have been done")]
    TooSlow,
    /// A fault of the cluster.
    #[error("The service has a fault; it is logged")]
    Internal,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Absent => StatusCode::NOT_FOUND,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::Invalid(_) | Self::NoPreflight => StatusCode::BAD_REQUEST,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooSlow => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// All names in metrics.
    pub(super) const LABELS: [&str; 7] = [
        "not_found",
        "not_acceptable",
        "bad_user_input",
        "conflict",
        "limited",
        "unavailable",
        "internal",
    ];

    /// Its name in metrics.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Absent => "not_found",
            Self::NotAcceptable => "not_acceptable",
            Self::Invalid(_) | Self::NoPreflight => "bad_user_input",
            Self::Conflict(_) => "conflict",
            Self::TooLarge(_) => "limited",
            Self::Unavailable | Self::TooSlow => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// An argument of the request is not what it should be.
    pub(super) fn bad(argument: &str, why: impl std::fmt::Display) -> Self {
        Self::Invalid(format!("{argument}: {why}"))
    }
}

/// The reason goes to the log, once, and no further.
impl From<broker::Error> for Refusal {
    fn from(reason: broker::Error) -> Self {
        error!(error = %reason, "the broker failed a request about annotations");
        match reason {
            broker::Error::Redis(_) | broker::Error::Provider(_) => Self::Unavailable,
            _ => Self::Internal,
        }
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid.to_string())
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotFound => Self::Absent,
            Refused::Conflict(why) => Self::Conflict(why.to_owned()),
            Refused::Broker(reason) => reason.into(),
            told => Self::Invalid(told.to_string()),
        }
    }
}

impl From<people::Refused> for Refusal {
    fn from(refused: people::Refused) -> Self {
        match refused {
            people::Refused::Broker(reason) => reason.into(),
            people::Refused::Full | people::Refused::Exists => Self::Conflict(refused.to_string()),
            _ => Self::Absent,
        }
    }
}

impl From<&Value> for Answer {
    fn from(value: &Value) -> Self {
        Self::Json(value.to_string())
    }
}

/// The whole response. Pages of any origin may read it: what a browser sends by
/// itself, cookies, opens nothing here.
pub(super) fn respond(answer: Result<Answer, Refusal>) -> Response {
    match answer {
        Ok(Answer::Json(json)) => to_all(StatusCode::OK)
            .header("Hypothesis-Media-Type", MEDIA_TYPE)
            .header(CONTENT_TYPE, "application/json")
            .body(json.into()),
        Ok(Answer::Done) => to_all(StatusCode::NO_CONTENT)
            .header("Hypothesis-Media-Type", MEDIA_TYPE)
            .body(Body::empty()),
        Err(refusal) => {
            let told = json!({ "status": "failure", "reason": refusal.to_string() });
            let mut builder = to_all(refusal.status()).header(CONTENT_TYPE, "application/json");
            if refusal == Refusal::Unavailable {
                builder = builder.header(RETRY_AFTER, PAUSE);
            }
            builder.body(told.to_string().into())
        }
    }
    .expect("the headers are constants")
}

fn to_all(status: StatusCode) -> Builder {
    Response::builder()
        .status(status)
        .header(ACCESS_CONTROL_ALLOW_ORIGIN, "*")
        .header(CACHE_CONTROL, "no-store")
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
}

/// What a browser is told that asks, before it sends what a page wants sent,
/// whether that page may.
pub(super) fn preflight(headers: &HeaderMap) -> Response {
    let (Some(origin), true) = (
        headers.get(ORIGIN),
        headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD),
    ) else {
        return respond(Err(Refusal::NoPreflight));
    };
    Response::builder()
        .status(StatusCode::OK)
        .header(ACCESS_CONTROL_ALLOW_ORIGIN, origin)
        .header(VARY, "Origin")
        .header(
            ACCESS_CONTROL_ALLOW_METHODS,
            "HEAD, GET, PATCH, POST, PUT, DELETE, OPTIONS",
        )
        .header(
            ACCESS_CONTROL_ALLOW_HEADERS,
            "Authorization, Content-Type, Hypothesis-Client-Version, X-Client-Id",
        )
        .header(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE)
        .body(Body::empty())
        .expect("an origin that came in a header can go out in one")
}
