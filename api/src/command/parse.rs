//! What the words of a command line ask for.

mod tenant;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use broker::Timestamp;
use broker::access::{Operation, Scopes};
use broker::event::EntryId;
use broker::lint::Kind;
use broker::node::env::Period;
use broker::topic::Tenant;

pub(super) use self::tenant::TenantErrand;
use crate::ingest;
use crate::schema::root_fields;

/// How the commands are used.
pub(super) const HELP: &str = "\
Usage: api [COMMAND]

  run                 serve the api (also without any command)
  health              ask the api that runs with these settings whether it lives
  --check-config      print the settings of the api, secrets masked, and all that is
                      wrong with them
  schema              print the GraphQL schema
  key create --tenant TENANT --scopes \"SCOPE...\" [--expires WHEN] [--name NAME]
             [--to FILE]
                      create an access key and print it; it is shown only once;
                      with FILE its digest is added there, and not to Redis, for
                      apis whose CARILLON_API_ACCESS_KEYS_FILE that is
  key list            list the access keys (never the keys themselves)
  key disable ID      disable a key; takes effect within a second
  key rotate ID [--overlap PERIOD]
                      create a key like this one and print it; the old one
                      goes on working for PERIOD (24h without it)
  dead list --tenant TENANT [--limit N] [--before ID]
                      list what producers added to the tenant's stream in Redis
                      and could not be published or pushed, newest first
  dead show --tenant TENANT ID
                      print what was added; what is wrong with it, beside it
  dead replay --tenant TENANT ID... | --all
                      put dead letters back into the stream
  dead discard --tenant TENANT ID... | --all
                      throw dead letters away
  lint [--as KIND] [--topic TOPIC] FILE
                      check the events in a file (- for the standard input)
                      without Redis: one for each line, or one in the whole
  tenant set TENANT [--sockets N] [--pushes N] [--pending N] [--payload N]
                      bound what a tenant may use: open sockets in the whole
                      cluster, messages pushed per second, messages that wait for
                      one recipient, bytes of a message; none ends a quota
  tenant show TENANT  show the quotas of a tenant
  tenant list         show those of all tenants that have any
  help, version

SCOPE is websockets-manager-api:query:* or websockets-manager-api:mutation:*, or
names one field, as in websockets-manager-api:mutation:pushMessage.
WHEN is a date and time such as 2030-01-31T00:00:00Z, or a period from now such
as 90d. A PERIOD is a number and ms, s, m, h or d.
KIND is annotation, membership, push, push-global, event (for a topic that stands
beside it, such as TOPIC) or frame (for PUBLISH or FCALL); an event tells it by its
members if it is not given.

Settings come from the environment (CARILLON_REDIS_URL and others) and from the
file that CARILLON_CONFIG names, as docs/configuration.md lists them. Exit status: 0 done, 1 failed, 2 wrong usage, 64 settings
that cannot be used.";

/// `--check-config`, which is the same for all programs of the cluster.
const CHECK_CONFIG: &str = "check-config";
/// How long an old key goes on working beside the one that follows it.
const OVERLAP: Duration = Duration::from_secs(24 * 3600);
/// How many dead letters are listed.
const LETTERS: usize = 50;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Command {
    /// Serve.
    Run,
    /// Ask the one that runs.
    Health,
    /// Print the settings.
    CheckConfig,
    /// Print the schema.
    Schema,
    /// Print how to use it.
    Help,
    /// Print the version.
    Version,
    /// Something about access keys.
    Key(Errand),
    /// Something about dead letters.
    Dead(Dead),
    /// Check events.
    Lint(Lint),
    /// Something about tenants.
    Tenant(TenantErrand),
}

/// Something to be done about a tenant's dead letters.
#[derive(Debug)]
pub(super) struct Dead {
    pub(super) tenant: Tenant,
    pub(super) errand: DeadErrand,
}

/// What is to be done about them.
#[derive(Debug)]
pub(super) enum DeadErrand {
    /// Show some.
    List {
        limit: usize,
        before: Option<EntryId>,
    },
    /// Show one whole.
    Show { id: EntryId },
    /// Try some again.
    Replay { which: Which },
    /// Throw some away.
    Discard { which: Which },
}

/// Which dead letters are meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Which {
    All,
    These(Vec<EntryId>),
}

