//! Browsers on a network that loses packets.

use std::net::SocketAddr;

use serde_json::json;
use tests::browsers::{drive, turn};
use tests::link::Link;
use tests::relay::{Relay, Toward};

use crate::page;

/// Where all transports of a worker with a WebRtcServer are.
pub const SERVER: ([u8; 4], u16) = ([127, 0, 0, 1], 46501);

/// Of all packets between both pages and the worker one of ten is lost, whatever is in them.
#[test]
fn video_goes_on_when_a_tenth_of_all_packets_is_lost() {
    let _turn = turn();
    let seed = 10;
    let relay = Relay::start(SocketAddr::from(SERVER), seed).expect("a relay");
    let link = Link {
        loss: 100,
        min_delay: 10_000,
        max_delay: 10_000,
        ..Link::PERFECT
    };
    relay.set(Toward::Server, link);
    relay.set(Toward::Client, link);
    let relay_port = relay.address.port();
    let scenario = json!({
        "name": "loss", "loss": true, "seconds": 20, "webRtcServer": true,
        "sender": page("chrome", &json!({ "codec": "vp8", "relayPort": relay_port })),
        "receiver": page("chrome", &json!({ "relayPort": relay_port })),
    });
    let seen = drive("drive.mjs", "loss", &scenario);
    assert_eq!(seen["workerLives"], true, "{seen}");
    let (sent, decoded) = (
        seen["framesSent"].as_i64().unwrap(),
        seen["framesDecoded"].as_i64().unwrap(),
    );
    println!("{seen}");
    assert!(sent > 100, "{seen}");
    assert!(
        decoded * 10 >= sent * 9,
        "seed {seed}: {decoded} of {sent} frames were decoded: {seen}"
    );
    // By the time of capture, so that it does not matter how busy the machine is.
    let freeze = seen["longestFreeze"].as_f64().unwrap();
    assert!(freeze <= 1000.0, "seed {seed}: {freeze} ms between two frames: {seen}");
    for toward in [Toward::Server, Toward::Client] {
        let passed = relay.passed(toward);
        assert!(passed.lost * 20 > passed.packets, "seed {seed}, {toward:?}: {passed:?}");
    }
}
