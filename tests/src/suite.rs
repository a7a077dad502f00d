//! Replaying a recording and judging the result.

use std::collections::{BTreeSet, HashSet};
use std::env;
use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;

use crate::compare::{Difference, compare};
use crate::deviations::Deviations;
use crate::normalise::{Masks, normalise};
use crate::recording::{Line, Recording, text, vectors};
use crate::replay::replay;

/// Recordings are replayed one at a time: their timers, and some of their ports, do not bear company.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The environment variable that asks for whole differences.
pub const FULL_DIFF: &str = "FULL_DIFF";

/// Longest wait for a port.
const PORT_WAIT: Duration = Duration::from_secs(90);

/// Replays a recording and says where the worker differs.
///
/// # Errors
/// It cannot be read, or the machine does not let us replay it.
pub fn run(name: &str) -> anyhow::Result<Vec<Difference>> {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let recording = Recording::load(name)?;
    let (masks, deviations) = (Masks::load()?, Deviations::load(&recording)?);
    wait_for_ports(&recording);
    let replayed = replay(&recording, &masks, &deviations)?;
    Ok(judge(&recording, &masks, &deviations, &replayed))
}

/// Waits until the ports are free that a recording asks for by number. They are among those that the system gives to any
/// client, and such a socket keeps its port for a minute after its end. Should one never be free, the replay tells.
fn wait_for_ports(recording: &Recording) {
    let creations = recording.lines.iter().filter(|line| {
        let method = text(&line.value, "method");
        method.starts_with("router.create") || method == "worker.createWebRtcServer"
    });
    let mut ports = BTreeSet::new();
    creations.for_each(|line| collect_ports(&line.value["data"], &mut ports));
    let free = |port: &u16| {
        let address = (Ipv4Addr::LOCALHOST, *port);
        TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
    };
    let begin = Instant::now();
    while !ports.iter().all(free) && begin.elapsed() < PORT_WAIT {
        sleep(Duration::from_millis(200));
    }
}

/// Ports anywhere in a value, but for those of the system and 0.
fn collect_ports(value: &Value, ports: &mut BTreeSet<u16>) {
    match value {
        Value::Object(fields) => {
            let port = fields.get("port").and_then(Value::as_u64);
            ports.extend(
                port.and_then(|port| u16::try_from(port).ok())
                    .filter(|port| *port >= 1024),
            );
            fields.values().for_each(|value| collect_ports(value, ports));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_ports(value, ports)),
        _ => {}
    }
}

/// How lines differ from those of the recording.
pub fn judge(recording: &Recording, masks: &Masks, deviations: &Deviations, lines: &[Line]) -> Vec<Difference> {
    let name = &recording.name;
    let expected = deviations.expected(&recording.lines);
    // A failure has to be explained where the recorded worker explained it; saying more is not a difference.
    let complaints: HashSet<usize> = expected
        .iter()
        .filter(|line| line.step() == "stderr")
        .map(|line| line.window)
        .collect();
    let lines: Vec<Line> = lines
        .iter()
        .filter(|line| line.step() != "stderr" || complaints.contains(&line.window))
        .cloned()
        .collect();
    let expected = normalise(name, &expected, masks, deviations);
    let actual = normalise(name, &lines, masks, deviations);
    compare(&expected, &actual)
}

/// Describes differences: the first few in short, or all of them in full if the environment asks for it.
pub fn describe(differences: &[Difference]) -> String {
    let full = env::var_os(FULL_DIFF).is_some();
    let (count, width) = if full { (usize::MAX, usize::MAX) } else { (8, 200) };
    let mut text = String::new();
    for difference in differences.iter().take(count) {
        text.push_str(&difference.describe(width));
    }
    if differences.len() > count {
        let _ = writeln!(
            text,
            "  .. and {} more; {FULL_DIFF}=1 shows everything",
            differences.len() - count
        );
    }
    text
}

/// Why this recording is expected to fail, if it is.
///
/// # Errors
/// The list cannot be read.
pub fn expected_failure(name: &str) -> anyhow::Result<Option<String>> {
    let path = vectors().join("expected_failures.txt");
    let content = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let entries = content.lines().filter(|line| !line.starts_with('#'));
    let reason = entries
        .filter_map(|line| line.split_once(char::is_whitespace))
        .find(|(entry, _)| *entry == name);
    Ok(reason.map(|(_, reason)| reason.trim().to_owned()))
}

/// Replays a recording and fails unless the result is the expected one.
///
/// # Panics
/// There are differences and the recording is not listed as failing, or there are none and it is.
pub fn check(name: &str) {
    let differences = run(name).unwrap_or_else(|error| panic!("{name} could not be replayed: {error:#}"));
    let listed = expected_failure(name).expect("the list of expected failures");
    let description = describe(&differences);
    let count = differences.len();
    let texts = differences
        .iter()
        .filter(|difference| difference.is_text_of_reason())
        .count();
    match (differences.is_empty(), listed) {
        (true, None) => {}
        (true, Some(reason)) => {
            panic!("{name} passes: take it off expected_failures.txt, where it says: {reason}")
        }
        (false, Some(reason)) => println!(
            "{name}: {count} differences ({texts} of them texts of reasons), as expected ({reason})\n{description}"
        ),
        (false, None) => {
            panic!("{name}: {count} differences, {texts} of them in the text of a reason only\n{description}")
        }
    }
}
