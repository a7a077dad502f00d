//! Receivers choose between what browsers send in several layers.

use serde_json::{Value, json};
use tests::browsers::{drive, turn};

use crate::page;

/// One page sends three spatial layers of a 1280x720 camera, another one asks for each, up and down.
/// The sender's bitrate must grow, which takes transport-wide feedback: Chromium starts at 300 kbit/s.
#[track_caller]
fn climb(name: &str, codec: &str, mode: &str) {
    let _turn = turn();
    let (layers, heights) = ([0, 2, 1, 0, 2], [180, 720, 360, 180, 720]);
    let bitrate = 900_000;
    let sender = json!({ "codec": codec, "mode": mode, "width": 1280, "height": 720 });
    let scenario = json!({
        "name": name, "layers": layers, "heights": heights, "bitrate": bitrate,
        "sender": page("chrome", &sender), "receiver": page("chrome", &json!({})),
    });
    let seen = drive("drive.mjs", name, &scenario);
    assert_eq!(seen["workerLives"], true, "{name}: {seen}");
    let steps = seen["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), layers.len(), "{name}: {seen}");
    for (index, step) in steps.iter().enumerate() {
        let (reached, after) = (&step["reached"], &step["after"]);
        assert_eq!(reached["height"], heights[index], "{name}, step {index}: {seen}");
        assert_eq!(after["height"], heights[index], "{name}, step {index}: {seen}");
        assert_eq!(
            after["codec"],
            format!("video/{}", codec.to_uppercase()),
            "{name}: {seen}"
        );
        let frames = |seen: &Value| seen["framesDecoded"].as_i64().expect("a number");
        assert!(
            frames(after) >= frames(reached) + 30,
            "{name}, step {index}: the video freezes: {seen}"
        );
    }
    for key in ["availableOutgoingBitrate", "sendingBitrate"] {
        assert!(
            seen["sender"][key].as_f64() > Some(f64::from(bitrate)),
            "{name}: {seen}"
        );
    }
}

#[test]
fn a_receiver_chooses_between_simulcast_streams_of_vp8() {
    climb("simulcast-vp8", "vp8", "simulcast");
}

#[test]
fn a_receiver_chooses_between_simulcast_streams_of_h264() {
    climb("simulcast-h264", "h264", "simulcast");
}

#[test]
fn a_receiver_chooses_between_layers_of_vp9_that_depend_on_each_other_in_key_frames_only() {
    climb("svc-vp9", "vp9", "L3T3_KEY");
}

#[test]
fn a_receiver_chooses_between_layers_of_av1() {
    climb("svc-av1", "av1", "L3T3");
}
