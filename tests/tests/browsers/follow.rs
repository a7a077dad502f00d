//! A receiver behind a link that becomes wider and narrower again.

use std::net::{Ipv4Addr, UdpSocket};
use std::thread;

use serde_json::json;
use tests::browsers::{drive, free_port, turn};
use tests::link::Link;
use tests::relay::{Relay, Toward};

use crate::page;

/// What the link does beside being narrow.
const LINK: Link = Link {
    min_delay: 10_000,
    max_delay: 10_000,
    ..Link::PERFECT
};

/// A port to which the driver sends the rate that the way to the receiver is to have from now on, in bits per second.
fn control(relay: Relay) -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = socket.local_addr().expect("an address").port();
    relay.set(Toward::Server, LINK);
    thread::spawn(move || {
        let mut buffer = [0; 32];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let rate = std::str::from_utf8(&buffer[..length]).expect("a number");
            let rate = rate.parse().expect("a number");
            relay.set(Toward::Client, Link { rate, ..LINK });
            socket.send_to(b"done", from).expect("an answer");
        }
    });
    port
}

/// The sender's picture is so hard to encode that each of its streams takes all that it may: 150 and 500 kbit/s and
/// 2 Mbit/s. The best that fits into 600 kbit/s is the second one, with few of its frames perhaps.
#[test]
fn the_picture_follows_a_link_that_becomes_wider_and_narrower() {
    let _turn = turn();
    let server = free_port();
    let relay = Relay::start(server, 1).expect("a relay");
    let relay_port = relay.address.port();
    let sender = json!({
        "codec": "vp8", "mode": "simulcast", "top": 2_000_000, "width": 1280, "height": 720, "noise": 30,
    });
    let receiver = json!({ "relayPort": relay_port, "initialBitrate": 600_000 });
    let scenario = json!({
        "name": "follow", "webRtcServer": server.port(), "control": control(relay), "seconds": 15,
        "rates": [600_000, 3_000_000, 600_000], "heights": [[1, 360], [720, 720], [1, 360]],
        "bitrates": [150_000, 500_000, 2_000_000],
        "sender": page("chrome", &sender), "receiver": page("chrome", &receiver),
    });
    let seen = drive("drive.mjs", "follow", &scenario);
    println!("{seen}");
    assert_eq!(seen["workerLives"], true, "{seen}");
    for step in seen["steps"].as_array().expect("steps") {
        // By the page's clock, since the link changed. Null: never.
        assert!(
            step["after"].as_f64().is_some_and(|after| after <= 10_000.0),
            "{step}: {seen}"
        );
    }
    let pause = seen["longestPause"].as_f64().expect("a number");
    assert!(pause <= 1000.0, "{pause} ms without a new picture: {seen}");
}
