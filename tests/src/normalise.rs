//! Taking out of a conversation what differs from run to run, following `vectors/masks.json`.

use std::collections::{BTreeMap, HashSet};
use std::fs;

use anyhow::Context;
use serde_json::{Map, Value, json};

use crate::deviations::Deviations;
use crate::recording::{Line, is_output, text, vectors};
use crate::sequence::FirstNumbers;

/// A conversation that can be compared.
#[derive(Debug, Clone, Default)]
pub struct Normalised {
    /// What has an order. Of a recording that rates and timers drive: answers, then each kind of other output once.
    pub lines: Vec<Line>,
}

/// The rules.
#[derive(Debug, Clone)]
pub struct Masks(Value);

impl Masks {
    /// Reads `vectors/masks.json`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn load() -> anyhow::Result<Self> {
        let path = vectors().join("masks.json");
        let content = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(Self(serde_json::from_str(&content)?))
    }

    /// Whether only what came counts, not when: its client did not wait for one answer before it asked on.
    pub fn is_sorted(&self, name: &str) -> bool {
        self.own(name)["compare"] == "sorted"
    }

    fn own(&self, name: &str) -> &Value {
        &self.0["scenarios"][name]
    }

    /// Whether the order and number of these events carry no meaning.
    pub fn is_asynchronous(&self, name: &str, event: &str) -> bool {
        strings(&self.own(name)["async_events"]).any(|asynchronous| asynchronous == event)
    }
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Masks the lines of a conversation.
pub fn normalise(name: &str, lines: &[Line], masks: &Masks, deviations: &Deviations) -> Normalised {
    let mut normaliser = Normaliser {
        own: masks.own(name),
        masks: &masks.0,
        numbers: FirstNumbers::default(),
        result: Normalised::default(),
        kinds: BTreeMap::new(),
        run: Vec::new(),
        run_step: String::new(),
        by_target: false,
    };
    let failed: HashSet<usize> = lines
        .iter()
        .filter(|line| ended_badly(line))
        .map(|line| line.window)
        .collect();
    let mut complained = HashSet::new();
    for line in lines {
        match line.step() {
            // Which logs there are is not part of the protocol.
            "log" => continue,
            // Neither is what is said about a failure, only that something is.
            "stderr" if !failed.contains(&line.window) || !complained.insert(line.window) => continue,
            step if is_output(step) && deviations.skips(line.window) => continue,
            _ => {}
        }
        let mut line = line.clone();
        if line.step() == "stderr" {
            line.value["text"] = json!("");
        }
        for pointer in deviations.ignored(&line).map(str::to_owned).collect::<Vec<_>>() {
            remove(&mut line.value, &pointer);
        }
        normaliser.line(line);
    }
    normaliser.flush();
    let mut result = normaliser.result;
    result.lines.extend(normaliser.kinds.into_values());
    if masks.is_sorted(name) {
        result.lines.sort_by_cached_key(|line| line.value.to_string());
        for line in &mut result.lines {
            line.window = 0;
        }
    }
    result
}

fn ended_badly(line: &Line) -> bool {
    line.step() == "exit" && line.value["code"] != json!(0)
}

struct Normaliser<'a> {
    own: &'a Value,
    masks: &'a Value,
    numbers: FirstNumbers,
    result: Normalised,
    /// Kinds of output whose order and number carry no meaning, each with where it came first.
    kinds: BTreeMap<String, Line>,
    /// Lines that may have to be sorted by target.
    run: Vec<Line>,
    run_step: String,
    by_target: bool,
}

const RUNS: [&str; 3] = ["notification", "payload-recv", "udp-recv"];
const PROTOCOLS: [&str; 6] = ["stun", "sctp", "dtls", "srtp", "rtcp", "rtp"];
const PACKETS: [&str; 5] = ["udp-recv", "udp-send", "tcp-recv", "tcp-send", "payload-recv"];

