//! Browsers on a network that loses packets.

use serde_json::{Value, json};
use tests::browsers::{drive, free_port, turn};
use tests::link::Link;
use tests::relay::{Relay, Toward};

use crate::page;

/// What a page sends in layers.
fn layered(codec: &str, mode: &str) -> Value {
    json!({ "codec": codec, "mode": mode, "width": 1280, "height": 720 })
}

/// Of all packets between both pages and the worker one of ten is lost, whatever is in them. Nine of ten frames that the
/// sender makes are decoded all the same, and none is awaited for more than a second.
#[track_caller]
fn lose(name: &str, mut sender: Value) {
    let _turn = turn();
    let seed = 10;
    let server = free_port();
    let relay = Relay::start(server, seed).expect("a relay");
    let link = Link {
        loss: 100,
        min_delay: 10_000,
        max_delay: 10_000,
        ..Link::PERFECT
    };
    relay.set(Toward::Server, link);
    relay.set(Toward::Client, link);
    let relay_port = relay.address.port();
    sender["relayPort"] = relay_port.into();
    let scenario = json!({
        "name": name, "loss": true, "seconds": 20, "webRtcServer": server.port(),
        "sender": page("chrome", &sender),
        "receiver": page("chrome", &json!({ "relayPort": relay_port })),
    });
    let seen = drive("drive.mjs", name, &scenario);
    println!("{name}: {seen}");
    assert_eq!(seen["workerLives"], true, "{name}: {seen}");
    let (sent, decoded) = (
        seen["framesSent"].as_i64().unwrap(),
        seen["framesDecoded"].as_i64().unwrap(),
    );
    assert!(sent > 100, "{name}: {seen}");
    assert!(
        decoded * 10 >= sent * 9,
        "{name}, seed {seed}: {decoded} of {sent} frames were decoded: {seen}"
    );
    // By the time of capture, so that it does not matter how busy the machine is.
    let freeze = seen["longestFreeze"].as_f64().unwrap();
    assert!(
        freeze <= 1000.0,
        "{name}, seed {seed}: {freeze} ms between two frames: {seen}"
    );
    for toward in [Toward::Server, Toward::Client] {
        let passed = relay.passed(toward);
        assert!(
            passed.lost * 20 > passed.packets,
            "{name}, seed {seed}, {toward:?}: {passed:?}"
        );
    }
}

#[test]
fn video_in_one_stream_goes_on() {
    lose("loss", json!({ "codec": "vp8" }));
}

#[test]
fn simulcast_of_vp8_goes_on() {
    lose("loss-simulcast-vp8", layered("vp8", "simulcast"));
}

#[test]
fn simulcast_of_h264_goes_on() {
    lose("loss-simulcast-h264", layered("h264", "simulcast"));
}

#[test]
fn layers_of_vp9_go_on() {
    lose("loss-svc-vp9", layered("vp9", "L3T3_KEY"));
}

#[test]
fn layers_of_av1_go_on() {
    lose("loss-svc-av1", layered("av1", "L3T3"));
}
