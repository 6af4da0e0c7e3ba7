//! What the manifests say of how pods come, are asked how they are, and go: read from
//! what production's overlay is rendered to.

use std::time::Duration;

const RENDERED: &str = include_str!("../../../../deploy/k8s/rendered/prod.yaml");

/// How the kubelet asks a pod how it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// How often.
    pub(crate) period: Duration,
    /// How long it waits for an answer.
    pub(crate) timeout: Duration,
    /// So many failures in a row count.
    pub(crate) failures: u32,
}

/// What one Deployment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// How many pods there are to be.
    pub(crate) replicas: usize,
    /// So many more may be there during a rollout.
    pub(crate) surge: usize,
    /// So many fewer.
    pub(crate) unavailable: usize,
    /// A new pod counts once it has been ready for so long.
    pub(crate) min_ready: Duration,
    /// What does not end within this time of its SIGTERM is killed.
    pub(crate) grace: Duration,
    /// Whether it has started.
    pub(crate) startup: Probe,
    /// Whether it lives.
    pub(crate) liveness: Probe,
    /// Whether it is ready.
    pub(crate) readiness: Probe,
}

impl Manifest {
    /// Of this Deployment, with so many replicas.
    ///
    /// # Panics
    /// If it says nothing of it.
    pub(crate) fn of(name: &str, replicas: usize) -> Self {
        let document = document("Deployment", name);
        let get = |path: &[&str]| {
            let path = [&["spec"], path].concat();
            value(document, &path).unwrap_or_else(|| panic!("{name} says nothing of {path:?}"))
        };
        let seconds = |path: &[&str]| Duration::from_secs(number(get(path)));
        let probe = |kind: &str| {
            let of = |what| number(get(&["template", "spec", "containers", kind, what]));
            Probe {
                period: Duration::from_secs(of("periodSeconds")),
                timeout: Duration::from_secs(of("timeoutSeconds")),
                failures: of("failureThreshold") as u32,
            }
        };
        let of_replicas = |what: &str, part: fn(f64) -> f64| {
            let said = get(&["strategy", "rollingUpdate", what]);
            match said.strip_suffix('%') {
                Some(percent) => part(replicas as f64 * number(percent) as f64 / 100.0) as usize,
                None => number(said) as usize,
            }
        };
        Self {
            replicas,
            surge: of_replicas("maxSurge", f64::ceil),
            unavailable: of_replicas("maxUnavailable", f64::floor),
            min_ready: seconds(&["minReadySeconds"]),
            grace: seconds(&["template", "spec", "terminationGracePeriodSeconds"]),
            startup: probe("startupProbe"),
            liveness: probe("livenessProbe"),
            readiness: probe("readinessProbe"),
        }
    }
}

/// The settings of all pods, without those that say where things are.
pub(crate) fn settings() -> Vec<(&'static str, &'static str)> {
    let documents =
        ["carillon-settings", "carillon-leaving"].map(|name| document("ConfigMap", name));
    let lines = documents.into_iter().flat_map(str::lines);
    let pairs = lines.filter_map(|line| line.trim().split_once(": "));
    let is_place = |name: &str| {
        ["_LISTEN", "_URL", "_PROXIES"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    pairs
        .filter(|(name, _)| name.starts_with("CARILLON_") && !is_place(name))
        .map(|(name, value)| (name, value.trim_matches('"')))
        .collect()
}

/// One of the settings that are so many seconds.
///
/// # Panics
/// If it is not there.
pub(crate) fn seconds(setting: &str) -> Duration {
    let settings = settings();
    let (_, value) = settings
        .iter()
        .find(|(name, _)| *name == setting)
        .unwrap_or_else(|| panic!("nobody sets {setting}"));
    Duration::from_secs(number(value.trim_end_matches('s')))
}

fn number(text: &str) -> u64 {
    text.parse()
        .unwrap_or_else(|_| panic!("{text:?} is no number"))
}

/// The document of this kind whose name is this, or this and a hash.
fn document(kind: &str, name: &str) -> &'static str {
    let is_it = |document: &&str| {
        let named = value(document, &["metadata", "name"]);
        let rest = named.and_then(|named| named.strip_prefix(name));
        let hashed = |rest: &str| rest.starts_with('-') && !rest[1..].contains('-');
        value(document, &["kind"]) == Some(kind)
            && rest.is_some_and(|rest| rest.is_empty() || hashed(rest))
    };
    let mut documents = RENDERED.split("\n---\n");
    let found = documents.find(is_it);
    found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

/// What stands at a key below others. It knows no more of YAML than how a rendering
/// is indented; of several items of a list the first that has the key counts.
fn value<'a>(document: &'a str, path: &[&str]) -> Option<&'a str> {
    let mut lines = document.lines();
    let mut above = None;
    let mut found = "";
    for key in path {
        loop {
            let line = lines.next()?;
            let content = line.trim_start_matches([' ', '-']);
            let indent = line.len() - content.len();
            if above.is_some_and(|above| indent <= above) {
                return None;
            }
            let rest = content
                .strip_prefix(key)
                .and_then(|rest| rest.strip_prefix(':'));
            if let Some(rest) = rest
                && (above.is_some() || indent == 0)
            {
                (above, found) = (Some(indent), rest.trim().trim_matches('"'));
                break;
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_below_its_keys() {
        let text = "kind: A\nmetadata:\n  name: x\nspec:\n  first:\n    a: 1\n  list:\n  - name: n\n    probe:\n      a: \"2\"\n  other: 3\n";
        assert_eq!(value(text, &["metadata", "name"]), Some("x"));
        assert_eq!(value(text, &["spec", "list", "probe", "a"]), Some("2"));
        assert_eq!(value(text, &["spec", "first", "other"]), None);
        assert_eq!(value(text, &["name"]), None);
    }

    #[test]
    fn what_is_played_is_what_is_deployed() {
        let gateway = Manifest::of("carillon-gateway", 3);
        assert_eq!((gateway.surge, gateway.unavailable), (1, 0));
        let leaving = seconds("CARILLON_SHUTDOWN_DELAY") + seconds("CARILLON_DRAIN_WINDOW");
        assert!(leaving < gateway.grace, "{gateway:?}");
        assert!(
            settings()
                .iter()
                .any(|(name, _)| *name == "CARILLON_GATEWAY_MAX_AGE")
        );
    }
}
