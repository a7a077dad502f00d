//! Measures worker binaries side by side: what a forwarded packet costs, and how far that is from what is possible.
//!
//! One producer sends video into a plain transport, many plain consumers receive it, in the clear and with every SRTP
//! suite. Beside the workers run two yardsticks of the same load: the *ceiling*, a loop that copies bursts with as few
//! system calls as the kernel allows, and *sendto*, which takes one call per packet. All run as processes of their own;
//! this process only sends and receives. Rounds alternate between the programs, so that a machine that gets slower or
//! faster meanwhile does so for all of them.
//!
//! Every variant is compared with the yardsticks of the same pace. They copy and do not protect: the ratio of an SRTP
//! variant contains the cost of its cipher.

mod ceiling;
mod cpu;
mod data;
mod generator;
mod report;
mod rtp;
mod scenario;
mod sessions;
mod udp;
mod worker;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use ceiling::{RelayArguments, RelayKind};
use data::DataArguments;
use report::{Entry, Report};
use scenario::{Selection, Subject, Variant};
use sessions::SessionsArguments;
use worker::Protection;

/// Load generator and side-by-side benchmark of worker binaries.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// A worker binary; may be repeated. Without one only the yardsticks run
    #[arg(long, value_name = "PATH")]
    worker: Vec<PathBuf>,
    /// Measured seconds per run
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=120))]
    seconds: u32,
    /// How often everything is measured
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Consumers, each on a transport of its own
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    consumers: u16,
    /// Variants PACE or PACE-PROTECTION, separated by commas; paces are burst and spaced, protections clear, gcm256,
    /// gcm128, cm80 and cm32; or reports, in the clear to consumers that report arrivals
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "burst,burst-reports,spaced,spaced-reports"
    )]
    variants: Vec<Selection>,
    /// Write the figures to a file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Other measurements, and what this program starts itself as.
#[derive(Debug, Subcommand)]
enum Command {
    /// WebRTC sessions: CPU of a handshake, memory of an idle transport
    Sessions(SessionsArguments),
    /// Data messages over SCTP: CPU and rate, to one receiver and to a hundred
    Data(DataArguments),
    /// A yardstick
    #[command(hide = true)]
    Relay(RelayArguments),
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    match &arguments.command {
        Some(Command::Relay(relay)) => {
            ceiling::relay(relay)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Sessions(arguments)) => {
            cpu::leave_last()?;
            sessions::measure(arguments)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Data(arguments)) => {
            cpu::leave_last()?;
            data::measure(arguments)?;
            return Ok(ExitCode::SUCCESS);
        }
        None => cpu::leave_last()?,
    }
    let report = measure(&arguments);
    print!("{}", report.table());
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&report.json())? + "\n";
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let failed = report.entries.iter().any(|entry| entry.error().is_some());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Runs everything.
fn measure(arguments: &Arguments) -> Report {
    let mut entries = plan(arguments);
    let total = entries.len() * arguments.rounds as usize;
    let begin = Instant::now();
    let mut done = 0;
    for round in 0..arguments.rounds {
        let count = entries.len();
        for step in 0..count {
            // Every other round goes backwards: nothing always runs right behind the same neighbour.
            let index = if round % 2 == 0 { step } else { count - 1 - step };
            let entry = &mut entries[index];
            done += 1;
            eprintln!(
                "[{done}/{total}, {:.0} s] round {}: {}, {}",
                begin.elapsed().as_secs_f64(),
                round + 1,
                entry.variant,
                entry.subject.name()
            );
            let sample = scenario::run(
                &entry.subject,
                entry.variant,
                arguments.consumers.into(),
                arguments.seconds,
            );
            let sample = sample.map_err(|error| format!("{error:#}"));
            if let Err(error) = &sample {
                eprintln!("  failed: {error}");
            }
            entry.rounds.push(sample);
        }
    }
    Report {
        machine: cpu::machine(),
        consumers: arguments.consumers.into(),
        seconds: arguments.seconds,
        rounds: arguments.rounds,
        entries,
    }
}

/// What is to be run in one round: at each pace the yardsticks, then every variant with every worker.
fn plan(arguments: &Arguments) -> Vec<Entry> {
    let mut variants: Vec<Variant> = Vec::new();
    for &variant in arguments.variants.iter().flat_map(|Selection(variants)| variants) {
        if !variants.contains(&variant) {
            variants.push(variant);
        }
    }
    let mut entries: Vec<Entry> = Vec::new();
    let entry = |subject, variant| Entry {
        subject,
        variant,
        rounds: Vec::new(),
    };
    for variant in variants {
        if !entries.iter().any(|entry| entry.variant.pace == variant.pace) {
            let copied = Variant {
                protection: Protection::Clear,
                reports: false,
                ..variant
            };
            entries.extend([RelayKind::Ceiling, RelayKind::Sendto].map(|kind| entry(Subject::Relay(kind), copied)));
        }
        entries.extend(subjects(&arguments.worker).map(|worker| entry(worker, variant)));
    }
    entries
}

/// The workers with their names: that of the file if no other file is called so, else the path.
fn subjects(paths: &[PathBuf]) -> impl Iterator<Item = Subject> {
    let same_name = |path: &Path| {
        paths
            .iter()
            .filter(|other| other.file_name() == path.file_name())
            .count()
    };
    paths.iter().map(move |path| {
        let name = match path.file_name() {
            Some(name) if same_name(path) == 1 => name.to_string_lossy(),
            _ => path.to_string_lossy(),
        };
        Subject::Worker {
            name: name.into_owned(),
            path: path.clone(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_has_the_yardsticks_once_per_pace() {
        let arguments = Arguments::parse_from([
            "bench",
            "--worker=a/worker",
            "--worker=b/worker",
            "--variants=burst-clear,spaced,burst-clear",
        ]);
        let entries = plan(&arguments);
        let relays = entries
            .iter()
            .filter(|entry| matches!(entry.subject, Subject::Relay(_)))
            .count();
        assert_eq!((relays, entries.len()), (4, 4 + 6 * 2));
        assert_eq!(entries[2].subject.name(), "a/worker");
    }
}
