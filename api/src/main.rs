//! The binary `api`: runs the api, or does one of its errands at the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    api::command::main(std::env::args().skip(1))
}
