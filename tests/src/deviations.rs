//! Where Sluice differs from the recorded worker on purpose: `vectors/deviations.jsonl`.
//!
//! Every line names a recording and a reason, and says what differs:
//!
//! - `"skip": [from, to]`: output of the windows opened by these lines is not compared;
//! - `"omit": [from, to]`: these lines are neither executed nor compared;
//! - `"none": [from, to]`: output among these lines is not expected;
//! - `"line": n` and one or more of
//!   - `"replace": [..]`: that output is replaced by these lines, or by none;
//!   - `"set": {"/pointer": value, ..}`: other values are expected in it;
//!   - `"remove": ["/pointer", ..]`: values are not expected in it;
//!   - `"ignore": ["/pointer", ..]`: these values are left out of that output and of others of its kind in the same
//!     window.

use std::collections::HashMap;
use std::fs;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::normalise::remove;
use crate::recording::{Line, Recording, is_output, text, vectors};

/// The differences of one recording.
#[derive(Debug, Default, Clone)]
pub struct Deviations {
    skipped: Vec<(usize, usize)>,
    omitted: Vec<(usize, usize)>,
    replaced: HashMap<usize, Vec<Value>>,
    ignored: Vec<Ignored>,
}

#[derive(Debug, Clone)]
struct Ignored {
    window: usize,
    kind: String,
    pointers: Vec<String>,
}

/// What kind of output a line is: lines of the same kind can stand for each other when they are only counted.
pub fn kind(line: &Value) -> String {
    let step = text(line, "step");
    let process = text(line, "proc");
    let detail = match step {
        "response" => format!("{} {}", text(line, "of"), line["id"]),
        "notification" if text(line, "event") == "running" => "running".to_owned(),
        "notification" => format!("{} {}", text(line, "event"), text(line, "targetId")),
        "payload-recv" => {
            let header = &line["header"];
            format!(
                "{} {} {}",
                text(header, "event"),
                text(header, "targetId"),
                header["id"]
            )
        }
        "udp-recv" | "tcp-recv" | "tcp-closed" => text(line, "at").to_owned(),
        _ => String::new(),
    };
    format!("{process} {step} {detail}")
}

impl Deviations {
    /// Those that the file lists for this recording.
    ///
    /// # Errors
    /// The file cannot be read or is not understood.
    pub fn load(recording: &Recording) -> anyhow::Result<Self> {
        let path = vectors().join("deviations.jsonl");
        let content = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&content, recording)
    }

    /// Those that this content of such a file lists for this recording.
    ///
    /// # Errors
    /// The content is not understood.
    pub fn parse(content: &str, recording: &Recording) -> anyhow::Result<Self> {
        let mut deviations = Self::default();
        for (index, line) in content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let entry: Value = serde_json::from_str(line).with_context(|| format!("deviations, line {}", index + 1))?;
            if text(&entry, "reason").is_empty() {
                bail!("deviations, line {}: no reason", index + 1);
            }
            if text(&entry, "recording") == recording.name {
                deviations
                    .add(&entry, recording)
                    .with_context(|| format!("deviations, line {}", index + 1))?;
            }
        }
        Ok(deviations)
    }

    fn add(&mut self, entry: &Value, recording: &Recording) -> anyhow::Result<()> {
        if let Some(range) = entry.get("skip") {
            self.skipped.push(parse_range(range)?);
        } else if let Some(range) = entry.get("omit") {
            self.omitted.push(parse_range(range)?);
        } else if let Some(range) = entry.get("none") {
            let (from, to) = parse_range(range)?;
            let outputs = recording.lines.iter().filter(|line| is_output(line.step()));
            let among = outputs.filter(|line| (from..=to).contains(&line.number));
            self.replaced.extend(among.map(|line| (line.number, Vec::new())));
        } else {
            let number = entry["line"].as_u64().context("neither skip, omit, none nor line")?;
            let number = usize::try_from(number)?;
            let line = number
                .checked_sub(1)
                .and_then(|index| recording.lines.get(index))
                .context("no such line")?;
            if !is_output(line.step()) {
                bail!("line {number} is not output");
            }
            let mut expected = match entry["replace"].as_array() {
                Some(replacement) => replacement.clone(),
                None => vec![line.value.clone()],
            };
            if let Some(line) = expected.first_mut() {
                for (pointer, value) in entry["set"].as_object().into_iter().flatten() {
                    *line.pointer_mut(pointer).context("set: no such value")? = value.clone();
                }
                for pointer in pointers(&entry["remove"]) {
                    remove(line, pointer);
                }
            }
            if let Some(first) = expected.first() {
                let ignored = pointers(&entry["ignore"]).map(str::to_owned).collect();
                self.ignored.push(Ignored {
                    window: line.window,
                    kind: kind(first),
                    pointers: ignored,
                });
            }
            self.replaced.insert(number, expected);
        }
        Ok(())
    }

    /// Whether the output of this window is not compared.
    pub fn skips(&self, window: usize) -> bool {
        self.omits(window) || self.skipped.iter().any(|(from, to)| (*from..=*to).contains(&window))
    }

    /// Whether this action is left out.
    pub fn omits(&self, window: usize) -> bool {
        self.omitted.iter().any(|(from, to)| (*from..=*to).contains(&window))
    }

    /// The recorded lines as they are expected of Sluice.
    pub fn expected(&self, lines: &[Line]) -> Vec<Line> {
        let mut expected = Vec::new();
        for line in lines {
            match self.replaced.get(&line.number) {
                Some(replacement) => {
                    expected.extend(replacement.iter().map(|value| Line {
                        value: value.clone(),
                        ..line.clone()
                    }));
                }
                None => expected.push(line.clone()),
            }
        }
        expected
    }

    /// The values that are not compared in a line.
    pub fn ignored<'a>(&'a self, line: &Line) -> impl Iterator<Item = &'a str> {
        let (window, kind) = (line.window, kind(&line.value));
        let matching = self
            .ignored
            .iter()
            .filter(move |ignored| ignored.window == window && ignored.kind == kind);
        matching.flat_map(|ignored| ignored.pointers.iter().map(String::as_str))
    }
}

fn pointers(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn parse_range(range: &Value) -> anyhow::Result<(usize, usize)> {
    let bound = |index: usize| range[index].as_u64().and_then(|line| usize::try_from(line).ok());
    bound(0).zip(bound(1)).context("a range is two line numbers")
}