/// Events to be checked.
#[derive(Debug)]
pub(super) struct Lint {
    /// Where they are.
    pub(super) file: String,
    /// What they are, if that is told.
    pub(super) kind: Option<Kind>,
    /// The topic they are for, if that is told.
    pub(super) topic: Option<String>,
}

/// Something to be done about access keys.
#[derive(Debug)]
pub(super) enum Errand {
    /// Make one.
    Create {
        key: Wanted,
        /// The file that is to admit it; `None`: Redis.
        to: Option<PathBuf>,
    },
    /// Show all.
    List,
    /// Make one useless.
    Disable { id: String },
    /// Replace one.
    Rotate { id: String, overlap: Duration },
}

/// An access key to be made.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) tenant: Tenant,
    pub(super) scopes: Scopes,
    pub(super) name: Option<String>,
    pub(super) expires: Option<Expiry>,
}

/// When a key ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    /// At this time.
    At(Timestamp),
    /// This long after it was made.
    After(Duration),
}

/// Why a command line cannot be understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Usage(pub(super) String);

impl Command {
    /// Reads the arguments, without the program's name.
    pub(super) fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, Usage> {
        let mut words = Words::read(args)?;
        let command = match words.next().as_deref() {
            None | Some("run") => Self::Run,
            Some("health") => Self::Health,
            Some(CHECK_CONFIG) => Self::CheckConfig,
            Some("schema") => Self::Schema,
            Some("help") => Self::Help,
            Some("version") => Self::Version,
            Some("key") => Self::Key(Errand::parse(&mut words)?),
            Some("dead") => Self::Dead(Dead::parse(&mut words)?),
            Some("lint") => Self::Lint(Lint {
                file: words
                    .next()
                    .ok_or_else(|| Usage("lint: a file must follow, or -".to_owned()))?,
                kind: words.option("as")?,
                topic: words.option("topic")?,
            }),
            Some("tenant") => Self::Tenant(TenantErrand::parse(&mut words)?),
            Some(other) => return Err(Usage(format!("there is no command {other:?}"))),
        };
        words.finish()?;
        Ok(command)
    }
}

impl Errand {
    fn parse(words: &mut Words) -> Result<Self, Usage> {
        match words.next().as_deref() {
            Some("create") => Ok(Self::Create {
                key: Wanted {
                    tenant: words.required("tenant")?,
                    scopes: known(words.required("scopes")?)?,
                    name: words.option("name")?,
                    expires: words.option("expires")?,
                },
                to: words.option("to")?,
            }),
            Some("list") => Ok(Self::List),
            Some("disable") => Ok(Self::Disable { id: words.id()? }),
            Some("rotate") => Ok(Self::Rotate {
                id: words.id()?,
                overlap: words.option::<Period>("overlap")?.map_or(OVERLAP, |p| p.0),
            }),
            Some(other) => Err(Usage(format!("there is no command key {other:?}"))),
            None => Err(Usage("key: create, list, disable or rotate?".to_owned())),
        }
    }
}

/// That the api asks for each of these scopes somewhere: a slip would make a key
/// that opens nothing.
fn known(scopes: Scopes) -> Result<Scopes, Usage> {
    let is_known = |(operation, field): (Operation, &str)| {
        (operation, field) == (Operation::Mutation, ingest::FIELD)
            || field.starts_with("__")
            || root_fields(operation).contains(field)
    };
    let unknown = scopes.fields().find(|field| !is_known(*field));
    match unknown.map(|(operation, field)| (operation.as_str(), field)) {
        None => Ok(scopes),
        Some((operation, field)) => Err(Usage(format!(
            "--scopes: there is no {operation} {field:?}; see api schema"
        ))),
    }
}

impl Dead {
    fn parse(words: &mut Words) -> Result<Self, Usage> {
        let what = words.next();
        let tenant = words.required("tenant");
        let errand = match what.as_deref() {
            Some("list") => DeadErrand::List {
                limit: words.option::<Limit>("limit")?.map_or(LETTERS, |it| it.0),
                before: words.option::<Letter>("before")?.map(|Letter(id)| id),
            },
            Some("show") => DeadErrand::Show {
                id: words.letter()?.ok_or_else(no_letter)?,
            },
            Some("replay") => DeadErrand::Replay {
                which: words.which()?,
            },
            Some("discard") => DeadErrand::Discard {
                which: words.which()?,
            },
            Some(other) => return Err(Usage(format!("there is no command dead {other:?}"))),
            None => return Err(Usage("dead: list, show, replay or discard?".to_owned())),
        };
        Ok(Self {
            tenant: tenant?,
            errand,
        })
    }
}

