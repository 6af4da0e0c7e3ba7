//! What is recorded, and what is not.

use std::future::ready;

use super::*;
use crate::node::env::Env;

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Records this share, for a collector that nobody can reach.
fn tracing(share: &str) -> (Tracing, Exporting, Registry) {
    let mut env = Env::from_pairs([
        ("CARILLON_OTLP_ENDPOINT", "http://127.0.0.1:9"),
        ("CARILLON_TRACE_SAMPLE", share),
    ]);
    let settings = TraceSettings::read(&mut env);
    assert_eq!(env.finish(), Ok(()));
    let registry = Registry::new();
    let (tracing, exporting) = Tracing::start(&settings, "api", "a1", &registry).unwrap();
    (tracing, exporting, registry)
}

fn request(traceparent: Option<&str>) -> Span {
    Span::of_request(&"api-7".into(), traceparent)
}

fn begun(tracing: &Tracing, traceparent: Option<&str>) -> Span {
    tracing.begin(Kind::Server, "x", &request(traceparent), SystemTime::now())
}

#[tokio::test]
async fn a_caller_s_word_counts_before_chance() {
    let unsampled = SAMPLED.replace("-01", "-00");
    for (share, none, other) in [("0", false, false), ("1", true, false)] {
        let (tracing, ..) = tracing(share);
        assert_eq!(begun(&tracing, None).is_recorded(), none, "{share}");
        let refused = begun(&tracing, Some(&unsampled));
        assert_eq!(refused.is_recorded(), other, "{share}");
        assert_eq!(refused.traceparent(), None);
        let taken = begun(&tracing, Some(SAMPLED));
        assert_eq!(taken.trace_id().as_deref(), SAMPLED.get(3..35));
        let stranger = request(Some(SAMPLED)).without_parent();
        let own = tracing.begin(Kind::Server, "x", &stranger, SystemTime::now());
        assert_ne!(own.trace_id().as_deref(), SAMPLED.get(3..35));
    }
}

#[tokio::test]
async fn parts_are_recorded_with_the_whole_and_passed_on_by_their_own_id() {
    let (tracing, ..) = tracing("0");
    let whole = begun(&tracing, Some(SAMPLED));
    let part = tracing.part(Kind::Producer, "y", &whole);
    let (of_whole, of_part) = (whole.traceparent().unwrap(), part.traceparent().unwrap());
    assert_eq!(of_whole[..36], of_part[..36], "one trace");
    assert_ne!(of_whole[36..52], of_part[36..52]);
    let none = tracing.part(Kind::Producer, "y", &begun(&tracing, None));
    assert!(!none.is_recorded());
    let off = Tracing::default();
    assert!(!begun(&off, Some(SAMPLED)).is_recorded());
    assert!(!off.part(Kind::Producer, "y", &whole).is_recorded());
}

#[tokio::test]
async fn work_is_done_as_a_part_of_what_it_is_for() {
    let (tracing, ..) = tracing("0");
    let whole = begun(&tracing, Some(SAMPLED));
    let inside = whole.around(async {
        ready(()).await;
        (Span::current().traceparent(), Correlation::current())
    });
    let (traceparent, correlation) = inside.await;
    assert_eq!(traceparent, whole.traceparent());
    assert_eq!(correlation.request_id.as_deref(), Some("api-7"));
    let (trace, _) = correlation.ids.unwrap();
    assert_eq!(Some(trace), whole.trace_id());
    assert_eq!(Correlation::current(), Correlation::default());
}

#[tokio::test]
async fn the_last_spans_are_given_up_in_time() {
    let (tracing, exporting, registry) = tracing("1");
    drop(begun(&tracing, None));
    let began = std::time::Instant::now();
    exporting.finish().await;
    assert!(began.elapsed() < std::time::Duration::from_secs(4));
    let dropped: f64 = registry
        .gather()
        .iter()
        .filter(|family| family.name() == "carillon_trace_dropped_total")
        .flat_map(prometheus::proto::MetricFamily::get_metric)
        .map(|metric| metric.get_counter().get_value())
        .sum();
    assert!((dropped - 1.0).abs() < f64::EPSILON, "{dropped}");
}
