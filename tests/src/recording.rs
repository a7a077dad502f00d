//! Recorded conversations: files of one JSON object per line, read from `vectors/`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;

/// Steps that are output of the worker; all others are actions or remarks.
const OUTPUTS: [&str; 11] = [
    "response",
    "notification",
    "log",
    "payload-recv",
    "udp-recv",
    "tcp-recv",
    "tcp-closed",
    "stdout",
    "stderr",
    "exit",
    "no-response",
];

/// Whether a step is output of the worker.
pub fn is_output(step: &str) -> bool {
    OUTPUTS.contains(&step)
}

/// The directory of the recordings.
pub fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// One line of a recording, or of what a replay produced.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Number of the recorded line whose window this belongs to: its own for an action, that of the last action for
    /// output. Lines are counted from 1.
    pub window: usize,
    /// Number of the line in its file; 0 for lines that were replayed.
    pub number: usize,
    /// The object.
    pub value: Value,
}

impl Line {
    /// The kind of the line.
    pub fn step(&self) -> &str {
        text(&self.value, "step")
    }
}

/// A string of an object, empty if it is not there.
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A recorded conversation.
#[derive(Debug, Clone)]
pub struct Recording {
    /// Its name, which is that of the file without the extension.
    pub name: String,
    /// All lines.
    pub lines: Vec<Line>,
}

impl Recording {
    /// Reads `vectors/<name>.jsonl`.
    ///
    /// # Errors
    /// The file is missing or is not a recording.
    pub fn load(name: &str) -> anyhow::Result<Self> {
        let path = vectors().join(format!("{name}.jsonl"));
        let content = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&content).with_context(|| format!("parsing {}", path.display()))
    }

    /// Parses the content of a file.
    ///
    /// # Errors
    /// The content is not a recording.
    pub fn parse(content: &str) -> anyhow::Result<Self> {
        let mut lines = Vec::new();
        let mut window = 0;
        for (index, line) in content.lines().enumerate() {
            let number = index + 1;
            let value: Value = serde_json::from_str(line).with_context(|| format!("line {number}"))?;
            let step = text(&value, "step").to_owned();
            if step.is_empty() {
                bail!("line {number} has no step");
            }
            if !is_output(&step) {
                window = number;
            }
            lines.push(Line { window, number, value });
        }
        let Some(first) = lines.first().filter(|line| line.step() == "scenario") else {
            bail!("the first line is not that of a scenario");
        };
        Ok(Self {
            name: text(&first.value, "name").to_owned(),
            lines,
        })
    }

    /// Whether lines say which process they belong to.
    pub fn names_processes(&self) -> bool {
        self.lines.iter().any(|line| line.value.get("proc").is_some())
    }
}

/// Names of all recordings, in order.
///
/// # Errors
/// The directory cannot be read.
pub fn names() -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(vectors())? {
        let path = entry?.path();
        let is_recording = path.extension().is_some_and(|extension| extension == "jsonl");
        if let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| is_recording)
            && stem.starts_with(|first: char| first.is_ascii_digit())
        {
            names.push(stem.to_owned());
        }
    }
    names.sort();
    Ok(names)
}
