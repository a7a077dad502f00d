//! The demo as users meet it: its server, its page, and browsers in a room. Pictures of what they show are left in
//! `target/browsers`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tests::browsers::{demo_page, drive, screenshots, turn};
use tests::worker_process::binary;

/// A demo server with the built page.
struct Demo {
    process: Child,
    url: String,
    _certificates: tempfile::TempDir,
}

impl Demo {
    /// Starts it, and waits until it says where it is.
    fn start() -> Self {
        let worker = binary();
        let program = worker.with_file_name("demo");
        assert!(
            program.is_file(),
            "there is no demo server beside the worker: build it with `cargo build -p demo` (`make test` does)"
        );
        let certificates = tempfile::tempdir().expect("a folder");
        let mut process = Command::new(program)
            .args(["--listen-ip=127.0.0.1", "--listen-port=0", "--num-workers=1"])
            .args(["--media-ip=127.0.0.1", "--media-port=0"])
            .arg("--web-dir")
            .arg(demo_page())
            .arg("--tls-cert")
            .arg(certificates.path().join("certificate.pem"))
            .arg("--tls-key")
            .arg(certificates.path().join("key.pem"))
            .env("MEDIASOUP_WORKER_BIN", worker)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the demo server");
        let mut url = String::new();
        let stdout = process.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut url).expect("its address");
        assert!(url.starts_with("https://"), "{url:?}");
        Self {
            process,
            url: url.trim().to_owned(),
            _certificates: certificates,
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// People enter a room, see and hear each other, look at the figures, and one leaves.
#[track_caller]
fn meet(name: &str, browsers: &[&str]) {
    let _turn = turn();
    let demo = Demo::start();
    let names = ["Ada Lovelace", "Grace Hopper"];
    let pages: Vec<Value> = browsers
        .iter()
        .zip(names)
        .map(|(browser, name)| json!({ "browser": browser, "name": name }))
        .collect();
    let scenario = json!({ "name": name, "url": demo.url, "screenshots": screenshots(), "pages": pages });
    let seen = drive("conference.mjs", name, &scenario);
    let people = seen["people"].as_array().expect("people");
    assert_eq!(people.len(), browsers.len(), "{seen}");
    for (index, person) in people.iter().enumerate() {
        // Frames are decoded, and sound has energy, as the page's own figures say.
        assert_eq!(person["flows"], true, "{name}, {index}: {seen}");
        let other = names[1 - index];
        assert_eq!(person["after"]["participants"][0]["displayName"], other, "{seen}");
        let tiles = person["tiles"].as_array().expect("tiles");
        assert_eq!(tiles.len(), 2, "{seen}");
        assert_eq!(tiles[1]["name"], other, "{seen}");
        for tile in tiles {
            assert!(
                tile["bright"].as_i64() > Some(100),
                "{name}: a picture is black: {seen}"
            );
            assert_eq!(tile["moves"], true, "{name}: a picture stands still: {seen}");
        }
        assert!(person["plots"].as_i64() >= Some(9), "{name}: no plots: {seen}");
    }
    let photos = seen["photos"].as_object().expect("photos");
    assert!(photos.len() >= 5, "{seen}");
    for (what, photo) in photos {
        assert!(
            photo["colours"].as_i64() > Some(50),
            "{name}: the picture {what} is blank: {seen}"
        );
    }
    assert_eq!(seen["alone"]["participants"], json!([]), "{seen}");
    assert_eq!(seen["told"], format!("{} left", names[1]), "{seen}");
    assert_eq!(seen["tilesLeft"], json!([format!("{}, you", names[0])]), "{seen}");
}

#[test]
fn two_tabs_of_chromium_meet() {
    meet("conference-chromium", &["chrome", "chrome"]);
}

#[test]
fn chromium_and_firefox_meet() {
    meet("conference-both", &["chrome", "firefox"]);
}

#[test]
fn firefox_meets_chromium() {
    meet("conference-firefox", &["firefox", "chrome"]);
}
