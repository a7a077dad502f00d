//! Real browsers, driven by the scripts in `tests/browser`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::Value;

use crate::worker_process::binary;

/// Waits until no other test of this program drives browsers: they want the whole machine.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The folder for pictures of what browsers show.
///
/// # Panics
/// The worker is not in a target directory.
pub fn screenshots() -> PathBuf {
    let worker = binary();
    let target = worker.parent().and_then(Path::parent).expect("a target directory");
    target.join("browsers")
}

/// Runs a script of `tests/browser` with a scenario, and returns what it saw.
///
/// # Panics
/// A browser, Node or a package is missing, or the script fails.
#[track_caller]
pub fn drive(script: &str, name: &str, scenario: &Value) -> Value {
    prepare();
    let mut command = Command::new("node");
    command
        .args([script, &scenario.to_string()])
        .env("MEDIASOUP_WORKER_BIN", binary());
    let output = run(command.current_dir(folder("tests/browser")), name);
    serde_json::from_str(output.trim()).expect("JSON")
}

/// Installs the packages of the page of the demo and builds it, once; returns the folder with what was built.
///
/// # Panics
/// It cannot be built.
pub fn demo_page() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let page = folder("demo/web");
        npm(&page);
        page.join("dist")
    };
    BUILT.get_or_init(build).clone()
}

/// Installs what drives the browsers, and builds the page that the other tests use, once.
fn prepare() {
    static PREPARED: OnceLock<()> = OnceLock::new();
    PREPARED.get_or_init(|| {
        for browser in ["/usr/bin/chromium", "/usr/bin/firefox-esr"] {
            assert!(
                Path::new(browser).is_file(),
                "{browser} is missing: make tools installs it"
            );
        }
        npm(&folder("tests/browser"));
    });
}

/// Installs the packages of a folder unless those that its lock file names are there, and builds it.
fn npm(folder: &Path) {
    let time = |file: &str| folder.join(file).metadata().and_then(|file| file.modified()).ok();
    // Written by npm, which leaves it as it is when nothing changes.
    if time("node_modules/.package-lock.json") < time("package-lock.json") {
        // Scripts of packages are not run; bundlers work without.
        run(
            Command::new("npm").args(["ci", "--ignore-scripts"]).current_dir(folder),
            "npm ci",
        );
    }
    run(
        Command::new("npm").args(["run", "build"]).current_dir(folder),
        "npm run build",
    );
}

/// A folder of this project.
fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

#[track_caller]
fn run(command: &mut Command, what: &str) -> String {
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
