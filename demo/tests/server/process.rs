//! The program: when it ends, and what of it ends when a worker dies.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};

use tokio_tungstenite::tungstenite::Error;

use crate::client::{Client, dial_at, http_with, until, worker_bin};

/// The program as a process of its own.
pub struct Demo {
    process: Child,
    pub address: SocketAddr,
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Demo {
    /// Starts it, and waits until it says where it listens.
    pub fn start(flags: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_demo"))
            .args([
                "--insecure-http",
                "--listen-port=0",
                "--media-port=0",
                "--media-ip=127.0.0.1",
                "--log=warn",
            ])
            .args(flags)
            .env("MEDIASOUP_WORKER_BIN", worker_bin())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("its address");
        let address = line
            .trim()
            .strip_prefix("http://")
            .expect("an address")
            .trim_end_matches('/');
        let address = address.parse().expect("an address");
        Self { process, address }
    }

    /// What Linux tells of it.
    pub fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{0}/{file}", self.process.id());
        std::fs::read_to_string(path).expect("a process")
    }

    /// Descriptors that it holds.
    pub fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.process.id());
        std::fs::read_dir(folder).expect("a process").count()
    }

    /// Its workers, whichever thread started them.
    pub fn workers(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("a process");
        let children = tasks
            .flatten()
            .map(|task| std::fs::read_to_string(task.path().join("children")));
        let all: Vec<String> = children.flatten().collect();
        // A worker that was killed is there until somebody looks after it.
        let lives = |pid: &&str| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            stat.is_ok_and(|stat| !stat.contains(") Z "))
        };
        let mut pids: Vec<_> = all
            .iter()
            .flat_map(|pids| pids.split_whitespace())
            .filter(lives)
            .collect();
        pids.sort_by_key(|pid| pid.parse::<u32>().expect("a number"));
        pids.into_iter().map(str::to_owned).collect()
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        http_with(self.address, "GET", path, "", "").await
    }

    /// A number of `/metrics`.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let (status, text) = self.get("/metrics").await;
        assert_eq!(status, 200, "{text}");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().parse().ok())
    }

    pub async fn dial(&self, query: &str) -> Result<Client, Error> {
        dial_at(self.address, query).await
    }

    fn signal(&self, signal: &str) {
        kill(signal, &self.process.id().to_string());
    }

    async fn end(&mut self) -> ExitStatus {
        let mut status = None;
        until("it ends", async || {
            status = self.process.try_wait().expect("a process");
            status.is_some()
        })
        .await;
        status.expect("a status")
    }
}

fn kill(signal: &str, process: &str) {
    let status = Command::new("kill").args([signal, process]).status();
    assert!(status.expect("kill").success());
}

#[tokio::test]
async fn it_is_well_until_it_is_told_to_end() {
    for signal in ["-TERM", "-INT"] {
        let mut demo = Demo::start(&["--num-workers=1"]);
        assert_eq!(demo.get("/healthz").await, (200, "ok".to_owned()));
        demo.signal(signal);
        assert!(demo.end().await.success());
    }
}

#[tokio::test]
async fn the_death_of_a_worker_ends_it_with_an_error_and_pages_may_come_back() {
    let mut demo = Demo::start(&["--num-workers=1"]);
    let mut one = demo.dial("roomId=r&peerId=one").await.expect("a connection");
    one.join("One").await;
    let workers = demo.workers();
    assert_eq!(workers.len(), 1, "one worker");
    kill("-KILL", &workers[0]);
    assert_eq!(one.close_code().await, Some(1001));
    assert_eq!(demo.end().await.code(), Some(1));
}

#[tokio::test]
async fn a_worker_that_died_may_be_replaced_and_rooms_on_others_go_on() {
    let demo = Demo::start(&["--num-workers=2", "--restart-worker"]);
    let mut rooms = Vec::new();
    for room in ["a", "b"] {
        let mut peer = demo
            .dial(&format!("roomId={room}&peerId=p"))
            .await
            .expect("a connection");
        peer.join("P").await;
        rooms.push(peer);
    }
    let before = demo.workers();
    // The first worker has the first room.
    kill("-KILL", &before[0]);
    assert_eq!(rooms[0].close_code().await, Some(1001));
    until("another worker", async || demo.workers().len() == 2).await;
    assert_ne!(demo.workers(), before);
    assert!(!rooms[1].was_told("peerClosed").await);
    assert_eq!(demo.get("/healthz").await.0, 200);
    // The room can be opened again, and the new worker serves it.
    let mut again = demo.dial("roomId=a&peerId=p").await.expect("a connection");
    assert_eq!(again.join("P").await, serde_json::json!([]));
    again.transport(true).await;
    until("it is counted", async || {
        let first = demo.metric("sluice_worker_deaths_total{worker=\"0\"}").await;
        first == Some(1.0) && demo.metric("sluice_worker_up{worker=\"0\"}").await == Some(1.0)
    })
    .await;
}

#[tokio::test]
async fn whoever_is_in_may_finish_when_it_drains_and_nobody_comes_in() {
    let mut demo = Demo::start(&["--num-workers=1", "--drain=1000"]);
    let mut one = demo.dial("roomId=r&peerId=one").await.expect("a connection");
    one.join("One").await;
    demo.signal("-TERM");
    until("it drains", async || {
        demo.get("/healthz").await == (503, "draining".to_owned())
    })
    .await;
    for room in ["r", "other"] {
        match demo.dial(&format!("roomId={room}&peerId=two")).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 503),
            _ => panic!("it got in"),
        }
    }
    one.transport(false).await;
    drop(one);
    assert!(demo.end().await.success());
}

#[tokio::test]
async fn whoever_does_not_finish_in_time_is_sent_away_and_may_come_back() {
    for (flag, signals) in [
        ("--drain=1", vec!["-TERM"]),
        ("--drain=1000", vec!["-TERM", "-INT"]),
        ("--drain=1000", vec!["-INT"]),
    ] {
        let mut demo = Demo::start(&["--num-workers=1", flag]);
        let mut one = demo.dial("roomId=r&peerId=one").await.expect("a connection");
        one.join("One").await;
        for signal in &signals {
            demo.signal(signal);
            if signals.len() > 1 && *signal == "-TERM" {
                until("it drains", async || demo.get("/healthz").await.0 == 503).await;
            }
        }
        assert_eq!(one.close_code().await, Some(1001), "{flag} {signals:?}");
        assert!(demo.end().await.success(), "{flag} {signals:?}");
    }
}

#[tokio::test]
async fn two_hundred_visits_leave_nothing() {
    let demo = Demo::start(&["--num-workers=2"]);
    let visit = async |count: usize| {
        for _ in 0..count {
            let mut one = demo.dial("roomId=r&peerId=one").await.expect("a connection");
            let mut two = demo.dial("roomId=r&peerId=two").await.expect("a connection");
            one.join("One").await;
            two.transport(true).await;
            two.join("Two").await;
            one.produce(1).await;
            two.take().await;
        }
        until("all are gone", async || {
            let mut left = demo.metric("sluice_rooms").await.expect("a number");
            for worker in 0..2 {
                let label = format!("sluice_transports{{worker=\"{worker}\"}}");
                left += demo.metric(&label).await.expect("a number");
                let label = format!("sluice_members{{worker=\"{worker}\"}}");
                left += demo.metric(&label).await.expect("a number");
            }
            left == 0.0
        })
        .await;
    };
    visit(5).await;
    let before = demo.descriptors();
    visit(200).await;
    until("no descriptors are left over", async || {
        demo.descriptors() <= before + 2
    })
    .await;
}
