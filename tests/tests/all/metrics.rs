//! What the processes count, and what `docs/operations.md` says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::json;
use tests::fleet::TOKEN_KEYS;
use tests::hypothesis::page_filter;
use tests::misskey::{HOSTS, World};
use tests::{Fleet, Misskey, Process, until};

/// Each process stays below this, however large the cluster and busy its users.
const MOST_SERIES: usize = 300;

/// Comes with secrets in files, of which a worker has none here.
const OF_FILES: &str = "carillon_secret_reloads_total";

/// What only processes with a certificate have; the tests of TLS look at it.
const WITH_TLS: &str = "carillon_tls_not_after_seconds";

/// Labels whose values come from closed sets. Nothing that a user, a message or
/// an address could be told by is among them.
const LABELS: [&str; 21] = [
    "cause",
    "condition",
    "dialect",
    "code",
    "durability",
    "field",
    // Those that an operator has written into the settings.
    "host",
    "identity",
    "kind",
    "le",
    "operation",
    "outcome",
    "quota",
    "reason",
    "role",
    "script",
    "secret",
    "source",
    "task",
    "version",
    "why",
];

/// A metric with all its series.
#[derive(Debug, Default, PartialEq, Eq)]
struct Family {
    help: String,
    kind: String,
    labels: BTreeSet<String>,
    /// One line each, as scraped; a histogram has one for every bucket.
    series: usize,
}

type Families = BTreeMap<String, Family>;

/// Reads the text form of Prometheus.
fn read(text: &str) -> Families {
    let mut families = Families::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            families.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type follows the name");
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if let Some((series, _)) = line.rsplit_once(' ') {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let name = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|end| name.strip_suffix(end))
                .find(|name| families.contains_key(*name))
                .unwrap_or(name);
            let family = families.get_mut(name).expect("a series follows its type");
            family.series += 1;
            let labels = labels.split("\",").filter_map(|l| l.split_once("=\""));
            family
                .labels
                .extend(labels.map(|(label, _)| label.to_owned()));
        }
    }
    families
}

/// What the page says of a metric: its kind and its labels.
type Told = BTreeMap<String, (String, BTreeSet<String>)>;

/// The code spans of a cell.
fn spans(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// The rows of the tables of metrics.
fn told() -> Told {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let text = std::fs::read_to_string(path).expect("the page is there");
    let mut told = Told::new();
    for line in text.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, names, kind, labels, meaning, advice, _] = cells[..] else {
            continue;
        };
        let is_metric = |name: &String| {
            let mut starts = ["carillon_", "process_"].into_iter();
            starts.any(|start| name.starts_with(start))
        };
        for name in spans(names).filter(is_metric) {
            assert!(!meaning.is_empty() && !advice.is_empty(), "{name}: why?");
            let of = (kind.to_owned(), spans(labels).collect());
            assert!(
                told.insert(name.clone(), of).is_none(),
                "{name} has two rows"
            );
        }
    }
    told
}

/// A fleet in which every dialect is served, a Misskey that is relayed to among them,
/// and the token of somebody there.
async fn with_everything() -> (Misskey, Fleet, String) {
    let mut world = World::default();
    let token = world.user("u1");
    let misskey = Misskey::of(world);
    let host = format!("{} relay={}", misskey.host(), misskey.relay());
    let keys = Path::new(env!("CARGO_TARGET_TMPDIR")).join("metrics-token-keys");
    std::fs::write(&keys, TOKEN_KEYS).expect("the folder for tests is writable");
    let keys = keys.to_str().expect("folders have plain names");
    let fleet = Fleet::of(1, 1)
        .env(HOSTS, &host)
        .env("CARILLON_TOKEN_KEYS", "")
        .env("CARILLON_TOKEN_KEYS_FILE", keys);
    let fleet = fleet.start().await;
    (misskey, fleet, token)
}

/// Somebody annotates, somebody watches, and somebody reads notes, with a channel that
/// only a Misskey can serve.
async fn traffic_of_every_dialect(fleet: &Fleet, misskey: &Misskey, token: &str) {
    let ann = fleet.person("ann").await;
    let mut watching = fleet.hypothesis_socket(0, Some(&ann)).await;
    let uri = "https://example.org/";
    let filter = page_filter(&[uri]);
    watching.settle(&filter).await;
    let annotation =
        json!({ "uri": uri, "text": "counted", "permissions": { "read": ["group:__world__"] } });
    fleet.annotate(&ann, annotation).await;
    assert_eq!(watching.json().await["type"], "annotation-notification");

    let reading = fleet.streaming_socket(0, Some(token)).await;
    let mut reading = reading.expect("the token is good");
    reading.connect("serverStats", "s", json!({})).await;
    reading.connect("main", "m", json!({})).await;
    until("it is relayed", async || misskey.streams() == 1).await;
    watching.close().await;
    reading.close().await;
}

/// Everything that backends can ask for of messages, so that every script runs.
async fn every_call(fleet: &Fleet) {
    let waiting = fleet.push("cy", "never read").await;
    let id = &waiting["id"];
    let all = fleet.push_global("withdrawn").await;
    for (query, variables) in [
        (
            "{ messages { items { id } } globalMessages { items { id } } }",
            json!({}),
        ),
        (
            "query($id: ID!) { message(id: $id) { status } }",
            json!({ "id": id }),
        ),
        (
            "{ recipientStatus(recipient: \"cy\") { pending } }",
            json!({}),
        ),
        (
            "mutation($id: ID!) { cancelMessage(id: $id) { id } }",
            json!({ "id": id }),
        ),
        (
            "mutation($id: ID!) { cancelGlobalMessage(id: $id) { id } }",
            json!({ "id": all["id"] }),
        ),
        (
            "mutation { revokeRecipient(recipient: \"cy\") { recipient } }",
            json!({}),
        ),
    ] {
        fleet.data(query, variables).await;
    }
}

