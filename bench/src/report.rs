//! From samples to figures, as a table and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::ceiling::RelayKind;
use crate::generator::Pace;
use crate::scenario::{Sample, Subject, Variant};
use crate::worker::Protection;

/// All runs of one program under one variant.
#[derive(Debug)]
pub struct Entry {
    /// The program.
    pub subject: Subject,
    /// The load. Yardsticks have no protection, they stand beside all variants of the same pace.
    pub variant: Variant,
    /// One sample or error per round.
    pub rounds: Vec<Result<Sample, String>>,
}

/// The figures of an entry.
#[derive(Debug)]
struct Figures {
    /// CPU microseconds per forwarded packet over all rounds.
    cpu: f64,
    /// The same of the best and of the worst round.
    cpu_range: (f64, f64),
    /// The share of packets that did not arrive.
    loss: f64,
    worst_missing: u64,
    duplicates: u64,
    /// Microseconds from sending to receiving: median and 99th percentile.
    latency: (f64, f64),
    memory_per_consumer: Option<f64>,
}

impl Entry {
    /// The samples of the rounds that succeeded.
    fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.rounds.iter().flatten()
    }

    /// What went wrong, if anything did.
    pub fn error(&self) -> Option<&str> {
        self.rounds
            .iter()
            .find_map(|round| round.as_ref().err())
            .map(String::as_str)
    }

    /// The figures, if any round succeeded.
    fn figures(&self, consumers: usize) -> Option<Figures> {
        let mut latencies: Vec<u32> = Vec::new();
        let (mut nanos, mut sent, mut received) = (0.0, 0, 0);
        let mut cpu_range = (f64::INFINITY, 0.0_f64);
        let (mut worst_missing, mut duplicates) = (0, 0);
        let mut memory = Vec::new();
        for sample in self.samples() {
            let round = sample.cpu.as_nanos() as f64;
            let per_packet = round / sample.count.received as f64 / 1_000.0;
            cpu_range = (cpu_range.0.min(per_packet), cpu_range.1.max(per_packet));
            nanos += round;
            sent += sample.count.sent * consumers as u64;
            received += sample.count.received;
            worst_missing = worst_missing.max(sample.count.worst_missing);
            duplicates += sample.count.duplicates;
            latencies.extend(&sample.count.latencies);
            memory.extend(sample.memory_per_consumer);
        }
        if received == 0 {
            return None;
        }
        latencies.sort_unstable();
        Some(Figures {
            cpu: nanos / received as f64 / 1_000.0,
            cpu_range,
            loss: 1.0 - received as f64 / sent as f64,
            worst_missing,
            duplicates,
            latency: (percentile(&latencies, 0.5), percentile(&latencies, 0.99)),
            memory_per_consumer: (!memory.is_empty()).then(|| memory.iter().sum::<f64>() / memory.len() as f64),
        })
    }
}

/// A percentile of sorted nanoseconds, in microseconds.
fn percentile(sorted: &[u32], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .map_or(f64::NAN, |&nanos| f64::from(nanos) / 1_000.0)
}

/// Everything that was measured.
#[derive(Debug)]
pub struct Report {
    /// The machine.
    pub machine: String,
    /// Consumers per run.
    pub consumers: usize,
    /// Measured seconds per run.
    pub seconds: u32,
    /// Rounds.
    pub rounds: u32,
    /// The entries, in the order in which they are shown.
    pub entries: Vec<Entry>,
}

