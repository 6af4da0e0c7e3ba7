//! The tables of `docs/configuration.md` are what the processes read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use broker::access::{KeyFile, NewAccessKey};
use broker::node::env::{Env, Secrecy, Variable};
use tests::process::Program;

/// What each process reads, in an environment of these variables.
fn read(process: &str, env: &mut Env) {
    match process {
        "gateway" => drop(gateway::config::Config::read(env)),
        "api" => drop(api::config::Config::read(env)),
        "worker" => drop(worker::config::Config::read(env)),
        _ => panic!("{process} is no process"),
    }
}

const PROCESSES: [&str; 3] = ["gateway", "api", "worker"];

/// A row of a table: which processes read it, and what the default is said to be.
struct Row {
    processes: Vec<&'static str>,
    default: String,
    /// Whether the page says so.
    secret: bool,
}

/// The rows by their variables. The heading above a table names its readers.
fn rows() -> BTreeMap<String, Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let text = std::fs::read_to_string(path).expect("the page is there");
    let mut processes = Vec::new();
    let mut rows = BTreeMap::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            let heading = heading.to_lowercase();
            let every = heading.contains("every process");
            processes = PROCESSES.to_vec();
            processes.retain(|process| every || heading.split([' ', ',']).any(|w| w == *process));
        }
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, variable, default, unit, meaning, _] = cells[..] else {
            continue;
        };
        let Some(name) = variable.strip_prefix("`CARILLON_") else {
            continue;
        };
        assert!(
            !unit.is_empty() && !meaning.is_empty(),
            "{variable} is not explained"
        );
        let row = Row {
            processes: processes.clone(),
            default: default.to_owned(),
            secret: meaning.starts_with("**Secret.**"),
        };
        let name = format!("CARILLON_{}", name.trim_end_matches('`'));
        assert!(rows.insert(name, row).is_none(), "{variable} has two rows");
    }
    rows
}

/// How a default is written in the table.
fn says(default: &str, variable: &Variable) -> bool {
    match &variable.default {
        Some(value) if value.is_empty() => default == "empty",
        Some(value) => default == format!("`{value}`"),
        None if variable.required => default == "required",
        // Found out at the start, or nothing: told in words.
        None => !default.is_empty() && !default.contains('`'),
    }
}

