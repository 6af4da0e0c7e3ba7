//! What environments and files say.

use super::*;

#[test]
fn what_is_not_set_has_its_default() {
    let mut env = Env::from_pairs([("CARILLON_API_PAGE", "20"), ("CARILLON_API_NONE", "")]);
    assert_eq!(env.get::<u32>("CARILLON_API_PAGE", "50"), 20);
    assert_eq!(env.get::<u32>("CARILLON_API_LIMIT", "100"), 100);
    assert_eq!(env.optional::<u32>("CARILLON_API_NONE"), None);
    let defaults: Vec<_> = env
        .variables()
        .iter()
        .map(|v| (v.name, v.default.as_deref()))
        .collect();
    assert_eq!(
        defaults,
        [
            ("CARILLON_CONFIG", None),
            ("CARILLON_API_PAGE", Some("50")),
            ("CARILLON_API_LIMIT", Some("100")),
            ("CARILLON_API_NONE", None),
        ]
    );
    assert_eq!(env.finish(), Ok(()));
}

#[test]
fn all_mistakes_are_told_together_and_without_values() {
    let mut env = Env::from_pairs([
        ("CARILLON_API_PAGE", "hush-hush"),
        ("CARILLON_API_PAEG", "hush-hush"),
    ]);
    env.get::<u32>("CARILLON_API_PAGE", "50");
    env.required::<String>("CARILLON_API_KEY");
    let told = env.finish().unwrap_err().to_string();
    assert_eq!(
        told.lines().collect::<Vec<_>>(),
        [
            "the settings cannot be used:",
            "  CARILLON_API_PAGE: invalid digit found in string",
            "  CARILLON_API_KEY must be set",
            "  CARILLON_API_PAEG is not a setting",
        ]
    );
}

#[test]
fn one_environment_serves_all_processes() {
    let mut env = Env::from_pairs([
        ("CARILLON_API_LISTEN", "x"),
        ("CARILLON_GATEWAY_LISTEN", "y"),
        ("CARILLON_TOKEN_KEYS_FILE", "/run/keys"),
    ]);
    env.get::<String>("CARILLON_API_LISTEN", "z");
    assert_eq!(env.finish(), Ok(()));
}

#[test]
fn a_value_can_be_in_a_file() {
    let path = std::env::temp_dir().join(format!("carillon-env-{}", std::process::id()));
    std::fs::write(&path, "41\n").unwrap();
    let path = path.to_str().unwrap();
    let mut env = Env::from_pairs([("CARILLON_API_PAGE_FILE", path)]);
    assert_eq!(env.get::<u32>("CARILLON_API_PAGE", "50"), 41);
    assert_eq!(env.finish(), Ok(()));

    let mut env = Env::from_pairs([("CARILLON_API_PAGE_FILE", path), ("CARILLON_API_PAGE", "1")]);
    env.get::<u32>("CARILLON_API_PAGE", "50");
    assert!(
        env.finish().is_err(),
        "which of the two holds would be a guess"
    );
    std::fs::remove_file(path).unwrap();

    let mut env = Env::from_pairs([("CARILLON_API_PAGE_FILE", path)]);
    env.get::<u32>("CARILLON_API_PAGE", "50");
    assert!(env.finish().is_err(), "the file is gone");
}

/// A file of its own, gone at the end.
struct Config(std::path::PathBuf);

impl Config {
    fn of(name: &str, text: &str) -> Self {
        let name = format!("carillon-config-{name}-{}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_defaults() {
    let file = Config::of(
        "order",
        "[api]\npage = 20\nlimit = 30\nkey_file = '/nowhere'",
    );
    let mut env = Env::from_pairs([
        ("CARILLON_CONFIG", file.path()),
        ("CARILLON_API_PAGE", "10"),
        ("CARILLON_API_LIMIT", ""),
        ("CARILLON_API_KEY", "hush"),
    ]);
    assert_eq!(env.get::<u32>("CARILLON_API_PAGE", "50"), 10);
    assert_eq!(env.get::<u32>("CARILLON_API_LIMIT", "50"), 30);
    assert_eq!(env.get::<u32>("CARILLON_API_DEPTH", "50"), 50);
    let key: Option<String> = env.secret().required("CARILLON_API_KEY");
    assert_eq!(key.as_deref(), Some("hush"), "also over a file in the file");
    let report = format!(
        "CARILLON_CONFIG = {path}  # environment\n\
         CARILLON_API_PAGE = 10  # environment\n\
         CARILLON_API_LIMIT = 30  # {path}:3\n\
         CARILLON_API_DEPTH = 50  # default\n\
         CARILLON_API_KEY = ***  # environment\n",
        path = file.path(),
    );
    assert_eq!(env.report(), report);
    assert_eq!(env.finish(), Ok(()));
}

#[test]
fn mistakes_in_a_file_are_told_where_they_stand_and_without_values() {
    let text = "prefixx = 'hush'\n[api]\npage = 'hush'\nkey_file = '/nowhere/hush'\npaeg = 'hush'";
    let file = Config::of("mistakes", text);
    let mut env = Env::from_pairs([("CARILLON_CONFIG", file.path())]);
    env.get::<u32>("CARILLON_API_PAGE", "50");
    env.optional::<String>("CARILLON_API_KEY");
    env.optional::<String>("CARILLON_PREFIX");
    let told = env.finish().unwrap_err().to_string();
    let path = file.path();
    assert_eq!(
        told.lines().skip(1).collect::<Vec<_>>(),
        [
            format!("  {path}:3: [api] page: invalid digit found in string"),
            format!("  {path}:4: [api] key_file cannot be read: entity not found"),
            format!("  {path}:5: [api] paeg is not a setting"),
            format!("  {path}:1: prefixx is not a setting"),
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake_and_it_can_name_no_other() {
    let told = |text: &str, name: &str| {
        let file = Config::of(name, text);
        let env = Env::from_pairs([("CARILLON_CONFIG", file.path())]);
        env.finish().unwrap_err().to_string()
    };
    assert!(told("config = '/other'", "other").contains(":1: config is not a setting"));
    assert!(told("config_file = '/other'", "file").contains("config_file is not a setting"));
    let gone = Env::from_pairs([("CARILLON_CONFIG", "/nowhere/c.toml")]);
    let gone = gone.finish().unwrap_err().to_string();
    assert!(gone.contains("CARILLON_CONFIG cannot be read"), "{gone}");
    let by_file = Env::from_pairs([("CARILLON_CONFIG_FILE", "/nowhere/c.toml")]);
    assert!(by_file.finish().is_err());
}

#[test]
fn one_file_serves_all_processes() {
    let text =
        "max_pending = 5\n[gateway]\nlisten = 'y'\n[api]\nlisten = 'x'\n[auth]\nchain = 'own'";
    let file = Config::of("all", text);
    let mut env = Env::from_pairs([("CARILLON_CONFIG", file.path())]);
    assert_eq!(env.get::<String>("CARILLON_API_LISTEN", "z"), "x");
    assert_eq!(env.finish(), Ok(()));
}
