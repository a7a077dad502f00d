//! Data channels between browsers.

use serde_json::{Value, json};
use tests::browsers::{drive, turn};

/// Two pages send texts and bytes to each other, on channels that keep the order and on ones that do not.
#[track_caller]
fn talk(name: &str, browsers: [&str; 2]) {
    let _turn = turn();
    let scenario = json!({
        "name": name, "data": browsers,
        "channels": [{ "label": "ordered", "ordered": true }, { "label": "unordered", "ordered": false }],
        "sizes": [1, 1000, 16_384, 200_000, 262_144],
    });
    let seen = drive("drive.mjs", name, &scenario);
    assert_eq!(seen["workerLives"], true, "{name}: {seen}");
    for (from, to) in [(0, 1), (1, 0)] {
        for (label, sent) in seen["sent"][from].as_object().expect("channels") {
            let messages = |value: &Value| -> Vec<String> {
                let texts = value.as_array().into_iter().flatten();
                texts.filter_map(|text| Some(text.as_str()?.to_owned())).collect()
            };
            let (mut sent, mut received) = (messages(sent), messages(&seen["received"][to][label]));
            assert_eq!(sent.len(), 10, "{name}, {label}");
            if label.starts_with("unordered") {
                sent.sort();
                received.sort();
            }
            assert_eq!(received, sent, "{name}, {label}");
        }
    }
}

#[test]
fn data_channels_of_chromium() {
    talk("data-chromium", ["chrome", "chrome"]);
}

#[test]
fn data_channels_of_firefox() {
    talk("data-firefox", ["firefox", "firefox"]);
}

#[test]
fn data_channels_between_chromium_and_firefox() {
    talk("data-both", ["chrome", "firefox"]);
}
