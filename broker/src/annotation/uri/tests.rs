//! Addresses held to recorded answers, and to what must hold of all.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;
use serde_json::Value;

use super::*;

/// What the original answered.
#[derive(Deserialize)]
struct Cases {
    uri_normalisation_vectors: Vec<Normalised>,
    uri_version_vectors: Vec<Versioned>,
}

#[derive(Deserialize)]
struct Normalised {
    #[serde(rename = "in")]
    uri: String,
    /// Absent where it refused.
    out: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Versioned {
    #[serde(rename = "in")]
    value: String,
    base: String,
    versions: Vec<Value>,
    ws_filter_keys: Value,
}

fn cases() -> Cases {
    let text = include_str!("../../../../tests/cases/hypothesis.json");
    serde_json::from_str(text).expect("the cases have this shape")
}

/// Pieces that addresses are interesting for.
const PIECES: [&str; 56] = [
    "http://",
    "https://",
    "HTTP://",
    "httpx://",
    "ftp://",
    "//",
    "http:",
    "https:",
    "doi:",
    "https://via.hypothes.is/",
    "example.org",
    "Ex.ORG",
    "exaïmple",
    "İ",
    "ΑΣ",
    "[::1]",
    "[v1.a]",
    "[",
    "]",
    "@",
    ":",
    ":80",
    ":443",
    ":0443",
    ":65536",
    ":+80",
    "/",
    "//",
    "/../",
    "?",
    "&",
    "=",
    "a=1",
    "b=",
    "utm_source=x",
    "WT.a=1",
    "WT.=1",
    "%41",
    "%ff",
    "%E2%99%A5",
    "%",
    "%2B",
    "%252B",
    "%2",
    "+",
    " ",
    "\t",
    "\n",
    "\0",
    "#",
    "#f",
    ";",
    "\u{ff0f}",
    "\u{2100}",
    "♥",
    "e\u{301}",
];

fn random_uri(random: &mut SmallRng) -> String {
    let mut uri = String::new();
    if random.random_bool(0.7) {
        uri.push_str(
            ["http://", "https://"]
                .choose(random)
                .expect("there are two"),
        );
    }
    for _ in 0..random.random_range(0..12) {
        if random.random_bool(0.1) {
            uri.push(random.random());
        } else {
            uri.push_str(PIECES.choose(random).expect("there are some"));
        }
    }
    uri
}

#[test]
fn addresses_are_normalised_as_those_recorded() {
    for case in cases().uri_normalisation_vectors {
        let normalised = normalise(&case.uri);
        assert_eq!(
            normalised.clone().ok(),
            case.out,
            "{}: {normalised:?}",
            case.uri
        );
        assert_eq!(normalised.is_err(), case.error.is_some(), "{}", case.uri);
    }
}

#[test]
fn versions_are_taken_off_as_those_recorded() {
    for case in cases().uri_version_vectors {
        let (base, found) = versions(&case.value).expect("there are few");
        let found: Vec<_> = found
            .into_iter()
            .map(|version| match version {
                Version::All => Value::from("all"),
                Version::Unversioned => Value::Null,
                Version::Numbered(number) => Value::from(number),
            })
            .collect();
        assert_eq!(
            (base, found),
            (&*case.base, case.versions),
            "{}",
            case.value
        );
        let keys = filter_keys(&case.value)
            .map_or_else(|_| Value::from("error:ValueError"), Value::from_iter);
        assert_eq!(keys, case.ws_filter_keys, "{}", case.value);
    }
}

#[test]
fn each_fault_has_its_name() {
    let cases = [
        ("http://[::1/x", BadUri::Brackets),
        ("ftp://::1]/x", BadUri::Brackets),
        ("http://[1.2.3.4]/", BadUri::Brackets),
        ("http://[::1%]/", BadUri::Brackets),
        ("http://[v.a]/", BadUri::Brackets),
        ("//\u{2100}/", BadUri::Host),
        ("http://e.org:x", BadUri::Port),
        ("http://e.org:+80", BadUri::Port),
        ("http://e.org:80:90", BadUri::Port),
        ("http://e.org:65536", BadUri::Port),
    ];
    for (uri, fault) in cases {
        assert_eq!(normalise(uri), Err(fault), "{uri}");
    }
}

#[test]
fn what_is_normalised_stays_as_it_is() {
    let mut random = SmallRng::seed_from_u64(1);
    let mut normalised = 0;
    for _ in 0..50_000 {
        let uri = random_uri(&mut random);
        if let Ok(once) = normalise(&uri) {
            assert_eq!(normalise(&once).as_ref(), Ok(&once), "{uri:?}");
            normalised += usize::from(once.starts_with("httpx://"));
        }
    }
    assert!(5_000 < normalised, "only {normalised} were worth a look");
}

#[test]
fn any_bytes_are_answered_within_thrice_their_length() {
    let mut random = SmallRng::seed_from_u64(2);
    for _ in 0..20_000 {
        let mut bytes = [0; 64];
        random.fill(&mut bytes);
        let uri = format!("http://e.org/{}", String::from_utf8_lossy(&bytes));
        for uri in [&uri["http://e.org/".len()..], &uri] {
            if let Ok(normalised) = normalise(uri) {
                assert!(normalised.len() <= 8 + 3 * uri.len(), "{uri:?}");
            }
        }
    }
}

#[test]
fn long_addresses_are_answered() {
    for piece in PIECES {
        for start in [
            "",
            "http://",
            "http://e.org/",
            "http://e.org?",
            "http://e.org?a=",
        ] {
            let uri = start.to_owned() + &piece.repeat(20_000 / piece.len());
            let _ = normalise(&uri);
            assert_eq!(filter_keys(&uri), Err(BadUri::TooLong));
        }
    }
}

#[test]
fn a_value_names_each_version_once_and_few() {
    assert_eq!(
        filter_keys("http://e.org:v2:v0:v02:v2:all"),
        Ok(vec![
            "httpx://e.org__v2".to_owned(),
            "httpx://e.org".to_owned(),
            "httpx://e.org__vall".to_owned(),
        ])
    );
    let value = "x".to_owned() + &":v1".repeat(MAX_VERSIONS);
    assert_eq!(filter_keys(&value), Ok(vec!["x__v1".to_owned()]));
    assert_eq!(filter_keys(&(value + ":v1")), Err(BadUri::TooManyVersions));
    assert_eq!(
        filter_keys("x:v99999999999999999999"),
        Ok(vec![format!("x__v{}", u32::MAX)])
    );
}

#[test]
fn no_version_and_version_0_are_the_page_itself() {
    assert_eq!(with_version("x", None), "x");
    assert_eq!(with_version("x", Some(0)), "x");
    assert_eq!(with_version("x", Some(3)), "x__v3");
}
