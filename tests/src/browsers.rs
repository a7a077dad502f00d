//! Real browsers, driven by the scripts in `tests/browser`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::Value;

use crate::npm;
use crate::worker_process::binary;

/// Waits until no other test of this program drives browsers: they want the whole machine.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A port on the loopback interface where nobody listens, for all transports of a worker with a WebRtcServer.
///
/// # Panics
/// There is none.
pub fn free_port() -> SocketAddr {
    let free = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr();
    loop {
        let address = free().expect("a free UDP port");
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
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
    let output = npm::run(command.current_dir(npm::folder("tests/browser")), name);
    serde_json::from_str(output.trim()).expect("JSON")
}

/// Installs the packages of the page of the demo and builds it, once; returns the folder with what was built.
///
/// # Panics
/// It cannot be built.
pub fn demo_page() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let page = npm::folder("demo/web");
        build(&page);
        page.join("dist")
    };
    BUILT.get_or_init(make).clone()
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
        build(&npm::folder("tests/browser"));
    });
}

/// Installs the packages of a folder and builds it.
fn build(folder: &Path) {
    npm::install(folder);
    npm::run(
        Command::new("npm").args(["run", "build"]).current_dir(folder),
        "npm run build",
    );
}
