//! Starts a gateway from its environment.

use std::process::ExitCode;

use broker::node::env::{BAD_SETTINGS, Env};
use broker::node::{Node, log};
use gateway::config::Config;
use tracing::error;

/// Gives back to the system what a reconnect storm took, which the C library's
/// allocator does not. How it is set stands in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let mut env = Env::from_process().without_arguments(std::env::args_os().len() - 1);
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
