//! The Node client library drives our worker: `node/*.test.mjs`.

use std::path::Path;
use std::process::Command;

use tests::worker_process::binary;

fn run(command: &mut Command, what: &str) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{what} cannot be started (is it installed?): {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "{what} failed: {}\n{stdout}\n{stderr}",
        output.status
    );
    println!("{stdout}");
}

#[test]
fn the_node_client_finds_what_it_expects() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("node");
    let worker = binary();
    if !directory.join("node_modules/mediasoup/package.json").is_file() {
        let mut install = Command::new("npm");
        run(
            install.args(["install", "--ignore-scripts"]).current_dir(&directory),
            "npm install",
        );
    }
    let mut node = Command::new("node");
    node.args([
        "--test",
        "--test-force-exit",
        "--test-reporter=spec",
        "foreign_client.test.mjs",
        "foreign_transports.test.mjs",
    ]);
    run(
        node.current_dir(&directory).env("MEDIASOUP_WORKER_BIN", worker),
        "node --test",
    );
}
