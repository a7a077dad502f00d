//! The example that relays a picture and a tone through a worker: what it records can be played.

use std::process::Command;
use std::{env, path::Path};

use serde_json::Value;
use tests::worker_process::binary;

const SECONDS: f64 = 5.0;

fn require(program: &str) {
    let found = Command::new(program)
        .arg("-version")
        .output()
        .is_ok_and(|output| output.status.success());
    assert!(found, "{program} is missing: `make tools` installs ffmpeg");
}

/// What ffprobe finds when it decodes everything.
fn probe(file: &Path) -> Value {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args([
        "-v",
        "error",
        "-count_frames",
        "-count_packets",
        "-show_streams",
        "-show_format",
        "-of",
        "json",
    ]);
    let output = ffprobe.arg(file).output().expect("ffprobe");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ffprobe: {errors}");
    serde_json::from_slice(&output.stdout).expect("JSON of ffprobe")
}

fn number(value: &Value) -> f64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

#[test]
fn a_relayed_picture_and_tone_can_be_played() {
    require("ffmpeg");
    require("ffprobe");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("relay.webm");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut relay = Command::new(cargo);
    relay
        .args([
            "run",
            "-q",
            "-p",
            "client",
            "--example",
            "relay",
            "--",
            "--seconds",
            "5",
            "--output",
        ])
        .arg(&file);
    let output = relay.arg("--worker").arg(binary()).output().expect("cargo");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "the relay failed: {}\n{stdout}\n{stderr}",
        output.status
    );

    let probed = probe(&file);
    let stream = |kind: &str| {
        let streams = probed["streams"].as_array().expect("streams").iter();
        let mut streams = streams.filter(|stream| stream["codec_type"] == kind);
        streams
            .next()
            .unwrap_or_else(|| panic!("no {kind} in {probed}"))
            .clone()
    };
    let (video, audio) = (stream("video"), stream("audio"));
    assert_eq!(
        (&video["codec_name"], &audio["codec_name"]),
        (&"vp8".into(), &"opus".into())
    );
    // Half of what 5 seconds hold at 15 pictures and 50 packets of sound a second, as the machine may be busy.
    assert!(number(&video["nb_read_frames"]) >= SECONDS * 15.0 / 2.0, "{video}");
    assert!(number(&audio["nb_read_packets"]) >= SECONDS * 50.0 / 2.0, "{audio}");
    assert!(number(&audio["nb_read_frames"]) >= SECONDS * 50.0 / 2.0, "{audio}");
    let duration = number(&probed["format"]["duration"]);
    assert!((SECONDS * 0.6..SECONDS * 2.0).contains(&duration), "{duration} s");
}
