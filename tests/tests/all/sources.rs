//! Rules of the architecture that only a reader of the sources can hold.
//!
//! Arrows point one way: gateway, api and worker know the broker and not each
//! other; only the broker knows Redis. What decides, in the gateway, waits for
//! nothing and looks at no clock.

use std::fs;
use std::path::{Path, PathBuf};

/// The crates that become processes.
const PROCESSES: [&str; 3] = ["gateway", "api", "worker"];

/// What speaks to Redis.
const REDIS: [&str; 2] = ["redis", "deadpool-redis"];

/// What no deciding code names: what waits, what opens sockets, what tells time.
const IMPURE: [&str; 10] = [
    "tokio",
    "tokio_util",
    "axum",
    "redis",
    "mio",
    "hyper",
    "hyper_util",
    "Instant::now",
    "SystemTime",
    "Timestamp::now",
];

/// The deciding code of the gateway, by the beginnings of its paths.
const DECIDING: [&str; 5] = [
    "client_address.rs",
    "close.rs",
    "dialect",
    "session",
    "websocket",
];

/// Words that say nothing about what a type is.
const HOLLOW: [&str; 5] = ["Manager", "Service", "Handler", "Helper", "Util"];

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("it is a member").to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The sources below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The sources of every crate.
fn every_source() -> Vec<PathBuf> {
    ["broker", "gateway", "api", "worker", "tests"]
        .iter()
        .flat_map(|member| sources(&root().join(member).join("src")))
        .collect()
}

/// The code of a file, without its comments and its tests.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    text[..end]
        .lines()
        .map(|line| line.split("//").next().unwrap_or(""))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether the name stands in the code as a word of its own.
fn names(code: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name)
        .any(|(at, _)| !code[..at].ends_with(part) && !code[at + name.len()..].starts_with(part))
}

/// The names of all dependencies in a crate's manifest.
fn dependencies(member: &str) -> Vec<String> {
    let manifest = read(&root().join(member).join("Cargo.toml"));
    let mut inside = false;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies");
        } else if inside && let Some(end) = line.find(['.', ' ', '=']) {
            found.push(line[..end].to_owned());
        }
    }
    found
}

#[test]
fn only_the_broker_names_redis() {
    // Tests do: they cut its connections, as operators and accidents do.
    let wrong: Vec<_> = PROCESSES
        .iter()
        .flat_map(|member| {
            let known = dependencies(member);
            REDIS
                .iter()
                .filter(move |name| known.iter().any(|known| known == *name))
                .map(move |name| format!("{member} depends on {name}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(dependencies("broker").iter().any(|name| name == "redis"));
}

#[test]
fn no_process_depends_on_another() {
    for member in PROCESSES.iter().chain(&["broker"]) {
        for name in dependencies(member) {
            let another = PROCESSES.contains(&name.as_str());
            assert!(!another, "{member} depends on {name}");
        }
    }
}

#[test]
fn what_decides_in_the_gateway_waits_for_nothing_and_looks_at_no_clock() {
    let gateway = root().join("gateway/src");
    let mut wrong = Vec::new();
    for path in sources(&gateway) {
        let place = path.strip_prefix(&gateway).expect("it is below");
        let place = place.to_string_lossy().into_owned();
        if !DECIDING.iter().any(|start| place.starts_with(start)) || place.ends_with("tests.rs") {
            continue;
        }
        let code = code(&read(&path));
        for name in IMPURE.iter().filter(|name| names(&code, name)) {
            wrong.push(format!("gateway/src/{place} names {name}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_opens_with_its_idea() {
    for path in every_source() {
        let place = path.display();
        assert!(
            !path.ends_with("mod.rs"),
            "{place}: modules are name.rs beside name/"
        );
        assert!(
            read(&path).starts_with("//!"),
            "{place} does not say what it is"
        );
    }
}

#[test]
fn types_are_called_what_they_are() {
    for path in every_source() {
        let code = code(&read(&path));
        for line in code.lines() {
            let mut words = line.split_whitespace();
            let Some(_) = words.find(|word| ["struct", "enum", "trait"].contains(word)) else {
                continue;
            };
            let name = words.next().unwrap_or("");
            let name = name
                .split(|c: char| !c.is_alphanumeric())
                .next()
                .unwrap_or("");
            let hollow = HOLLOW.iter().any(|word| name.ends_with(word));
            assert!(!hollow, "{}: {name} says nothing", path.display());
        }
    }
}

#[test]
fn the_reader_of_sources_reads_what_is_written() {
    let text = "//! tokio\nuse std::io; // tokio\nlet my_tokio = 1;\n#[cfg(test)]\nmod tests { use tokio; }";
    assert!(!names(&code(text), "tokio"));
    assert!(names(&code("use tokio::net;"), "tokio"));
    assert!(names(
        &code("let t = std::time::Instant::now();"),
        "Instant::now"
    ));
    assert!(!names(&code("MyInstant::now_or_never()"), "Instant::now"));
}
