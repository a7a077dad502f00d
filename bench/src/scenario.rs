//! What is measured: variants of the load, the programs under it, and one run of a program under a variant.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::ceiling::{Relay, RelayKind};
use crate::cpu;
use crate::generator::{Count, Generator, Pace};
use crate::rtp::FRAME_RATE;
use crate::worker::{Protection, Worker};

/// Frames sent at full pace before the measurement: caches and memory are warm then.
const WARM_UP: u64 = 10;
/// The same if bandwidth is estimated: it is known then that everything fits.
const ESTIMATED_AFTER: u64 = 150;

/// One variant of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// How the producer sends.
    pub pace: Pace,
    /// How the consumers' packets are protected.
    pub protection: Protection,
    /// Whether consumers report arrivals, so that their bandwidth is estimated and packets are paced.
    pub reports: bool,
}

impl Variant {
    /// What reports call the consumers' side.
    pub fn side(&self) -> String {
        let reports = if self.reports { ", reports" } else { "" };
        format!("{}{reports}", self.protection.name())
    }
}

impl Display for Variant {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.pace.name(), self.side())
    }
}

/// The variants that one word on the command line stands for: `burst-gcm128`, or `burst` with every protection;
/// `burst-reports` with none, but reports of arrivals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection(pub Vec<Variant>);

impl FromStr for Selection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (pace, protection) = match text.split_once('-') {
            Some((pace, protection)) => (pace, Some(protection)),
            None => (text, None),
        };
        let pace = Pace::from_str(pace, true)?;
        let (protections, reports) = match protection {
            Some("reports") => (vec![Protection::Clear], true),
            Some(protection) => (vec![Protection::from_str(protection, true)?], false),
            None => (Protection::value_variants().to_vec(), false),
        };
        let variants = protections.into_iter().map(|protection| Variant {
            pace,
            protection,
            reports,
        });
        Ok(Self(variants.collect()))
    }
}

/// A program that forwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A yardstick.
    Relay(RelayKind),
    /// A worker binary, under the name that reports give it.
    Worker {
        /// The name.
        name: String,
        /// Where the binary is.
        path: PathBuf,
    },
}

impl Subject {
    /// The name in reports.
    pub fn name(&self) -> &str {
        match self {
            Self::Relay(kind) => kind.name(),
            Self::Worker { name, .. } => name,
        }
    }
}

/// What one run gave.
#[derive(Debug)]
pub struct Sample {
    /// CPU time of the forwarding process during the measurement.
    pub cpu: Duration,
    /// What the receivers counted.
    pub count: Count,
    /// By how much the process grew per consumer, in bytes. Only workers have consumers.
    pub memory_per_consumer: Option<f64>,
}

/// Runs one program in a fresh process under one variant.
pub fn run(subject: &Subject, variant: Variant, consumers: usize, seconds: u32) -> Result<Sample> {
    let stamped = variant.protection == Protection::Clear || matches!(subject, Subject::Relay(_));
    let mut generator = Generator::start(consumers, stamped)?;
    let frames = u64::from(seconds * FRAME_RATE);
    let sample = match subject {
        Subject::Relay(kind) => {
            let relay = Relay::spawn(*kind, &generator.ports)?;
            let (cpu, count) = load(&mut generator, relay.pid(), relay.port, variant, frames)?;
            Sample {
                cpu,
                count,
                memory_per_consumer: None,
            }
        }
        Subject::Worker { path, .. } => {
            let mut worker = Worker::spawn(path)?;
            let before = cpu::resident_memory(worker.pid())?;
            for (index, &port) in generator.ports.iter().enumerate() {
                let transport = worker.create_consumer(index, port, variant)?;
                if variant.reports {
                    generator.report_to(index, transport);
                }
            }
            let (cpu, count) = load(&mut generator, worker.pid(), worker.port, variant, frames)?;
            let after = cpu::resident_memory(worker.pid())?;
            Sample {
                cpu,
                count,
                memory_per_consumer: Some((after as f64 - before as f64) / consumers as f64),
            }
        }
    };
    generator.finish()?;
    if sample.count.received == 0 {
        bail!("nothing was forwarded");
    }
    Ok(sample)
}

/// Puts a process under load and takes its CPU time over the measured part.
fn load(generator: &mut Generator, pid: u32, port: u16, variant: Variant, frames: u64) -> Result<(Duration, Count)> {
    let warm_up = if variant.reports { ESTIMATED_AFTER } else { WARM_UP };
    generator.warm_up(port, variant.pace, warm_up)?;
    let before = cpu::cpu_time(pid)?;
    let count = generator.measure(port, variant.pace, frames)?;
    let after = cpu::cpu_time(pid)?;
    Ok((after.saturating_sub(before), count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_are_one_variant_or_all_of_a_pace() {
        let one: Selection = "spaced-cm32".parse().expect("known");
        let expected = Variant {
            pace: Pace::Spaced,
            protection: Protection::Cm32,
            reports: false,
        };
        assert_eq!(one.0, [expected]);
        assert_eq!("burst".parse::<Selection>().expect("known").0.len(), 5);
        let Selection(reports) = "burst-reports".parse().expect("known");
        assert_eq!(reports[0].side(), "clear, reports");
        assert!("burst-des".parse::<Selection>().is_err());
        assert!("".parse::<Selection>().is_err());
    }

    #[test]
    fn a_worker_that_is_none_is_an_error() {
        let subject = Subject::Worker {
            name: "false".to_owned(),
            path: PathBuf::from("/bin/false"),
        };
        let Selection(variants) = "burst-clear".parse().expect("known");
        assert!(run(&subject, variants[0], 1, 1).is_err());
    }
}
