//! The tables of `docs/configuration.md` are what the processes read.

use std::collections::BTreeMap;
use std::path::Path;

use broker::node::env::{Env, Variable};

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

#[test]
fn one_environment_with_every_variable_serves_every_process() {
    let keys = format!("a:{}", "A".repeat(43));
    let pairs: Vec<_> = rows()
        .into_iter()
        .filter_map(|(name, row)| {
            let value = match row.default.as_str() {
                "empty" => return None,
                "required" => keys.clone(),
                words if !words.contains('`') => "n1".to_owned(),
                value => value.trim_matches('`').to_owned(),
            };
            Some((name, value))
        })
        .collect();
    for process in PROCESSES {
        let mut env = Env::from_pairs(pairs.clone());
        read(process, &mut env);
        assert_eq!(env.finish(), Ok(()), "{process}");
    }
}
