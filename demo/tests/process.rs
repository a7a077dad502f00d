//! The program: it listens, ends when told to, and ends with an error when a worker dies.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

struct Demo {
    process: Child,
    address: String,
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Demo {
    /// Starts it, and waits until it says where it listens.
    fn start() -> Self {
        let deps = std::env::current_exe().expect("this program");
        let worker = deps.ancestors().nth(2).expect("a target directory").join("worker");
        let mut process = Command::new(env!("CARGO_BIN_EXE_demo"))
            .args([
                "--insecure-http",
                "--listen-port=0",
                "--media-port=0",
                "--num-workers=1",
            ])
            .env(
                "MEDIASOUP_WORKER_BIN",
                std::env::var_os("WORKER_BIN").unwrap_or(worker.into()),
            )
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("its address");
        let address = line.trim().strip_prefix("http://").expect("an address");
        let address = address.trim_end_matches('/').to_owned();
        Self { process, address }
    }

    fn children(&self) -> Vec<String> {
        let path = format!("/proc/{0}/task/{0}/children", self.process.id());
        let children = std::fs::read_to_string(path).expect("its children");
        children.split_whitespace().map(str::to_owned).collect()
    }

    fn kill(&self, signal: &str, process: &str) {
        let status = Command::new("kill").args([signal, process]).status();
        assert!(status.expect("kill").success());
    }

    fn end(&mut self) -> ExitStatus {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.process.try_wait().expect("a process") {
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn it_is_well_until_it_is_told_to_end() {
    let mut demo = Demo::start();
    let mut stream = TcpStream::connect(&demo.address).expect("a connection");
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        .expect("a connection");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
    demo.kill("-TERM", &demo.process.id().to_string());
    assert!(demo.end().success());
}

#[test]
fn the_death_of_a_worker_ends_it_with_an_error() {
    let mut demo = Demo::start();
    let children = demo.children();
    assert_eq!(children.len(), 1, "one worker");
    demo.kill("-KILL", &children[0]);
    assert!(!demo.end().success());
}
