//! What the words of a command line ask for.

use std::time::Duration;

use broker::Timestamp;
use broker::access::Scopes;
use broker::node::env::Period;
use broker::topic::Tenant;

/// How the commands are used.
pub(super) const HELP: &str = "\
Usage: api [COMMAND]

  run                 serve the api (also without any command)
  schema              print the GraphQL schema
  key create --tenant TENANT --scopes \"SCOPE...\" [--expires WHEN] [--name NAME]
                      create an access key and print it; it is shown only once
  key list            list the access keys (never the keys themselves)
  key disable ID      disable a key; takes effect within a second
  key rotate ID [--overlap PERIOD]
                      create a key like this one and print it; the old one
                      goes on working for PERIOD (24h without it)
  help, version

SCOPE is websockets-manager-api:query:* or websockets-manager-api:mutation:*, or
names one field, as in websockets-manager-api:mutation:pushMessage.
WHEN is a date and time such as 2030-01-31T00:00:00Z, or a period from now such
as 90d. A PERIOD is a number and ms, s, m, h or d.

Settings come from the environment: CARILLON_REDIS_URL and others, listed in
docs/configuration.md. Exit status: 0 done, 1 failed, 2 wrong usage.";

/// How long an old key goes on working beside the one that follows it.
const OVERLAP: Duration = Duration::from_secs(24 * 3600);

/// What is to be done.
#[derive(Debug)]
pub(super) enum Command {
    /// Serve.
    Run,
    /// Print the schema.
    Schema,
    /// Print how to use it.
    Help,
    /// Print the version.
    Version,
    /// Something about access keys.
    Key(Errand),
}

/// Something to be done about access keys.
#[derive(Debug)]
pub(super) enum Errand {
    /// Make one.
    Create {
        tenant: Tenant,
        scopes: Scopes,
        name: Option<String>,
        expires: Option<Expiry>,
    },
    /// Show all.
    List,
    /// Make one useless.
    Disable { id: String },
    /// Replace one.
    Rotate { id: String, overlap: Duration },
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
            Some("schema") => Self::Schema,
            Some("help") => Self::Help,
            Some("version") => Self::Version,
            Some("key") => Self::Key(Errand::parse(&mut words)?),
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
                tenant: words.required("tenant")?,
                scopes: words.required("scopes")?,
                name: words.option("name")?,
                expires: words.option("expires")?,
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
            if ["help", "version"].contains(&&*name) {
                plain.insert(0, name);
                continue;
            }
            let value = value.or_else(|| args.next());
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
        let Ok(Command::Key(Errand::Create {
            tenant,
            expires,
            name,
            ..
        })) = parse(line)
        else {
            panic!("should be understood");
        };
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
        assert!(refusal("key list --all 1").contains("--all"));
        assert!(refusal("key rotate k1 --overlap").contains("--overlap"));
        assert!(refusal("key create --tenant A --scopes x").contains("--tenant"));
    }
}