impl Report {
    /// CPU per packet of a yardstick at the same pace.
    fn yardstick(&self, kind: RelayKind, pace: Pace) -> Option<f64> {
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.subject == Subject::Relay(kind) && entry.variant.pace == pace)?;
        Some(entry.figures(self.consumers)?.cpu)
    }

    /// An entry's CPU relative to the ceiling and to sendto.
    fn ratios(&self, entry: &Entry, figures: &Figures) -> [Option<f64>; 2] {
        [RelayKind::Ceiling, RelayKind::Sendto]
            .map(|kind| Some(figures.cpu / self.yardstick(kind, entry.variant.pace)?))
    }

    /// The table for people.
    pub fn table(&self) -> String {
        let mut rows = vec![
            [
                "pace",
                "consumers' side",
                "program",
                "CPU us/packet",
                "(range)",
                "x ceiling",
                "x sendto",
                "loss %",
                "p50 us",
                "p99 us",
                "KiB/consumer",
            ]
            .map(str::to_owned),
        ];
        let mut errors = String::new();
        for entry in &self.entries {
            let side = match entry.subject {
                Subject::Relay(_) => "copied".to_owned(),
                Subject::Worker { .. } => entry.variant.side(),
            };
            if let Some(error) = entry.error() {
                let name = entry.subject.name();
                let _ = writeln!(errors, "{} {side}, {name}: FAILED: {error}", entry.variant.pace.name());
            }
            let Some(figures) = entry.figures(self.consumers) else {
                continue;
            };
            let [ceiling, sendto] = self
                .ratios(entry, &figures)
                .map(|ratio| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")));
            rows.push([
                entry.variant.pace.name().to_owned(),
                side,
                entry.subject.name().to_owned(),
                format!("{:.3}", figures.cpu),
                format!("{:.3}-{:.3}", figures.cpu_range.0, figures.cpu_range.1),
                ceiling,
                sendto,
                format!("{:.3}", figures.loss * 100.0),
                format!("{:.0}", figures.latency.0),
                format!("{:.0}", figures.latency.1),
                figures
                    .memory_per_consumer
                    .map_or_else(|| "-".to_owned(), |bytes| format!("{:.1}", bytes / 1_024.0)),
            ]);
        }
        let mut widths = [0; 11];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.len().max(*width);
            }
        }
        let mut text = format!(
            "{}; {} consumers, {} rounds of {} s\n\n",
            self.machine, self.consumers, self.rounds, self.seconds
        );
        for row in &rows {
            let mut line = String::new();
            for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
                // Words to the left, numbers to the right.
                let _ = match index {
                    0..3 => write!(line, "{cell:<width$}  "),
                    _ => write!(line, "{cell:>width$}  "),
                };
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
        if !errors.is_empty() {
            let _ = write!(text, "\n{errors}");
        }
        text
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let entries: Vec<Value> = self.entries.iter().map(|entry| self.entry_json(entry)).collect();
        json!({
            "machine": self.machine,
            "consumers": self.consumers,
            "seconds": self.seconds,
            "rounds": self.rounds,
            "results": entries,
        })
    }

    /// One entry for programs.
    fn entry_json(&self, entry: &Entry) -> Value {
        let protection = match entry.subject {
            Subject::Relay(_) => Protection::Clear,
            Subject::Worker { .. } => entry.variant.protection,
        };
        let mut value = json!({
            "program": entry.subject.name(),
            "pace": entry.variant.pace.name(),
            "protection": protection.name(),
            "reports": entry.variant.reports,
            "error": entry.error(),
        });
        if let Subject::Worker { path, .. } = &entry.subject {
            value["path"] = path.display().to_string().into();
        }
        let Some(figures) = entry.figures(self.consumers) else {
            return value;
        };
        let [ceiling, sendto] = self.ratios(entry, &figures);
        let measured = json!({
            "cpuMicrosPerPacket": figures.cpu,
            "cpuMicrosPerPacketBest": figures.cpu_range.0,
            "cpuMicrosPerPacketWorst": figures.cpu_range.1,
            "ratioToCeiling": ceiling,
            "ratioToSendto": sendto,
            "loss": figures.loss,
            "worstConsumerMissing": figures.worst_missing,
            "duplicates": figures.duplicates,
            "latencyMicrosP50": figures.latency.0,
            "latencyMicrosP99": figures.latency.1,
            "memoryBytesPerConsumer": figures.memory_per_consumer,
        });
        if let (Value::Object(value), Value::Object(measured)) = (&mut value, measured) {
            value.extend(measured);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::generator::Count;

    fn entry(subject: Subject, protection: Protection, micros: u64) -> Entry {
        let sample = Sample {
            cpu: Duration::from_micros(micros),
            count: Count {
                sent: 100,
                received: 180,
                duplicates: 0,
                worst_missing: 20,
                latencies: (1..=100).map(|micros| micros * 1_000).collect(),
            },
            memory_per_consumer: matches!(subject, Subject::Worker { .. }).then_some(2_048.0),
        };
        let pace = Pace::Burst;
        Entry {
            subject,
            variant: Variant {
                pace,
                protection,
                reports: false,
            },
            rounds: vec![Ok(sample)],
        }
    }

    #[test]
    fn figures_stand_beside_the_yardsticks_of_their_pace() {
        let worker = Subject::Worker {
            name: "worker".to_owned(),
            path: "worker".into(),
        };
        let mut report = Report {
            machine: "machine".to_owned(),
            consumers: 2,
            seconds: 1,
            rounds: 1,
            entries: vec![
                entry(Subject::Relay(RelayKind::Ceiling), Protection::Clear, 180),
                entry(worker.clone(), Protection::Gcm256, 540),
            ],
        };
        let json = report.json();
        let result = &json["results"][1];
        assert_eq!(result["cpuMicrosPerPacket"], 3.0);
        assert_eq!(result["ratioToCeiling"], 3.0);
        assert_eq!(result["ratioToSendto"], Value::Null);
        assert!((result["loss"].as_f64().expect("number") - 0.1).abs() < 1e-9);
        assert_eq!(result["latencyMicrosP50"], 50.0);
        assert_eq!(result["latencyMicrosP99"], 99.0);
        assert_eq!(result["memoryBytesPerConsumer"], 2_048.0);
        assert!(report.table().contains("AEAD_AES_256_GCM"));

        report.entries[1].rounds = vec![Err("no answer".to_owned())];
        assert!(report.table().contains("FAILED: no answer"));
        assert_eq!(report.json()["results"][1]["error"], "no answer");
    }
}