/// Enough for everything that is counted by what happens to have happened.
async fn some_traffic(fleet: &Fleet) {
    let mut socket = fleet.connect("ada").await;
    let message = fleet.push("ada", "counted").await;
    assert_eq!(socket.text().await, "counted");
    fleet.settled(&message["id"], "DELIVERED").await;
    fleet.push_global("counted by all").await;
    assert_eq!(socket.text().await, "counted by all");
    let refused = fleet.graphql_as(None, "{ version }", json!({})).await;
    assert_eq!(
        refused["errors"][0]["extensions"]["code"],
        "UNAUTHENTICATED"
    );
    socket.close().await;
    let gateway = fleet.gateway(0);
    until("the gateway notices", async || {
        gateway.metric("carillon_gateway_connections").await < 0.5
    })
    .await;
}

#[tokio::test]
async fn the_page_for_operators_tells_every_metric_and_only_those_there_are() {
    let (misskey, fleet, token) = with_everything().await;
    traffic_of_every_dialect(&fleet, &misskey, &token).await;
    every_call(&fleet).await;
    some_traffic(&fleet).await;
    let processes: [&Process; 3] = [fleet.gateway(0), fleet.api(), fleet.worker(0)];
    let roles = ["gateway", "api", "worker"];
    let mut told = told();
    let (kind, labels) = told.remove(WITH_TLS).expect("it is told of");
    assert_eq!((kind.as_str(), labels.len()), ("gauge", 0));
    let mut wrong = Vec::new();
    let mut known = BTreeSet::new();
    for (role, process) in roles.into_iter().zip(processes) {
        let families = read(&process.metrics().await);
        let series: usize = families.values().map(|family| family.series).sum();
        println!("the {role} has {series} series");
        if MOST_SERIES <= series {
            wrong.push(format!("the {role} has {series} series"));
        }
        for (name, family) in &families {
            wrong.extend(faults(name, family).map(|fault| format!("{role}: {name} {fault}")));
            let mut labels = family.labels.clone();
            labels.remove("le");
            match told.get(name) {
                None => wrong.push(format!("{role}: {name} is not told of")),
                Some((kind, _)) if *kind != family.kind => {
                    wrong.push(format!("{name} is a {}, not a {kind}", family.kind));
                }
                Some((_, told)) if *told != labels => {
                    wrong.push(format!("{name} has the labels {labels:?}, not {told:?}"));
                }
                Some(_) => {}
            }
            known.insert(name.clone());
        }
        // What no process has in its name, all have.
        for name in told.keys() {
            let of = |role: &str| name.starts_with(&format!("carillon_{role}_"));
            let wanted = of(role) || !roles.into_iter().any(of);
            let none_here = role == "worker" && name == OF_FILES;
            if !families.contains_key(name) && wanted && !none_here {
                wrong.push(format!(
                    "{name} is told of, and the {role} has no such metric"
                ));
            }
        }
    }
    told.retain(|name, _| !known.contains(name));
    wrong.extend(told.keys().map(|name| format!("nobody has {name}")));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is not as it should be, whatever the metric is about.
fn faults(name: &str, family: &Family) -> impl Iterator<Item = String> {
    let ours = name.starts_with("carillon_");
    let counter = family.kind == "counter";
    let faults = [
        (family.help.is_empty(), "has no help"),
        (
            !ours && !name.starts_with("process_"),
            "begins with neither carillon_ nor process_",
        ),
        (
            counter != name.ends_with("_total"),
            "ends in _total, or not, but its kind says otherwise",
        ),
        (
            family.series == 0,
            "has no series, though everything has happened",
        ),
    ];
    let labels = family.labels.iter();
    let open = labels.filter(|label| !LABELS.contains(&label.as_str()));
    let open: Vec<_> = open
        .map(|label| format!("has the label {label}, whose values nobody bounds"))
        .collect();
    let faults = faults.into_iter().filter(|(holds, _)| *holds);
    faults.map(|(_, what)| what.to_owned()).chain(open)
}

#[test]
fn the_reader_of_metrics_reads_what_is_written() {
    let text = "# HELP a_seconds How long.\n# TYPE a_seconds histogram\n\
         a_seconds_bucket{errand=\"x,y\",le=\"1\"} 2\na_seconds_bucket{errand=\"x,y\",le=\"+Inf\"} 2\n\
         a_seconds_sum{errand=\"x,y\"} 1\na_seconds_count{errand=\"x,y\"} 2\n\
         # HELP b_total Count.\n# TYPE b_total counter\nb_total 1\n";
    let families = read(text);
    let labels = ["errand", "le"].map(str::to_owned).into();
    let (a, b) = (&families["a_seconds"], &families["b_total"]);
    assert_eq!((a.series, &a.labels), (4, &labels));
    assert_eq!((b.series, b.kind.as_str()), (1, "counter"));
    assert_eq!(families.len(), 2);
}
