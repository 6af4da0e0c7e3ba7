//! Telling callers when to come back: those that are refused because memory is
//! scarce, and all others that are refused for the moment.

use axum::extract::{Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use broker::node::memory::Pressure;
use tokio::sync::watch;

use crate::failure::{Code, Failure};
use crate::metrics::Metrics;
use crate::router;

/// Seconds after which a caller is asked to come back, at least and at most: not all
/// together, as they may have been refused together.
const SOON: std::ops::RangeInclusive<u32> = 1..=5;

/// What is refused, and where that is counted.
#[derive(Clone)]
pub(crate) struct Later {
    pub(crate) memory: watch::Receiver<Pressure>,
    pub(crate) metrics: Metrics,
}

/// Refuses every request while memory is scarce, before its body is read.
pub(crate) async fn refuse(State(later): State<Later>, request: Request, next: Next) -> Response {
    let scarce = later.memory.borrow().scarce;
    let mut response = if scarce {
        later.metrics.refused(Code::Unavailable);
        let why = "this process is short of memory; try again later";
        let failure = Failure::new(Code::Unavailable, why);
        router::refuse(StatusCode::SERVICE_UNAVAILABLE, failure)
    } else {
        next.run(request).await
    };
    let status = response.status();
    let for_now = [
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    if for_now.contains(&status) {
        let seconds = HeaderValue::from(rand::random_range(SOON));
        let headers = response.headers_mut();
        headers.entry(RETRY_AFTER).or_insert(seconds);
    }
    response
}