#[test]
fn the_page_tells_every_variable_with_its_default_and_its_readers() {
    let rows = rows();
    let mut wrong = Vec::new();
    for process in PROCESSES {
        let mut env = Env::from_pairs::<&str, &str>([]);
        read(process, &mut env);
        let variables = env.variables();
        for variable in variables {
            match rows.get(variable.name) {
                Some(row) if !row.processes.contains(&process) => {
                    wrong.push(format!("{}: also read by the {process}", variable.name));
                }
                Some(row) if row.secret != (variable.secrecy == Secrecy::Secret) => {
                    wrong.push(format!("{}: is it a secret?", variable.name));
                }
                Some(row) if !says(&row.default, variable) => wrong.push(format!(
                    "{}: {process} has {:?}, the page says {}",
                    variable.name, variable.default, row.default
                )),
                Some(_) => {}
                None => wrong.push(format!(
                    "{} ({process}, default {:?}) is not told of",
                    variable.name, variable.default
                )),
            }
        }
        for (name, row) in &rows {
            let is_read = variables.iter().any(|variable| variable.name == name);
            if row.processes.contains(&process) && !is_read {
                wrong.push(format!("{name} is not read by the {process}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Something that no output may tell.
const SECRET: &str = "aHVzaC1odXNoLWh1c2gtaHVzaC1odXNoLWh1c2gtaHVzaA";

/// One that has a name that no output may tell.
fn access_keys() -> String {
    let (_, entry) = KeyFile::entry(&NewAccessKey {
        tenant: "acme".parse().expect("it is one"),
        scopes: "a:b".parse().expect("they are some"),
        name: Some(SECRET.to_owned()),
        expires_at: None,
    });
    entry
}

/// Every variable with a value: its default, or another where it has none.
fn every_variable() -> BTreeMap<String, String> {
    let none = |(name, row): (String, Row)| {
        let value = match &*name {
            "CARILLON_CONFIG" => return None,
            "CARILLON_TOKEN_KEYS" => format!("a:{SECRET}"),
            "CARILLON_API_ACCESS_KEYS" => access_keys(),
            "CARILLON_REDIS_URL" => format!("redis://u:{SECRET}@127.0.0.1:6379"),
            "CARILLON_MISSKEY_HOSTS" => {
                format!("social.example=acme bus=b bus_redis=redis://:{SECRET}@127.0.0.1")
            }
            "CARILLON_AUTH_INTROSPECTION_SECRET" => SECRET.to_owned(),
            "CARILLON_OTLP_ENDPOINT" => "http://collector:4318".to_owned(),
            "CARILLON_OTLP_HEADERS" => format!("authorization={SECRET}"),
            _ => match row.default.as_str() {
                "empty" => return None,
                words if !words.contains('`') => "n1".to_owned(),
                value => value.trim_matches('`').to_owned(),
            },
        };
        Some((name, value))
    };
    rows().into_iter().filter_map(none).collect()
}

#[test]
fn one_environment_with_every_variable_serves_every_process() {
    for process in PROCESSES {
        let mut env = Env::from_pairs(every_variable());
        read(process, &mut env);
        assert_eq!(env.finish(), Ok(()), "{process}");
    }
}

/// `<process> --check-config` in this environment: what it said to whom.
fn checked(process: &str, env: BTreeMap<String, String>) -> (Option<i32>, String, String) {
    let program = Program::of(process, &["--check-config"], env);
    let Output {
        status,
        stdout,
        stderr,
    } = program.run(b"");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    (status.code(), text(stdout), text(stderr))
}

/// The settings of a report, with their values and where they stand.
fn reported(report: &str) -> BTreeMap<&str, (&str, &str)> {
    let line = |line| {
        let (name, rest) = str::split_once(line, " = ").expect("NAME = value");
        (name, rest.rsplit_once("  # ").expect("it says whence"))
    };
    report.lines().map(line).collect()
}

/// The same settings in TOML.
fn as_file(variables: &BTreeMap<String, String>) -> String {
    let mut tables = BTreeMap::<&str, String>::new();
    for (name, value) in variables {
        let name = name.trim_start_matches("CARILLON_").to_lowercase();
        let of = |table: &&str| name.starts_with(&format!("{table}_"));
        let table = ["gateway", "api", "worker", "auth"].into_iter().find(of);
        let key = match table {
            Some(table) => &name[table.len() + 1..],
            None => &name,
        };
        // Only names, numbers and truth have no quotes.
        let plain = value.parse::<i64>().is_ok() || ["true", "false"].contains(&&**value);
        let value = if plain {
            value.clone()
        } else {
            format!("{value:?}")
        };
        let table = tables.entry(table.unwrap_or_default()).or_default();
        table.push_str(&format!("{key} = {value}\n"));
    }
    // What has no table comes first.
    let tables = tables.iter().map(|(table, keys)| match *table {
        "" => keys.clone(),
        table => format!("[{table}]\n{keys}"),
    });
    tables.collect()
}

#[test]
fn every_setting_is_shown_with_its_place_and_without_secrets() {
    let variables = every_variable();
    for process in PROCESSES {
        let (status, report, mistakes) = checked(process, variables.clone());
        assert_eq!((status, &*mistakes), (Some(0), ""), "{process}");
        assert!(
            !report.contains(SECRET),
            "{process} tells a secret: {report}"
        );
        let report = reported(&report);
        for (name, row) in rows() {
            if !row.processes.contains(&process) {
                continue;
            }
            let (value, whence) = report[&*name];
            match variables.get(&name) {
                Some(_) if row.secret => assert_eq!((value, whence), ("***", "environment")),
                Some(given) if name == "CARILLON_REDIS_URL" => {
                    assert_eq!(value, given.replace(SECRET, "***"));
                }
                Some(given) => assert_eq!((value, whence), (&**given, "environment"), "{name}"),
                None => assert!(["default", "not set"].contains(&whence), "{name}: {whence}"),
            }
        }
    }
}

#[test]
fn what_is_shown_can_be_given_back() {
    let keys = BTreeMap::from([("CARILLON_TOKEN_KEYS".to_owned(), format!("a:{SECRET}"))]);
    for process in PROCESSES {
        let (_, report, _) = checked(process, keys.clone());
        let report = reported(&report);
        let mut given: BTreeMap<_, _> = report
            .iter()
            .map(|(name, (value, _))| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        given.extend(keys.clone());
        let (status, again, mistakes) = checked(process, given);
        assert_eq!((status, &*mistakes), (Some(0), ""), "{process}");
        let values = |report: &BTreeMap<&str, (&str, &str)>| -> Vec<String> {
            report
                .values()
                .map(|(value, _)| (*value).to_owned())
                .collect()
        };
        assert_eq!(values(&report), values(&reported(&again)), "{process}");
    }
}

#[test]
fn one_file_with_every_setting_serves_every_process() {
    let file = ConfigFile::new("every", &as_file(&every_variable()));
    let variables = BTreeMap::from([("CARILLON_CONFIG".to_owned(), file.path())]);
    for process in PROCESSES {
        let (status, report, mistakes) = checked(process, variables.clone());
        assert_eq!((status, &*mistakes), (Some(0), ""), "{process}");
        assert!(
            !report.contains(SECRET),
            "{process} tells a secret: {report}"
        );
        let (_, of_environment, _) = checked(process, every_variable());
        let values = |report: &str| -> Vec<String> {
            let report = reported(report).into_iter();
            let known = report.filter(|(name, _)| *name != "CARILLON_CONFIG");
            known
                .map(|(name, (value, _))| format!("{name}={value}"))
                .collect()
        };
        assert_eq!(values(&report), values(&of_environment), "{process}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_and_no_value_with_them() {
    let file = ConfigFile::new(
        "mistakes",
        &format!("[gateway]\nshards = '{SECRET}'\nlisetn = 1\n"),
    );
    let variables = [
        ("CARILLON_CONFIG", file.path()),
        ("CARILLON_GATEWAY_LISTEN", SECRET.to_owned()),
        ("CARILLON_TOKEN_KEY", SECRET.to_owned()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value));
    let (status, report, mistakes) = checked("gateway", variables.into());
    assert_eq!(status, Some(64));
    assert!(reported(&report).contains_key("CARILLON_GATEWAY_HEARTBEAT"));
    for told in [
        ":2: [gateway] shards: ",
        ":3: [gateway] lisetn is not a setting",
        "CARILLON_GATEWAY_LISTEN: ",
        "CARILLON_TOKEN_KEY is not a setting",
        "CARILLON_TOKEN_KEYS must be set",
    ] {
        assert!(mistakes.contains(told), "{told} in {mistakes}");
    }
    assert!(!report.contains(SECRET) && !mistakes.contains(SECRET));
}

#[test]
fn the_file_of_access_keys_on_the_page_is_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let (_, file) = page.split_once("```toml\n[[key]]").expect("it is shown");
    let (file, _) = file.split_once("```").expect("it ends");
    let keys: KeyFile = format!("[[key]]{file}").parse().expect("it is one");
    assert_eq!(keys.list().len(), 1);
}

/// A file of its own, gone at the end.
struct ConfigFile(PathBuf);

impl ConfigFile {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("carillon-{name}-{}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("the temporary folder is writable");
        Self(path)
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}
