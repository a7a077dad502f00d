//! The Node client library drives our worker: `node/*.test.mjs`.

use std::process::Command;

use tests::npm;
use tests::worker_process::binary;

#[test]
fn the_node_client_finds_what_it_expects() {
    let directory = npm::folder("tests/node");
    npm::install(&directory);
    let mut node = Command::new("node");
    node.args([
        "--test",
        "--test-force-exit",
        "--test-reporter=spec",
        "foreign_client.test.mjs",
        "foreign_transports.test.mjs",
    ]);
    let told = npm::run(
        node.current_dir(&directory).env("MEDIASOUP_WORKER_BIN", binary()),
        "node --test",
    );
    println!("{told}");
}
