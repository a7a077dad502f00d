//! Real browsers send and receive through the worker: `browser/drive.mjs` drives them, the Node library drives the
//! worker. Screenshots of what they show are left in `target/browsers`.

mod data;
mod follow;
mod layers;
mod loss;
mod ramp;

use serde_json::{Value, json};
use tests::browsers::{drive, free_port, screenshots, turn};

fn page(browser: &str, options: &Value) -> Value {
    json!({ "browser": browser, "options": options })
}

/// Runs a scenario, asserts that everybody saw moving pictures and heard something for 10 s, and returns what was seen.
#[track_caller]
fn play(name: &str, senders: &[Value], receivers: &[Value], more: &Value) -> Value {
    let _turn = turn();
    let mut scenario = json!({
        "name": name, "senders": senders, "receivers": receivers, "seconds": 10,
        "screenshots": screenshots(),
    });
    scenario
        .as_object_mut()
        .expect("an object")
        .extend(more.as_object().cloned().unwrap_or_default());
    let seen = drive("drive.mjs", name, &scenario);
    assert_eq!(seen["workerLives"], true, "{name}: {seen}");
    assert_eq!(
        seen["receivers"].as_array().map(Vec::len),
        Some(receivers.len()),
        "{name}: {seen}"
    );
    for receiver in seen["receivers"].as_array().expect("receivers") {
        let (before, after) = (&receiver["before"], &receiver["after"]);
        let grew = |key: &str| after[key].as_f64() > before[key].as_f64();
        assert_eq!(after["state"], "connected", "{name}: {seen}");
        // Ten seconds of a slow machine.
        let frames = after["framesDecoded"].as_i64().zip(before["framesDecoded"].as_i64());
        assert!(
            frames.is_some_and(|(after, before)| after - before >= 50),
            "{name}: {seen}"
        );
        assert!(grew("audioEnergy") && grew("audioPackets"), "{name}: {seen}");
        assert_ne!(
            after["picture"], before["picture"],
            "{name}: the picture does not move: {seen}"
        );
        assert!(
            after["bright"].as_i64() > Some(100),
            "{name}: the picture is black: {seen}"
        );
        assert!(after["width"].as_i64() >= Some(100), "{name}: {seen}");
    }
    for transport in seen["transports"].as_array().expect("transports") {
        assert_eq!(transport["dtlsState"], "connected", "{name}: {seen}");
        assert_eq!(transport["iceState"], "completed", "{name}: {seen}");
    }
    seen
}

fn assert_protocol(seen: &Value, protocol: &str) {
    for transport in seen["transports"].as_array().expect("transports") {
        assert_eq!(transport["iceSelectedTuple"]["protocol"], protocol, "{seen}");
    }
}

#[test]
fn chromium_over_udp() {
    let page = [page("chrome", &json!({}))];
    assert_protocol(&play("chromium-udp", &page, &page, &json!({})), "udp");
}

#[test]
fn chromium_over_tcp_only() {
    let page = [page("chrome", &json!({ "tcpOnly": true }))];
    assert_protocol(&play("chromium-tcp", &page, &page, &json!({})), "tcp");
}

#[test]
fn firefox_over_udp() {
    let page = [page("firefox", &json!({}))];
    assert_protocol(&play("firefox-udp", &page, &page, &json!({})), "udp");
}

#[test]
fn firefox_over_tcp_only() {
    let page = [page("firefox", &json!({ "tcpOnly": true }))];
    assert_protocol(&play("firefox-tcp", &page, &page, &json!({})), "tcp");
}

#[test]
fn four_pages_of_both_browsers_share_a_server() {
    let pages = [page("chrome", &json!({})), page("firefox", &json!({}))];
    let port = free_port().port();
    let seen = play("shared-server", &pages, &pages, &json!({ "webRtcServer": port }));
    for transport in seen["transports"].as_array().expect("transports") {
        assert_eq!(transport["iceSelectedTuple"]["localPort"], port, "{seen}");
    }
}

#[test]
fn media_goes_on_after_an_ice_restart() {
    let (chrome, firefox) = (page("chrome", &json!({})), page("firefox", &json!({})));
    let more = json!({ "restartIce": true });
    play(
        "restart-chromium-to-firefox",
        std::slice::from_ref(&chrome),
        std::slice::from_ref(&firefox),
        &more,
    );
    play("restart-firefox-to-chromium", &[firefox], &[chrome], &more);
}
