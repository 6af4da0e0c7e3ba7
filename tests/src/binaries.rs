//! Where the programs under test are, built when they are first asked for.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Names the profile whose binaries are run, if not the one of the tests
/// themselves: `FLEET_PROFILE=release` tests what is shipped.
const PROFILE: &str = "FLEET_PROFILE";

/// The program called `name`, up to date.
pub(crate) fn binary(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(build).join(name)
}

/// Builds all programs of the workspace and says into which folder.
fn build() -> PathBuf {
    let own = std::env::current_exe().expect("a program knows its own path");
    let mut own_profile = own.parent().expect("a program is in a folder");
    // Tests are built into target/<profile>/deps, programs one folder above.
    if own_profile.ends_with("deps") {
        own_profile = own_profile.parent().expect("target is above");
    }
    let target = own_profile.parent().expect("target is above the profile");
    let profile = std::env::var(PROFILE).unwrap_or_else(|_| {
        let folder = own_profile.file_name().expect("the profile has a name");
        folder.to_string_lossy().into_owned()
    });
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--workspace", "--bins", "--quiet", "--profile"])
        .arg(if profile == "debug" { "dev" } else { &profile })
        .arg("--target-dir")
        .arg(target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    // Cargo sets these for the test; inherited, they would make the build differ
    // from the same build in a shell and run it twice.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    let status = command.status().expect("cargo runs");
    assert!(status.success(), "the programs under test do not build");
    target.join(profile)
}
