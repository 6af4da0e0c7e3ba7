//! A program of the cluster at the command line: what it does beside running.

use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use super::env::{BAD_SETTINGS, Env};
use super::health;

/// One of the programs.
#[derive(Clone, Copy)]
pub struct Program {
    /// What it is called: `gateway`, `api` or `worker`.
    pub name: &'static str,
    /// What it does, in half a sentence.
    pub does: &'static str,
    /// Reads where it listens for operators.
    pub admin_listen: fn(&mut Env) -> SocketAddr,
    /// Reads all its settings.
    pub settings: fn(&mut Env),
}

/// What a program that takes no other arguments is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Run,
    Health,
    CheckConfig,
    Help,
    Version,
}

/// A program was given arguments that mean nothing to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NotAsked;

impl Asked {
    fn by(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, NotAsked> {
        let mut arguments = arguments.into_iter();
        let first = arguments.next();
        let asked = match first.as_ref().map(|first| first.to_str()) {
            None => Self::Run,
            Some(Some("health")) => Self::Health,
            Some(Some("--check-config")) => Self::CheckConfig,
            Some(Some("help" | "--help" | "-h")) => Self::Help,
            Some(Some("version" | "--version" | "-V")) => Self::Version,
            Some(_) => return Err(NotAsked),
        };
        match arguments.next() {
            None => Ok(asked),
            Some(_) => Err(NotAsked),
        }
    }
}

impl Program {
    /// Does what `arguments`, without the program's name, ask for; `None` if they
    /// ask it to run. What they mean nothing to would otherwise serve in earnest.
    pub fn errand(&self, arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
        let done = match Asked::by(arguments) {
            Ok(Asked::Run) => return None,
            Ok(Asked::Health) => self.health(),
            Ok(Asked::CheckConfig) => self.check_config(),
            Ok(Asked::Help) => print(&self.usage()),
            Ok(Asked::Version) => print(&self.version()),
            Err(NotAsked) => {
                let name = self.name;
                tell(&format!(
                    "{name}: takes other arguments\n\n{}",
                    self.usage()
                ));
                ExitCode::from(BAD_SETTINGS)
            }
        };
        Some(done)
    }

    /// Asks the process that runs with these settings whether it lives, and says so
    /// in one line: status 0 if it does, else 1.
    ///
    /// Only the address is read of the settings: a secret that is about to be
    /// replaced makes no process ill that runs with the one before.
    pub fn health(&self) -> ExitCode {
        let mut env = Env::from_process();
        let bound = (self.admin_listen)(&mut env);
        let why = match env.mistakes() {
            [] => health::ask(bound).err().map(|why| why.to_string()),
            mistakes => Some(mistakes.join("; ")),
        };
        match why {
            None => print(&format!("{} lives", self.name)),
            Some(why) => {
                tell(&format!("{}: {why}", self.name));
                ExitCode::FAILURE
            }
        }
    }

    /// Prints every setting that can be used, and where it stands, and tells every
    /// mistake: status 0 if there is none, else 64. Opens nothing but files that hold
    /// settings.
    pub fn check_config(&self) -> ExitCode {
        let mut env = Env::from_process();
        (self.settings)(&mut env);
        let printed = print(env.report().trim_end());
        match env.finish() {
            Ok(()) => printed,
            Err(mistakes) => {
                tell(&format!("{}: {mistakes}", self.name));
                ExitCode::from(BAD_SETTINGS)
            }
        }
    }

    /// Its name and version, and the commit it was built from, if whoever built it
    /// told that by `CARILLON_COMMIT`.
    pub fn version(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        match option_env!("CARILLON_COMMIT") {
            Some(commit) if !commit.is_empty() => format!("{} {version} ({commit})", self.name),
            _ => format!("{} {version}", self.name),
        }
    }

    fn usage(&self) -> String {
        let Self { name, does, .. } = self;
        format!(
            "Usage: {name} [COMMAND]\n\
             \n  (none)         {does}\
             \n  health         ask the one that runs with these settings whether it lives\
             \n  --check-config print the settings, secrets masked, and all that is wrong with them\
             \n  help, version\n\
             \nSettings come from the environment and the file that CARILLON_CONFIG names, as\
             \ndocs/configuration.md lists them.\
             \nExit status: 0 done, 1 failed, {BAD_SETTINGS} arguments or settings that cannot be used."
        )
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Program({})", self.name)
    }
}

/// Writes to the standard output what was asked for.
fn print(text: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Writes to the standard error why it was not done.
fn tell(text: &str) {
    // Nobody is left to be told if this fails.
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Asked, NotAsked> {
        Asked::by(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn without_arguments_a_program_runs() {
        assert_eq!(asked(""), Ok(Asked::Run));
        assert_eq!(asked("health"), Ok(Asked::Health));
        assert_eq!(asked("--check-config"), Ok(Asked::CheckConfig));
        assert_eq!(asked("--help"), Ok(Asked::Help));
        assert_eq!(asked("--version"), Ok(Asked::Version));
    }

    #[test]
    fn what_means_nothing_is_a_mistake() {
        for line in ["serve", "health now", "--config x", "--help me"] {
            assert_eq!(asked(line), Err(NotAsked), "{line}");
        }
    }
}
