//! How well the bandwidth of links is used: the same links for our estimator in the engine, and for others beside it.

pub mod figures;
pub mod foreign;
pub mod layers;
pub mod links;
pub mod oracle;
pub mod plot;

use std::sync::Mutex;
use std::thread::{available_parallelism, scope};

use crate::simulator::Simulation;
use crate::simulator::bottleneck::{Bottleneck, Passed};
use crate::simulator::network::{Direction, Link};
use figures::Sample;
use links::Scenario;

/// Between two samples in microseconds; as often a source learns what it may send.
pub const STEP: u64 = 100_000;

/// What happened.
#[derive(Debug)]
pub struct Run {
    /// By flow: a sample for each step.
    pub flows: Vec<Vec<Sample>>,
    /// What became of each packet that came to the link.
    pub log: Vec<Passed>,
}

/// Lets sources send over a link as much as is estimated, through the engine.
pub fn run(scenario: &Scenario, seed: u64) -> Run {
    let mut simulation = Simulation::new(seed);
    let opened_at = simulation.now();
    let narrow = scenario.narrow.clone();
    simulation.network.bottlenecks.push(Bottleneck::new(narrow, opened_at));
    let mut flows = Vec::new();
    for flow in 0..scenario.flows {
        let source = simulation.add_source(&[600_000], seed + flow as u64);
        add_viewer(&mut simulation, scenario, source, 1, 100_000_000);
        // Frames of two sources do not come at once.
        simulation.run(7_000);
        flows.push(Vec::new());
    }
    while simulation.now() < opened_at + scenario.duration {
        simulation.run(STEP);
        for (flow, samples) in flows.iter_mut().enumerate() {
            let estimate = simulation.available_bitrate(flow);
            simulation.sources[flow].set_rate(estimate);
            samples.push(Sample {
                at: simulation.now() - opened_at,
                estimate,
                bytes: simulation.viewers[flow].bytes,
            });
        }
    }
    let log = std::mem::take(&mut simulation.network.bottlenecks[0].log);
    Run { flows, log }
}

/// The way back: reports of receivers take it.
fn way_back(scenario: &Scenario) -> Link {
    Link {
        loss: scenario.feedback_loss,
        min_delay: scenario.narrow.delay,
        max_delay: scenario.narrow.delay,
        ..Link::default()
    }
}

/// A viewer of a source of so many streams behind the link of a scenario.
fn add_viewer(simulation: &mut Simulation, scenario: &Scenario, source: usize, streams: usize, wanted: u64) {
    let viewer = simulation.add_viewer(source, streams, wanted, 0);
    let address = simulation.viewers[viewer].address;
    let links = &mut simulation.network.links;
    links.insert((address, Direction::From), way_back(scenario));
}

/// Does something with each of these on all cores; results in their order.
///
/// # Panics
/// One of them does.
pub fn on_all_cores<T: Sync, R: Send>(each: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = Mutex::new(each.iter().enumerate());
    let done = Mutex::new(Vec::new());
    let take = || next.lock().expect("nobody panics while holding it").next();
    scope(|scope| {
        for _ in 0..available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((index, one)) = take() {
                    let result = (index, work(one));
                    done.lock().expect("nobody panics while holding it").push(result);
                }
            });
        }
    });
    let mut done = done.into_inner().expect("nobody panics while holding it");
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
