//! How well the bandwidth of links is used: the same links for our estimator in the engine, and for others beside it.

pub mod figures;
pub mod links;
pub mod oracle;
pub mod plot;

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
        let viewer = simulation.add_viewer(source, 1, 100_000_000, 0);
        let link = Link {
            loss: scenario.feedback_loss,
            min_delay: scenario.narrow.delay,
            max_delay: scenario.narrow.delay,
            ..Link::default()
        };
        let address = simulation.viewers[viewer].address;
        simulation.network.links.insert((address, Direction::From), link);
        // Frames of two sources do not come at once.
        simulation.run(7_000);
        flows.push(Vec::new());
    }
    while simulation.now() < opened_at + scenario.duration {
        simulation.run(STEP);
        for (flow, samples) in flows.iter_mut().enumerate() {
            let estimate = simulation.available_bitrate(flow);
            simulation.sources[flow].set_rate(estimate);
            let viewer = &simulation.viewers[flow];
            let bytes = viewer.got.iter().map(|(_, size, _)| *size as u64).sum::<u64>() + viewer.padding;
            samples.push(Sample {
                at: simulation.now() - opened_at,
                estimate,
                bytes,
            });
        }
    }
    let log = std::mem::take(&mut simulation.network.bottlenecks[0].log);
    Run { flows, log }
}