impl Normaliser<'_> {
    fn flush(&mut self) {
        if self.by_target {
            self.run.sort_by_cached_key(|line| target(&line.value));
        }
        self.result.lines.append(&mut self.run);
    }

    fn line(&mut self, line: Line) {
        let step = line.step().to_owned();
        let asynchronous = line.value["async"] == json!(true);
        if !asynchronous && (!RUNS.contains(&step.as_str()) || step != self.run_step) {
            self.flush();
            self.run_step.clone_from(&step);
        }
        let mut value = line.value.clone();
        if !is_output(&step) {
            self.by_target = text(&value, "order") == "by-target";
            self.numbers.request(&value);
        }
        let pointers = self.pointers(&value, &step);
        let key = key(&value, &step);
        let unordered: Vec<String> = match &key {
            Some(key) => strings(&self.masks["unordered_arrays"][key])
                .map(str::to_owned)
                .collect(),
            None => Vec::new(),
        };
        if let Value::Object(object) = &mut value {
            object.retain(|name, _| !strings(&self.masks["ignored_keys"]).any(|ignored| ignored == name));
        }
        if let Some(kind) = self.kind_only(&value, &step) {
            self.kinds
                .entry(kind.to_string())
                .or_insert(Line { value: kind, ..line });
            return;
        }
        let of_event = strings(&self.own["async_events"]).any(|event| event == text(&value, "event"));
        if asynchronous || step == "notification" && of_event {
            return;
        }
        self.mask(&mut value, &step, key.as_deref(), &pointers);
        for pointer in unordered {
            at(&mut value, &pointer, &mut |found| {
                if let Value::Array(elements) = found {
                    elements.sort_by_cached_key(|element| canonical(element).to_string());
                }
            });
        }
        let line = Line {
            window: line.window,
            number: line.number,
            value: canonical(&value),
        };
        if RUNS.contains(&step.as_str()) {
            self.run.push(line);
        } else {
            self.result.lines.push(line);
        }
    }

    /// The pointers whose values are masked in a line.
    fn pointers(&self, value: &Value, step: &str) -> Vec<String> {
        let mut pointers: Vec<String> = Vec::new();
        let key = key(value, step);
        for set in [self.masks, self.own] {
            if let Some(key) = &key {
                pointers.extend(strings(&set["masks"][key]).map(str::to_owned));
            }
            let of_step = strings(&set["steps"][step]).filter(|pointer| pointer.starts_with('/'));
            pointers.extend(of_step.map(str::to_owned));
            for protocol in PROTOCOLS.into_iter().filter(|protocol| value.get(protocol).is_some()) {
                if PACKETS.contains(&step) {
                    pointers.extend(strings(&set["steps"][protocol]).map(str::to_owned));
                }
            }
        }
        if let (true, Some(references)) = (step == "request", value["refs"].as_object()) {
            pointers.extend(references.keys().cloned());
        }
        if value["ephemeral"] == json!(true) || (is_output(step) && value.get("plain_hex").is_some()) {
            pointers.push("/hex".to_owned());
        }
        pointers
    }

    /// The kind of output of which nothing else is compared.
    fn kind_only(&self, value: &Value, step: &str) -> Option<Value> {
        if self.own["compare"] != "kinds" || !is_output(step) || ["response", "exit"].contains(&step) {
            return None;
        }
        let kind = match step {
            "notification" if text(value, "event") == "running" => json!({ "event": "running" }),
            "notification" => {
                json!({ "targetId": value["targetId"], "event": value["event"], "type": value["data"]["type"] })
            }
            // Whether a report falls into the time of a recording is a matter of chance.
            _ if is_report(value) => return None,
            _ => json!({ "step": step, "at": value["at"], "from": value["from"], "kind": packet_kinds(value) }),
        };
        Some(kind)
    }

    fn mask(&mut self, value: &mut Value, step: &str, key: Option<&str>, pointers: &[String]) {
        let own_kinds = self.own["compare"] == "kinds";
        if own_kinds && step == "response" && key.is_some_and(|key| key.ends_with("getStats")) {
            at(value, "/data/*/*", &mut |found| {
                if found.is_number() {
                    hide(found);
                }
            });
        }
        if value.get("rtp").is_some() && ["udp-recv", "payload-recv"].contains(&step) {
            self.numbers.rewrite_packet(value);
            self.mask_rtp(value);
        }
        if let Some(Value::String(reason)) = value.get_mut("reason") {
            for pattern in strings(&self.masks["reason_masks"]) {
                *reason = mask_numbers(reason, pattern);
            }
            // Texts are for people; clients look at the class, and for these words in failed closes.
            let not_found = reason.contains("not found");
            *reason = if not_found {
                "<not found>".to_owned()
            } else {
                "<reason>".to_owned()
            };
        }
        if let Some(key) = key {
            for pointer in strings(&self.masks["optional"][key]) {
                remove(value, pointer);
            }
        }
        for pointer in pointers {
            let is_port = pointer.ends_with("Port") || pointer.ends_with("/port");
            let fixed = &self.masks["fixed_ports"];
            at(value, pointer, &mut |found| {
                let keeps = is_port && fixed.as_array().is_some_and(|ports| ports.contains(found));
                if !keeps {
                    hide(found);
                }
            });
        }
        if step == "notification" && key == Some("trace") && value.pointer("/data/direction") == Some(&json!("out")) {
            if value.pointer("/data/info/isRtx") == Some(&json!(true)) {
                at(value, "/data/info/sequenceNumber", &mut hide);
            } else {
                self.numbers.rewrite_trace(value);
            }
        }
    }

    /// Hides the time of sending and the numbers of retransmission streams.
    fn mask_rtp(&self, value: &mut Value) {
        let ids = strings(&self.masks["rtp"]["extensions"]).chain(strings(&self.own["rtp"]["extensions"]));
        for id in ids {
            let Some(data) = value
                .pointer(&format!("/rtp/ext/{id}"))
                .and_then(Value::as_str)
                .map(str::to_owned)
            else {
                continue;
            };
            let number: usize = id.parse().unwrap_or(0);
            let element = format!("{:02x}{data}", (number << 4) | (data.len() / 2).saturating_sub(1));
            let hidden = format!("{}{}", &element[..2], "x".repeat(data.len()));
            in_bytes(value, |bytes| bytes.replacen(&element, &hidden, 1));
            at(value, &format!("/rtp/ext/{id}"), &mut hide);
        }
        if value.pointer("/rtp/osn").is_some() && self.masks["rtp"]["rtx_sequence_number"] == json!(true) {
            in_bytes(value, |bytes| format!("{}xxxx{}", &bytes[..4], &bytes[8..]));
            at(value, "/rtp/seq", &mut hide);
        }
    }
}