/// The id of a dead letter.
struct Letter(EntryId);

impl std::str::FromStr for Letter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = EntryId::parse(text).ok_or("expected the id of a dead letter, such as 5-0");
        id.map(Self)
    }
}

/// How many are to be listed at most.
struct Limit(usize);

impl std::str::FromStr for Limit {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let limit = text.parse().ok().map(NonZeroUsize::get);
        limit.map(Self).ok_or("expected a number from 1 on")
    }
}

fn no_letter() -> Usage {
    Usage("the id of a dead letter must follow; see api dead list".to_owned())
}

impl std::str::FromStr for Expiry {
    type Err = broker::time::BadTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<Period>() {
            Ok(period) => Ok(Self::After(period.0)),
            Err(_) => text.parse().map(Self::At),
        }
    }
}

/// The words of a command line: those that stand alone, and `--name value`.
struct Words {
    plain: std::vec::IntoIter<String>,
    options: Vec<(String, String)>,
}

impl Words {
    fn read(args: impl IntoIterator<Item = String>) -> Result<Self, Usage> {
        let (mut plain, mut options) = (Vec::new(), Vec::<(String, String)>::new());
        let mut args = args.into_iter();
        while let Some(word) = args.next() {
            let Some(option) = word.strip_prefix("--") else {
                plain.push(match word.as_str() {
                    "-h" => "help".to_owned(),
                    "-V" => "version".to_owned(),
                    _ => word,
                });
                continue;
            };
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (option.to_owned(), None),
            };
            if ["help", "version", CHECK_CONFIG].contains(&&*name) {
                plain.insert(0, name);
                continue;
            }
            let value = match &*name {
                "all" => value.or_else(|| Some("true".to_owned())),
                _ => value.or_else(|| args.next()),
            };
            let value = value.ok_or_else(|| Usage(format!("--{name}: a value must follow")))?;
            if options.iter().any(|(known, _)| *known == name) {
                return Err(Usage(format!("--{name} is given twice")));
            }
            options.push((name, value));
        }
        Ok(Self {
            plain: plain.into_iter(),
            options,
        })
    }

    fn next(&mut self) -> Option<String> {
        self.plain.next()
    }

    fn id(&mut self) -> Result<String, Usage> {
        self.next()
            .ok_or_else(|| Usage("the id of a key must follow; see api key list".to_owned()))
    }

    fn letter(&mut self) -> Result<Option<EntryId>, Usage> {
        let Some(word) = self.next() else {
            return Ok(None);
        };
        let id = word.parse::<Letter>();
        id.map(|Letter(id)| Some(id))
            .map_err(|why| Usage(format!("{word:?}: {why}")))
    }

    fn which(&mut self) -> Result<Which, Usage> {
        let all = self.option::<bool>("all")?.is_some();
        let mut ids = Vec::new();
        while let Some(id) = self.letter()? {
            ids.push(id);
        }
        match (all, ids.is_empty()) {
            (true, true) => Ok(Which::All),
            (true, false) => Err(Usage("--all, or ids: not both".to_owned())),
            (false, true) => Err(no_letter()),
            (false, false) => Ok(Which::These(ids)),
        }
    }

    fn option<T: std::str::FromStr>(&mut self, name: &str) -> Result<Option<T>, Usage>
    where
        T::Err: std::fmt::Display,
    {
        let Some(at) = self.options.iter().position(|(known, _)| known == name) else {
            return Ok(None);
        };
        let (_, value) = self.options.swap_remove(at);
        match value.parse() {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(Usage(format!("--{name}: {error}"))),
        }
    }

    fn required<T: std::str::FromStr>(&mut self, name: &str) -> Result<T, Usage>
    where
        T::Err: std::fmt::Display,
    {
        self.option(name)?
            .ok_or_else(|| Usage(format!("--{name} must be given")))
    }

    fn finish(&mut self) -> Result<(), Usage> {
        match (self.next(), self.options.first()) {
            (Some(word), _) => Err(Usage(format!("{word:?} is one word too many"))),
            (None, Some((name, _))) => Err(Usage(format!("--{name} means nothing here"))),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, Usage> {
        Command::parse(line.split_whitespace().map(str::to_owned))
    }

    fn refusal(line: &str) -> String {
        parse(line).unwrap_err().0
    }

    #[test]
    fn without_a_command_the_api_runs() {
        assert!(matches!(parse(""), Ok(Command::Run)));
        assert!(matches!(parse("run"), Ok(Command::Run)));
        assert!(matches!(parse("schema"), Ok(Command::Schema)));
    }

    #[test]
    fn help_is_there_wherever_it_is_asked_for() {
        for line in ["help", "-h", "--help"] {
            assert!(matches!(parse(line), Ok(Command::Help)), "{line}");
        }
    }

    #[test]
    fn a_key_has_a_tenant_and_scopes() {
        let line = "key create --scopes=websockets-manager-api:query:* --tenant acme --expires 90d";
        let Ok(Command::Key(Errand::Create { key, to })) = parse(line) else {
            panic!("should be understood");
        };
        assert_eq!(to, None);
        let Wanted {
            tenant,
            expires,
            name,
            ..
        } = key;
        assert_eq!(tenant.as_str(), "acme");
        assert_eq!(
            expires,
            Some(Expiry::After(Duration::from_secs(90 * 86_400)))
        );
        assert_eq!(name, None);
        assert_eq!(
            refusal("key create --tenant acme"),
            "--scopes must be given"
        );
    }

    #[test]
    fn a_scope_names_what_there_is() {
        let create = |scopes: &str| parse(&format!("key create --tenant acme --scopes {scopes}"));
        for scope in [
            "mutation:pushMessage",
            "mutation:ingestAnnotations",
            "query:*",
        ] {
            let scope = format!("websockets-manager-api:{scope}");
            assert!(create(&scope).is_ok(), "{scope}");
        }
        assert!(create("billing-api:query:invoices").is_ok());
        let refused = create("websockets-manager-api:query:pushMessage").unwrap_err();
        assert_eq!(
            refused.0,
            "--scopes: there is no query \"pushMessage\"; see api schema"
        );
    }

    #[test]
    fn dead_letters_are_meant_by_name_or_all() {
        let which = |line| match parse(line) {
            Ok(Command::Dead(Dead {
                errand: DeadErrand::Replay { which } | DeadErrand::Discard { which },
                ..
            })) => which,
            other => panic!("{other:?}"),
        };
        let id = |text| EntryId::parse(text).unwrap();
        assert_eq!(which("dead replay --all --tenant acme"), Which::All);
        let some = which("dead discard --tenant acme 5-0 6-1");
        assert_eq!(some, Which::These(vec![id("5-0"), id("6-1")]));
        assert_eq!(
            refusal("dead replay --tenant acme"),
            "the id of a dead letter must follow; see api dead list"
        );
        assert_eq!(
            refusal("dead replay --tenant acme --all 5-0"),
            "--all, or ids: not both"
        );
        assert_eq!(refusal("dead list"), "--tenant must be given");
        for limit in ["0", "-3", "many"] {
            assert_eq!(
                refusal(&format!("dead list --tenant acme --limit {limit}")),
                "--limit: expected a number from 1 on"
            );
        }
        assert!(refusal("dead show --tenant acme x").contains("expected the id"));
    }

    #[test]
    fn a_file_is_linted_as_what_it_is_said_to_be() {
        let Ok(Command::Lint(lint)) = parse("lint --as push -") else {
            panic!("should be understood");
        };
        assert_eq!((&*lint.file, lint.kind), ("-", Some(Kind::Push)));
        assert!(refusal("lint --as x y").starts_with("--as: expected annotation"));
        assert_eq!(refusal("lint"), "lint: a file must follow, or -");
    }

    #[test]
    fn an_old_key_goes_on_for_a_day_unless_told_otherwise() {
        let overlap = |line| match parse(line) {
            Ok(Command::Key(Errand::Rotate { overlap, .. })) => overlap,
            other => panic!("{other:?}"),
        };
        assert_eq!(overlap("key rotate k1"), OVERLAP);
        assert_eq!(overlap("key rotate k1 --overlap 0s"), Duration::ZERO);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert!(refusal("serve").contains("\"serve\""));
        assert!(refusal("run fast").contains("\"fast\""));
        assert!(refusal("key disable").contains("api key list"));
        assert!(refusal("key list --some 1").contains("--some"));
        assert!(refusal("key rotate k1 --overlap").contains("--overlap"));
        assert!(refusal("key create --tenant A --scopes x").contains("--tenant"));
    }
}
