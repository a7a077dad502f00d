//! The examples of the client that need nothing but a worker: they do what they say.

use std::env;
use std::process::Command;

use tests::worker_process::binary;

fn run(example: &str) -> String {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["run", "-q", "-p", "client", "--example", example])
        .env("MEDIASOUP_WORKER_BIN", binary())
        .output()
        .expect("cargo");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{example}: {}\n{stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_packet_goes_into_a_router_and_comes_back() {
    let output = run("direct");
    assert!(output.contains("payload type 100"), "{output}");
}

#[test]
fn messages_go_into_a_router_and_come_back() {
    let output = run("data");
    let expected = "chat: text \"hello\"\nchat: bytes [1, 2, 3]\nchat: text \"\"\n3 messages, 9 bytes\n";
    assert_eq!(output, expected);
}

#[test]
fn media_and_data_go_from_one_worker_to_another() {
    let output = run("pipe");
    assert!(output.contains("bytes came through the pipe"), "{output}");
    assert!(output.contains("\"message "), "{output}");
}

#[test]
fn a_sender_hears_its_own_packets() {
    let output = run("echo");
    assert!(output.starts_with("50 packets came back"), "{output}");
}
