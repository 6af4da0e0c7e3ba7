//! Starts a gateway from its environment.

use std::process::ExitCode;

use broker::node::env::{BAD_SETTINGS, Env};
use broker::node::program::Program;
use broker::node::{Node, log};
use gateway::config::Config;
use tracing::error;

/// Gives back to the system what a reconnect storm took, which the C library's
/// allocator does not. How it is set stands in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// This program, as seen at the command line.
const PROGRAM: Program = Program {
    name: "gateway",
    does: "hold the sockets of clients",
    admin_listen: gateway::config::admin_listen,
    settings: |env| drop(Config::read(env)),
};

fn main() -> ExitCode {
    PROGRAM
        .errand(std::env::args_os().skip(1))
        .unwrap_or_else(run)
}

#[tokio::main]
async fn run() -> ExitCode {
    let mut env = Env::from_process();
    let config = Config::read(&mut env);
    log::init(config.common.log_format, config.common.log.as_str());
    if let Err(mistakes) = env.finish() {
        error!("{mistakes}");
        return ExitCode::from(BAD_SETTINGS);
    }
    let node = Node::new("gateway", config.common.node.clone());
    node.on_signals();
    match gateway::process::run(config, node.clone()).await {
        Ok(()) => node.exit_code(),
        Err(error) => {
            error!(%error, "the gateway cannot start");
            ExitCode::FAILURE
        }
    }
}
