//! Comparing two normalised conversations and saying how they differ.

use std::fmt::Write;

use serde_json::Value;

use crate::normalise::Normalised;
use crate::recording::Line;

/// One place where two conversations differ.
#[derive(Debug, Clone)]
pub struct Difference {
    /// What was recorded.
    pub expected: Option<Line>,
    /// What came.
    pub actual: Option<Line>,
}

/// How far to look for the next equal line.
const LOOK_AHEAD: usize = 12;

/// All differences, in order.
pub fn compare(expected: &Normalised, actual: &Normalised) -> Vec<Difference> {
    let (expected, actual) = (&expected.lines, &actual.lines);
    let same = |i: usize, j: usize| match (expected.get(i), actual.get(j)) {
        (Some(expected), Some(actual)) => expected.value == actual.value,
        _ => false,
    };
    let mut differences = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < expected.len() || j < actual.len() {
        if same(i, j) {
            (i, j) = (i + 1, j + 1);
            continue;
        }
        let missing = (1..LOOK_AHEAD).find(|k| same(i + k, j));
        let surplus = (1..LOOK_AHEAD).find(|k| same(i, j + k));
        let (skip_expected, skip_actual) = match (missing, surplus) {
            (Some(missing), Some(surplus)) if surplus < missing => (0, surplus),
            (Some(missing), _) => (missing, 0),
            (None, Some(surplus)) => (0, surplus),
            (None, None) => {
                differences.push(Difference {
                    expected: expected.get(i).cloned(),
                    actual: actual.get(j).cloned(),
                });
                (i, j) = ((i + 1).min(expected.len()), (j + 1).min(actual.len()));
                continue;
            }
        };
        let missing = expected[i..i + skip_expected].iter();
        differences.extend(missing.map(|line| Difference {
            expected: Some(line.clone()),
            actual: None,
        }));
        let surplus = actual[j..j + skip_actual].iter();
        differences.extend(surplus.map(|line| Difference {
            expected: None,
            actual: Some(line.clone()),
        }));
        (i, j) = (i + skip_expected, j + skip_actual);
    }
    differences
}

impl Difference {
    /// Whether only the text of a reason differs, which clients do not look at.
    pub fn is_text_of_reason(&self) -> bool {
        let (Some(expected), Some(actual)) = (&self.expected, &self.actual) else {
            return false;
        };
        let mut paths = Vec::new();
        differing_paths(Some(&expected.value), Some(&actual.value), "", &mut paths);
        paths
            .iter()
            .all(|(path, ..)| ["/reason", "/header/reason"].contains(&path.as_str()))
    }

    /// A description of a few lines, whose texts are cut off after so many characters.
    pub fn describe(&self, width: usize) -> String {
        let mut text = String::new();
        match (&self.expected, &self.actual) {
            (Some(expected), Some(actual)) => {
                let kind = line_text(&expected.value, 100);
                let _ = writeln!(text, "  line {} differs: {kind}", expected.number);
                let mut paths = Vec::new();
                differing_paths(Some(&expected.value), Some(&actual.value), "", &mut paths);
                for (path, expected, actual) in paths.iter().take(12) {
                    let _ = writeln!(
                        text,
                        "      {path}: expected {}, got {}",
                        cut(expected, width),
                        cut(actual, width)
                    );
                }
            }
            (Some(expected), None) => {
                let _ = writeln!(
                    text,
                    "  line {} is missing: {}",
                    expected.number,
                    line_text(&expected.value, width)
                );
            }
            (None, Some(actual)) => {
                let (window, line) = (actual.window, line_text(&actual.value, width));
                let _ = writeln!(text, "  not expected after line {window}: {line}");
            }
            (None, None) => {}
        }
        text
    }
}

fn line_text(value: &Value, width: usize) -> String {
    cut(&value.to_string(), width)
}

fn cut(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_owned(),
    }
}

fn differing_paths(
    expected: Option<&Value>,
    actual: Option<&Value>,
    path: &str,
    paths: &mut Vec<(String, String, String)>,
) {
    match (expected, actual) {
        (Some(expected), Some(actual)) if expected == actual => {}
        (Some(Value::Object(expected)), Some(Value::Object(actual))) => {
            let mut keys: Vec<&String> = expected.keys().chain(actual.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                differing_paths(expected.get(key), actual.get(key), &format!("{path}/{key}"), paths);
            }
        }
        (Some(Value::Array(expected)), Some(Value::Array(actual))) => {
            for index in 0..expected.len().max(actual.len()) {
                differing_paths(
                    expected.get(index),
                    actual.get(index),
                    &format!("{path}/{index}"),
                    paths,
                );
            }
        }
        _ => {
            let show = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
            paths.push((path.to_owned(), show(expected), show(actual)));
        }
    }
}
