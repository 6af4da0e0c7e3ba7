//! The command line: what was asked for, and doing it.

mod dead;
mod keys;
mod lint;
mod parse;
mod table;
mod tenants;

use std::io::Write;
use std::process::ExitCode;

use broker::keys::Keys;
use broker::node::env::{BAD_SETTINGS, Env};
use broker::node::program::Program;
use broker::node::settings::Settings;
use broker::topology::Redis;

use self::parse::{Command, Usage};
use crate::config::Config;

/// Exit status after a command line that cannot be understood.
const USAGE: u8 = 2;

/// This program, as its siblings are at the command line.
const PROGRAM: Program = Program {
    name: "api",
    does: "serve the api",
    admin_listen: crate::config::admin_listen,
    settings: |env| drop(Config::read(env)),
};

/// Does what the arguments (without the program's name) ask for. Status 0: done;
/// 1: it failed; 2: the arguments cannot be understood; 64: the settings cannot be used.
pub fn main(args: impl IntoIterator<Item = String>) -> ExitCode {
    let command = match Command::parse(args) {
        Ok(command) => command,
        Err(Usage(why)) => {
            tell(&format!("api: {why}\n\n{}", parse::HELP));
            return ExitCode::from(USAGE);
        }
    };
    let outcome = match command {
        Command::Help => print(parse::HELP),
        Command::Version => print(&PROGRAM.version()),
        Command::Health => return PROGRAM.health(),
        Command::CheckConfig => return PROGRAM.check_config(),
        Command::Schema => print(crate::schema::sdl().trim_end()),
        Command::Key(errand) => keys::run(errand),
        Command::Dead(dead) => dead::run(dead),
        Command::Lint(lint) => lint::run(&lint),
        Command::Tenant(errand) => tenants::run(errand),
        Command::Run => return run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(why)) => {
            tell(&format!("api: {why}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> ExitCode {
    let mut env = Env::from_process();
    let config = Config::read(&mut env);
    if let Err(mistakes) = env.finish() {
        tell(&format!("api: {mistakes}"));
        return ExitCode::from(BAD_SETTINGS);
    }
    let runtime = tokio::runtime::Runtime::new().map_err(Failed::from);
    let outcome = runtime.and_then(|runtime| {
        runtime
            .block_on(crate::process::run(config))
            .map_err(Failed::from)
    });
    outcome.unwrap_or_else(|Failed(why)| {
        tell(&format!("api: {why}"));
        ExitCode::FAILURE
    })
}

/// Does `errand` with the Redis of the settings and the names of our keys in it, if
/// they are laid out there as this version expects.
fn with_redis(errand: impl AsyncFnOnce(Redis, Keys) -> Result<(), Failed>) -> Result<(), Failed> {
    let mut env = Env::from_process();
    let settings = Settings::read(&mut env);
    env.finish()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let redis = Redis::open(&settings.redis)?;
        redis.check_schema(&settings.keys).await?;
        errand(redis, settings.keys).await
    })
}

/// Why a command was not done, in words for whoever typed it.
struct Failed(String);

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Writes to the standard output what was asked for.
fn print(text: &str) -> Result<(), Failed> {
    writeln!(std::io::stdout(), "{text}").map_err(Failed::from)
}

/// Writes to the standard error what to know beside it.
fn tell(text: &str) {
    // Nobody is left to be told if this fails.
    let _ = writeln!(std::io::stderr(), "{text}");
}
