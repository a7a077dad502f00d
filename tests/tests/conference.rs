//! The demo as users meet it: its server, its page, and browsers in a room. Pictures of what they show are left in
//! `target/browsers`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tests::browsers::{demo_page, drive, screenshots, turn};
use tests::worker_process::binary;

/// A demo server with the built page.
struct Demo {
    process: Child,
    url: String,
    program: PathBuf,
    /// What it was started with; its port aside, which the kernel chose.
    arguments: Vec<String>,
    _certificates: tempfile::TempDir,
}

impl Demo {
    /// Starts it with flags in addition, and waits until it says where it is.
    fn start(more: &[&str]) -> Self {
        let worker = binary();
        let program = worker.with_file_name("demo");
        assert!(
            program.is_file(),
            "there is no demo server beside the worker: build it with `cargo build -p demo` (`make test` does)"
        );
        let certificates = tempfile::tempdir().expect("a folder");
        let path = |path: PathBuf| path.to_str().expect("a path in UTF-8").to_owned();
        let flag = |name: &str, value: PathBuf| format!("--{name}={}", path(value));
        let mut arguments = vec![
            "--listen-ip=127.0.0.1".to_owned(),
            "--media-ip=127.0.0.1".to_owned(),
            "--media-port=0".to_owned(),
            flag("worker-bin", worker),
            flag("web-dir", demo_page()),
            flag("tls-cert", certificates.path().join("certificate.pem")),
            flag("tls-key", certificates.path().join("key.pem")),
        ];
        arguments.extend(more.iter().map(|&flag| flag.to_owned()));
        let mut process = Command::new(&program)
            .args(&arguments)
            .arg("--listen-port=0")
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
            program,
            arguments,
            _certificates: certificates,
        }
    }

    /// Its processes, and what it takes to start it again at the same place.
    fn recipe(&self) -> Value {
        let port = self.url.trim_end_matches('/').rsplit(':').next().expect("a port");
        let mut arguments = self.arguments.clone();
        arguments.push(format!("--listen-port={port}"));
        let pid = self.process.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("its workers");
        let workers: Vec<u32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        json!({ "pid": pid, "workers": workers, "program": self.program, "args": arguments })
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const NAMES: [&str; 2] = ["Ada Lovelace", "Grace Hopper"];

/// Has two people do something on the page of a server with one worker; returns what was seen.
#[track_caller]
fn play(what: &str, name: &str, browsers: [&str; 2]) -> Value {
    play_on(&["--num-workers=1"], what, name, browsers)
}

/// The same on a server with these flags.
#[track_caller]
fn play_on(flags: &[&str], what: &str, name: &str, browsers: [&str; 2]) -> Value {
    let _turn = turn();
    let demo = Demo::start(flags);
    let pages = [0, 1].map(|index| json!({ "browser": browsers[index], "name": NAMES[index] }));
    let scenario = json!({
        "play": what, "name": name, "url": demo.url, "screenshots": screenshots(), "pages": pages, "server": demo.recipe(),
        "broadcasters": { "ffmpeg": broadcaster("ffmpeg.sh"), "gstreamer": broadcaster("gstreamer.sh") },
    });
    drive("conference.mjs", name, &scenario)
}

/// A script that the demo comes with.
fn broadcaster(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../demo/broadcasters")
        .join(name)
}

/// People enter a room, see and hear each other, look at the figures, and one leaves.
#[track_caller]
fn meet(name: &str, browsers: [&str; 2]) {
    meet_on(&["--num-workers=1"], name, browsers);
}

/// The same on a server with these flags.
#[track_caller]
fn meet_on(flags: &[&str], name: &str, browsers: [&str; 2]) {
    let seen = play_on(flags, "meet", name, browsers);
    let people = seen["people"].as_array().expect("people");
    assert_eq!(people.len(), browsers.len(), "{seen}");
    for (index, person) in people.iter().enumerate() {
        // Frames are decoded, and sound has energy, as the page's own figures say.
        assert_eq!(person["flows"], true, "{name}, {index}: {seen}");
        let other = NAMES[1 - index];
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
    for (place, hinders) in seen["hinders"].as_object().expect("places") {
        assert_eq!(hinders, &json!([]), "{name}: {place} hinders people");
    }
    assert_eq!(seen["alone"]["participants"], json!([]), "{seen}");
    assert_eq!(seen["told"], format!("{} left", NAMES[1]), "{seen}");
    assert_eq!(seen["tilesLeft"], json!([format!("{}, you", NAMES[0])]), "{seen}");
}

#[test]
fn two_tabs_of_chromium_meet() {
    meet("conference-chromium", ["chrome", "chrome"]);
}

#[test]
fn chromium_and_firefox_meet() {
    meet("conference-both", ["chrome", "firefox"]);
}

#[test]
fn firefox_meets_chromium() {
    meet("conference-firefox", ["firefox", "chrome"]);
}

/// The room is on both workers, one for each of them.
#[test]
fn two_tabs_meet_across_workers() {
    let flags = ["--num-workers=2", "--room-peers-per-worker=1"];
    meet_on(&flags, "conference-workers", ["chrome", "chrome"]);
}

#[test]
fn a_tab_plays_what_ffmpeg_and_gstreamer_broadcast() {
    let seen = play("broadcasts", "conference-broadcasts", ["chrome", "chrome"]);
    for name in ["ffmpeg", "gstreamer"] {
        let tile = &seen[name]["tiles"][1];
        assert_eq!(tile["name"], "Broadcaster", "{name}: {seen}");
        assert_eq!(tile["moves"], true, "{name}: {seen}");
        assert!(tile["bright"].as_i64() > Some(100), "{name}: {seen}");
        assert!(seen[name]["photo"]["colours"].as_i64() > Some(50), "{name}: {seen}");
    }
}

#[test]
fn what_a_user_switches_is_seen_by_the_others() {
    let seen = play("use", "conference-use", ["chrome", "chrome"]);
    assert_eq!(seen["muted"]["producerPaused"], true, "{seen}");
    let muted = format!("{}, microphone off", NAMES[0]);
    assert_eq!(seen["mutedTile"], muted.as_str(), "{seen}");
    assert_eq!(seen["hinders"], json!([]), "{seen}");
    assert_eq!(seen["unmuted"]["producerPaused"], false, "{seen}");
    assert_eq!(seen["cameraOff"], json!(["microphone"]), "{seen}");
    assert!(seen["cameraOn"]["framesDecoded"].as_i64() > Some(10), "{seen}");
    assert!(seen["screen"]["framesDecoded"].as_i64() > Some(10), "{seen}");
    let screen = format!("{}, screen", NAMES[0]);
    let tiles = seen["tiles"].as_array().expect("tiles");
    let tile = tiles.iter().find(|tile| tile["name"] == screen.as_str());
    assert!(tile.is_some_and(|tile| tile["bright"].as_i64() > Some(100)), "{seen}");
    assert!(seen["photo"]["colours"].as_i64() > Some(50), "{seen}");
    assert!(
        seen["screenOff"].as_array().is_some_and(|sources| sources.len() == 2),
        "{seen}"
    );
    assert_eq!(seen["renamed"], format!("{} Byron", NAMES[0]), "{seen}");
}

#[test]
fn a_user_chooses_what_comes_and_learns_why() {
    let seen = play("choose", "conference-choose", ["chrome", "chrome"]);
    let focused = format!("{} · camera", NAMES[0]);
    assert_eq!(seen["focused"], focused.as_str(), "{seen}");
    assert_eq!(seen["low"]["height"], 180, "{seen}");
    assert!(seen["high"]["height"].as_i64() > Some(180), "{seen}");
    assert_eq!(seen["slow"]["current"]["temporalLayer"], 0, "{seen}");
    assert_eq!(seen["first"]["priority"], 255, "{seen}");
    let reasons = seen["why"].as_array().expect("reasons");
    let asked = |reason: &Value| reason.as_str().is_some_and(|text| text.ends_with("you asked for it"));
    assert!(reasons.iter().any(asked), "{seen}");
    let reasons = seen["whySoMuch"].as_array().expect("reasons");
    let tried = |reason: &Value| reason.as_str().is_some_and(|text| text.contains("bit/s for a moment"));
    assert!(reasons.iter().any(tried), "{seen}");
    assert_eq!(seen["stopped"]["paused"], true, "{seen}");
    assert_eq!(seen["again"]["paused"], false, "{seen}");
    assert!(seen["framesAgain"].as_i64() > Some(10), "{seen}");
    assert_eq!(seen["speakerKnown"], true, "{seen}");
    assert!(seen["photo"]["colours"].as_i64() > Some(50), "{seen}");
}

#[test]
fn a_link_chooses_codec_and_protocol() {
    let seen = play("link", "conference-link", ["chrome", "chrome"]);
    assert_eq!(seen, json!({ "flows": true, "codec": "VP9", "protocol": "tcp" }));
}

#[test]
fn people_write_to_each_other_and_to_the_bot() {
    let seen = play("chat", "conference-chat", ["chrome", "firefox"]);
    for (index, heard) in seen["heard"].as_array().expect("pages").iter().enumerate() {
        let mut heard: Vec<&str> = heard
            .as_array()
            .expect("messages")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        heard.sort_unstable();
        let name = |speaker: usize| if speaker == index { "You" } else { NAMES[speaker] };
        let mut said = vec![
            format!("{}: Hello from 0 ☃", name(0)),
            format!("{}: Hello from 1 ☃", name(1)),
            format!("Bot: {} said me: \"how are you?\"", NAMES[1]),
        ];
        if index == 1 {
            said.push("You: @bot how are you?".to_owned());
        }
        said.sort_unstable();
        assert_eq!(heard, said, "{seen}");
    }
}

#[test]
fn who_has_no_camera_is_told_and_sees_the_others() {
    let seen = play("listen", "conference-listen", ["chrome", "chrome"]);
    let problem = seen["problem"].as_str().expect("a text");
    assert!(problem.starts_with("The camera is blocked. Allow it"), "{seen}");
    let notice = seen["notice"].as_str().expect("a text");
    assert!(notice.starts_with("The microphone is blocked. Allow it"), "{seen}");
    assert_eq!(seen["pressed"], "false", "{seen}");
    let frames = seen["frames"].as_array().expect("streams");
    assert!(frames.iter().any(|frames| frames.as_i64() > Some(10)), "{seen}");
}

#[test]
fn media_go_on_after_an_interruption() {
    let seen = play("stall", "conference-stall", ["chrome", "firefox"]);
    assert_eq!(seen["interrupted"], "interrupted", "{seen}");
    for page in seen["after"].as_array().expect("pages") {
        assert_eq!(page["seen"]["status"], "connected", "{seen}");
        assert_eq!(page["flows"], true, "{seen}");
    }
}

#[test]
fn pages_come_back_when_the_server_does() {
    let seen = play("reconnect", "conference-reconnect", ["chrome", "firefox"]);
    assert_eq!(seen["lost"], "reconnecting", "{seen}");
    for page in seen["back"].as_array().expect("pages") {
        assert_eq!(page, &json!({ "status": "connected", "flows": true }), "{seen}");
    }
}
