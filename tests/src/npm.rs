//! Programs of Node, and the packages that they are made of.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder of this project.
pub fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Installs the packages of a folder, unless those that its lock file names are there.
///
/// # Panics
/// npm is missing, or fails.
#[track_caller]
pub fn install(folder: &Path) {
    let time = |file: &str| folder.join(file).metadata().and_then(|file| file.modified()).ok();
    // Written by npm, which leaves it as it is when nothing changes.
    if time("node_modules/.package-lock.json") < time("package-lock.json") {
        // Scripts of packages are not run: nothing here needs them.
        run(
            Command::new("npm").args(["ci", "--ignore-scripts"]).current_dir(folder),
            "npm ci",
        );
    }
}

/// Runs a program to its end; returns what it printed.
///
/// # Panics
/// It cannot be started, or fails.
#[track_caller]
pub fn run(command: &mut Command, what: &str) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{what} cannot be started (make tools says what is missing): {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "{what} failed: {}\n{stdout}\n{stderr}",
        output.status
    );
    stdout
}