/// The name under which the rules know a line.
fn key(value: &Value, step: &str) -> Option<String> {
    let key = match step {
        "response" => text(value, "of"),
        "notification" => text(value, "event"),
        "payload-recv" => match text(&value["header"], "event") {
            "" => text(value, "of"),
            event => event,
        },
        _ => "",
    };
    (!key.is_empty()).then(|| key.to_owned())
}

fn target(value: &Value) -> String {
    if let Some(target) = value.get("targetId") {
        return target.to_string();
    }
    if let Some(header) = value.get("header") {
        return format!("{} {}", text(header, "targetId"), text(header, "event"));
    }
    let ssrc = value.pointer("/rtp/ssrc").or_else(|| value.pointer("/rtcp/0/media"));
    format!("{} {}", text(value, "at"), ssrc.unwrap_or(&Value::Null))
}

fn packet_kinds(value: &Value) -> Value {
    if let Some(ssrc) = value.pointer("/rtp/ssrc") {
        return json!(format!("rtp {ssrc}"));
    }
    let packets = value["rtcp"].as_array().into_iter().flatten();
    packets.map(|packet| text(packet, "type")).collect()
}

fn is_report(value: &Value) -> bool {
    let mut packets = value["rtcp"].as_array().into_iter().flatten();
    packets.any(|packet| ["SR", "RR"].contains(&text(packet, "type")))
}

