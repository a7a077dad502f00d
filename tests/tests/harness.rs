//! The harness itself: what it says about recordings before a worker comes into play.

use std::collections::BTreeSet;

use channel_proto::command::Command;
use serde_json::{Value, json};
use tests::compare::compare;
use tests::deviations::Deviations;
use tests::normalise::{Masks, normalise};
use tests::packets::{Hint, describe};
use tests::recording::{Line, Recording, is_output, names, text};
use tests::suite::{describe as describe_differences, judge};

fn recordings() -> Vec<Recording> {
    let recordings: Vec<Recording> = names()
        .unwrap()
        .iter()
        .map(|name| Recording::load(name).unwrap())
        .collect();
    assert_eq!(recordings.len(), 49);
    recordings
}

#[test]
fn every_recording_equals_itself() {
    let masks = Masks::load().unwrap();
    for recording in recordings() {
        let deviations = Deviations::default();
        let differences = judge(&recording, &masks, &deviations, &recording.lines);
        assert!(
            differences.is_empty(),
            "{}:\n{}",
            recording.name,
            describe_differences(&differences)
        );
        let normalised = normalise(&recording.name, &recording.lines, &masks, &deviations);
        assert!(!normalised.lines.is_empty(), "{}", recording.name);
    }
}

/// What `recordings.rs` replays is the proof that a worker carries out each method: none is missing there.
#[test]
fn every_method_is_recorded_with_success() {
    let mut succeeded = BTreeSet::new();
    for recording in recordings() {
        for line in recording.lines.iter().filter(|line| line.step() == "response") {
            if line.value["accepted"] == true {
                succeeded.insert(text(&line.value, "of").to_owned());
            }
        }
    }
    // The worker ends instead of an answer.
    let expected = Command::METHODS.iter().filter(|method| **method != "worker.close");
    let missing: Vec<_> = expected.filter(|method| !succeeded.contains(**method)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn listed_deviations_fit_their_recordings() {
    for recording in recordings() {
        Deviations::load(&recording).unwrap();
    }
}

/// Output that can be told from all other output when something in it changes.
fn responses(recording: &Recording) -> impl Iterator<Item = usize> {
    let lines = recording.lines.iter().enumerate();
    lines
        .filter(|(_, line)| line.step() == "response")
        .map(|(index, _)| index)
}

#[test]
fn a_changed_line_is_reported() {
    let masks = Masks::load().unwrap();
    for recording in recordings() {
        let Some(index) = responses(&recording).last() else {
            continue;
        };
        let mut lines = recording.lines.clone();
        lines[index].value["surplus"] = json!(true);
        let differences = judge(&recording, &masks, &Deviations::default(), &lines);
        assert!(!differences.is_empty(), "{}", recording.name);
    }
}

#[test]
fn a_missing_and_a_doubled_line_are_reported() {
    let masks = Masks::load().unwrap();
    for recording in recordings() {
        let Some(index) = responses(&recording).next() else {
            continue;
        };
        let mut lines = recording.lines.clone();
        let line = lines.remove(index);
        let missing = judge(&recording, &masks, &Deviations::default(), &lines);
        assert_eq!(
            missing.len(),
            1,
            "{}:\n{}",
            recording.name,
            describe_differences(&missing)
        );
        lines.insert(index, line.clone());
        lines.insert(index, line);
        let doubled = judge(&recording, &masks, &Deviations::default(), &lines);
        assert_eq!(
            doubled.len(),
            1,
            "{}:\n{}",
            recording.name,
            describe_differences(&doubled)
        );
    }
}

#[test]
fn a_kind_of_output_that_is_missing_or_new_is_reported() {
    let masks = Masks::load().unwrap();
    let recording = Recording::load("49-bandwidth").unwrap();
    let is_remb = |line: &Line| line.value.pointer("/rtcp/0/type") == Some(&json!("REMB"));
    let mut lines = recording.lines.clone();
    let first = lines.iter().position(is_remb).unwrap();
    lines.remove(first);
    let differences = judge(&recording, &masks, &Deviations::default(), &lines);
    assert!(differences.is_empty(), "one of several");
    lines.retain(|line| !is_remb(line));
    assert_eq!(judge(&recording, &masks, &Deviations::default(), &lines).len(), 1);
    let mut lines = recording.lines.clone();
    lines[first].value["from"] = json!("11111111-0000-4000-8000-000000000009 rtp");
    assert_eq!(judge(&recording, &masks, &Deviations::default(), &lines).len(), 1);
}

#[test]
fn sequence_numbers_may_start_anywhere_but_must_go_on_as_recorded() {
    let masks = Masks::load().unwrap();
    let recording = Recording::load("31-flow-opus").unwrap();
    let shifted = |line: &Line, by: u16| {
        let mut line = line.clone();
        let Some(number) = line.value.pointer("/rtp/seq").and_then(Value::as_u64) else {
            return line;
        };
        if line.step() == "udp-recv" {
            let number = u16::try_from(number).unwrap().wrapping_add(by);
            let hex = text(&line.value, "hex");
            line.value["hex"] = json!(format!("{}{number:04x}{}", &hex[..4], &hex[8..]));
            line.value["rtp"]["seq"] = json!(number);
        }
        line
    };
    let all: Vec<Line> = recording.lines.iter().map(|line| shifted(line, 65_000)).collect();
    assert!(judge(&recording, &masks, &Deviations::default(), &all).is_empty());
    let last = recording
        .lines
        .iter()
        .rposition(|line| line.value.get("rtp").is_some() && line.step() == "udp-recv");
    let mut one = recording.lines.clone();
    one[last.unwrap()] = shifted(&one[last.unwrap()], 1);
    assert!(!judge(&recording, &masks, &Deviations::default(), &one).is_empty());
}

#[test]
fn packets_are_described_as_recorded() {
    for recording in recordings() {
        let received = recording.lines.iter().filter(|line| is_output(line.step()));
        for line in received.filter(|line| line.value.get("rtp").is_some() || line.value.get("stun").is_some()) {
            let keys = ["plain_hex", "payload_hex", "hex"];
            let bytes = keys.iter().find_map(|key| line.value.get(*key)?.as_str()).unwrap();
            let described = Value::Object(describe(&hex::decode(bytes).unwrap(), Hint::Unknown));
            for protocol in ["rtp", "stun"] {
                let (described, recorded) = (described.get(protocol), line.value.get(protocol));
                assert_eq!(described, recorded, "{}, line {}", recording.name, line.number);
            }
        }
    }
}

#[test]
fn skipped_windows_are_not_compared() {
    let masks = Masks::load().unwrap();
    let recording = Recording::load("31-flow-opus").unwrap();
    let index = responses(&recording).nth(3).unwrap();
    let mut lines = recording.lines.clone();
    let window = lines[index].window;
    lines[index].value["surplus"] = json!(true);
    let normal = |deviations: &Deviations, lines: &[Line]| normalise(&recording.name, lines, &masks, deviations);
    let none = Deviations::default();
    assert_eq!(
        compare(&normal(&none, &recording.lines), &normal(&none, &lines)).len(),
        1
    );
    let entry = json!({ "recording": recording.name, "skip": [window, window], "reason": "a test" });
    let skipping = Deviations::parse(&entry.to_string(), &recording).unwrap();
    assert!(compare(&normal(&skipping, &recording.lines), &normal(&skipping, &lines)).is_empty());
}
