//! `worker`: runs until it is told to leave.

use std::process::ExitCode;

use broker::node::env::{BAD_SETTINGS, Env};
use broker::node::program::Program;
use broker::node::secrets::SecretFiles;
use broker::node::{Node, admin, log};
use broker::trace::Tracing;
use prometheus::Registry;
use tokio::net::TcpListener;
use tracing::{error, info};
use worker::Config;

/// This program, as seen at the command line.
const PROGRAM: Program = Program {
    name: "worker",
    does: "sweep, send what is due, and take in what other systems add",
    admin_listen: worker::config::admin_listen,
    settings: |env| drop(Config::read(env)),
};

fn main() -> ExitCode {
    PROGRAM
        .errand(std::env::args_os().skip(1))
        .unwrap_or_else(start)
}

#[tokio::main]
async fn start() -> ExitCode {
    let mut env = Env::from_process();
    let config = Config::read(&mut env);
    log::init(config.settings.log_format, config.settings.log.as_str());
    if let Err(error) = env.finish() {
        error!("{error}");
        return ExitCode::from(BAD_SETTINGS);
    }
    match run(&config).await {
        Ok(code) => code,
        Err(error) => {
            error!("the worker cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: &Config) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let node = Node::new("worker", config.settings.node.clone());
    let registry = Registry::new();
    let listener = TcpListener::bind(config.admin_listen)
        .await
        .map_err(|error| format!("{}: {error}", config.admin_listen))?;
    info!(admin_address = %listener.local_addr()?, "listening");
    node.on_signals();
    let mut secrets = SecretFiles::new(&registry)?;
    config.settings.watch(&mut secrets, &config.files);
    let settings = &config.settings;
    let (tracing, exporting) =
        Tracing::start(&settings.trace, node.role(), node.name(), &registry)?;
    worker::start(config, &node, &registry, tracing)?;
    tokio::select! {
        () = node.finished() => {}
        () = secrets.run() => {}
        () = admin::serve(listener, node.clone(), registry) => {}
    }
    exporting.finish().await;
    Ok(node.exit_code())
}