fn in_bytes(value: &mut Value, change: impl Fn(&str) -> String) {
    for key in ["hex", "payload_hex", "plain_hex"] {
        if let Some(Value::String(bytes)) = value.get_mut(key)
            && bytes.len() >= 24
        {
            *bytes = change(bytes);
        }
    }
}

/// Replaces a value by its type, a string by its length as well.
fn hide(value: &mut Value) {
    let hidden = match value {
        Value::Null => "<null>".to_owned(),
        Value::Bool(_) => "<boolean>".to_owned(),
        Value::Number(_) => "<number>".to_owned(),
        Value::String(string) => format!("<string:{}>", string.chars().count()),
        Value::Array(_) => "<array>".to_owned(),
        Value::Object(_) => "<object>".to_owned(),
    };
    *value = Value::String(hidden);
}

/// Applies a change to every value that a pointer with wildcards leads to.
fn at(value: &mut Value, pointer: &str, change: &mut dyn FnMut(&mut Value)) {
    let Some(rest) = pointer.strip_prefix('/') else {
        change(value);
        return;
    };
    let (segment, rest) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    match value {
        Value::Object(object) => {
            for (_, found) in object.iter_mut().filter(|(key, _)| segment == "*" || segment == *key) {
                at(found, rest, change);
            }
        }
        Value::Array(elements) => {
            for (index, found) in elements.iter_mut().enumerate() {
                if segment == "*" || segment.parse() == Ok(index) {
                    at(found, rest, change);
                }
            }
        }
        _ => {}
    }
}

/// Removes the values that a pointer leads to.
pub(crate) fn remove(value: &mut Value, pointer: &str) {
    let (parent, last) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    at(value, parent, &mut |found| {
        if let Value::Object(object) = found {
            object.remove(last);
        }
    });
}

/// Masks what matches a pattern of literals and `\d+`.
fn mask_numbers(reason: &str, pattern: &str) -> String {
    let literals: Vec<&str> = pattern.split(r"\d+").collect();
    let mut masked = String::new();
    let mut rest = reason;
    while let Some(character) = rest.chars().next() {
        match match_length(rest, &literals) {
            Some(length) => {
                masked.push_str("<masked>");
                rest = &rest[length..];
            }
            None => {
                masked.push(character);
                rest = &rest[character.len_utf8()..];
            }
        }
    }
    masked
}

fn match_length(reason: &str, literals: &[&str]) -> Option<usize> {
    let mut rest = reason;
    for (index, literal) in literals.iter().enumerate() {
        if index > 0 {
            let digits = rest.trim_start_matches(|character: char| character.is_ascii_digit());
            if digits.len() == rest.len() {
                return None;
            }
            rest = digits;
        }
        rest = rest.strip_prefix(literal)?;
    }
    Some(reason.len() - rest.len())
}

/// The same value with whole numbers written as integers, so that `1.0` equals `1`.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9.0e15 => json!(float as i64),
            _ => value.clone(),
        },
        Value::Array(elements) => elements.iter().map(canonical).collect(),
        Value::Object(object) => Value::Object(
            object
                .iter()
                .map(|(key, value)| (key.clone(), canonical(value)))
                .collect::<Map<_, _>>(),
        ),
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_reasons_are_masked() {
        assert_eq!(
            mask_numbers("port:12 in use, attempt:1/2", r"attempt:\d+/\d+"),
            "port:12 in use, <masked>"
        );
        assert_eq!(mask_numbers("port:12, port:x", r"port:\d+"), "<masked>, port:x");
    }

    #[test]
    fn pointers_reach_keys_indices_and_wildcards() {
        let mut value = json!({ "data": [{ "port": 1, "name": "ab" }, { "port": 2, "name": null }] });
        at(&mut value, "/data/*/port", &mut hide);
        at(&mut value, "/data/1/name", &mut hide);
        remove(&mut value, "/data/0/name");
        assert_eq!(
            value,
            json!({ "data": [{ "port": "<number>" }, { "port": "<number>", "name": "<null>" }] })
        );
        assert_eq!(canonical(&json!([1.0, 0.5])), json!([1, 0.5]));
    }
}
