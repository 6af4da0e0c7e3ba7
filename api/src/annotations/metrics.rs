//! What is counted and timed of requests about annotations.

use std::time::Instant;

use broker::node::register::Register;
use prometheus::{Error, HistogramVec, IntCounterVec, Registry};

use super::answer::Refusal;
use super::route::Route;

/// Upper bounds of a request's duration, in seconds.
const SECONDS: [f64; 6] = [0.002, 0.005, 0.02, 0.1, 1.0, 10.0];

/// The instruments. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
}

impl Metrics {
    /// Instruments that `registry` shows.
    ///
    /// # Panics
    /// If it has instruments of the same names: one registry serves one api.
    pub fn new(registry: &Registry) -> Self {
        let register = Register::new("carillon_api", registry);
        Self::register(register).expect("a registry serves one api")
    }

    fn register(register: Register<'_>) -> Result<Self, Error> {
        let seconds = register.histograms(
            "annotation_request_seconds",
            "Time from the headers of a request about annotations to its answer, by what it does: read, search or write.",
            &SECONDS,
            "kind",
        )?;
        for route in Route::every() {
            seconds.with_label_values(&[kind(route)]);
        }
        Ok(Self {
            requests: register.counters(
                "annotation_requests_total",
                "Requests about annotations, by outcome.",
                ["outcome"],
                Refusal::LABELS
                    .into_iter()
                    .chain(["ok"])
                    .map(|outcome| [outcome]),
            )?,
            seconds,
        })
    }

    /// Notes how a request ended.
    pub fn answered(&self, route: Option<Route>, outcome: &str, since: Instant) {
        self.requests.with_label_values(&[outcome]).inc();
        if let Some(route) = route {
            self.seconds
                .with_label_values(&[kind(route)])
                .observe(since.elapsed().as_secs_f64());
        }
    }
}

/// What a route does, for those who watch how long that takes.
const fn kind(route: Route) -> &'static str {
    match route {
        Route::Search => "search",
        Route::Index
        | Route::Links
        | Route::Read
        | Route::Profile
        | Route::OwnGroups
        | Route::Groups
        | Route::Group => "read",
        Route::Create
        | Route::Update
        | Route::Delete
        | Route::Flag
        | Route::Hide
        | Route::Unhide
        | Route::Moderate
        | Route::UpdateProfile
        | Route::Leave
        | Route::Event => "write",
    }
}
