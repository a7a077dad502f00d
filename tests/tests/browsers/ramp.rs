//! Senders are told in time how much they may send.

use serde_json::json;
use tests::browsers::{drive, turn};

use crate::page;

/// A browser that could send 4 Mbit/s begins with 300 kbit/s or so, and sends 2.5 Mbit/s within 5 s. That takes reports of
/// arrivals from the worker, and soon. What is sent is measured over a second, which comes on top.
#[track_caller]
fn climb(browser: &str) {
    let _turn = turn();
    let name = format!("ramp-{browser}");
    let sender = json!({ "codec": "vp8", "top": 4_000_000, "width": 1280, "height": 720, "noise": 30 });
    let scenario = json!({ "name": name, "ramp": 2_500_000, "sender": page(browser, &sender) });
    let seen = drive("drive.mjs", &name, &scenario);
    println!("{name}: {} ms", seen["took"]);
    assert_eq!(seen["workerLives"], true, "{name}: {seen}");
    assert_eq!(seen["enough"], true, "{name}: {seen}");
    // By the page's clock.
    assert!(
        seen["took"].as_f64().is_some_and(|took| took <= 6000.0),
        "{name}: {seen}"
    );
}

#[test]
fn chromium_sends_more_soon() {
    climb("chrome");
}

#[test]
fn firefox_sends_more_soon() {
    climb("firefox");
}
