//! Layers that viewers get over links, and how often they change.

use serde_json::Value;

use super::add_viewer;
use super::links::Scenario;
use crate::simulator::Simulation;
use crate::simulator::bottleneck::Bottleneck;

/// Bitrates of the spatial layers.
pub const RATES: [u64; 3] = [150_000, 500_000, 1_500_000];
/// Least time in microseconds over which changes are counted.
const COUNTED: u64 = 60_000_000;

/// The layers of a consumer changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// When, in microseconds of virtual time.
    pub at: u64,
    /// The spatial layer that it has since, None for none.
    pub spatial: Option<u64>,
    /// The temporal one.
    pub temporal: Option<u64>,
}

/// Changes of the layers of a consumer.
pub fn changes(simulation: &Simulation, consumer: &str) -> Vec<Change> {
    let told = simulation.told.iter();
    let changes = told.filter(|(_, target, event, _)| target == consumer && event == "layerschange");
    changes
        .map(|(at, _, _, data): &(u64, String, String, Value)| Change {
            at: *at,
            spatial: data["spatialLayer"].as_u64(),
            temporal: data["temporalLayer"].as_u64(),
        })
        .collect()
}

/// What a viewer saw of a source in three sizes.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Changes of its layers once settled, beginning with those that it had then.
    pub changes: Vec<Change>,
    /// For how long they were counted, in microseconds.
    pub counted: u64,
}

/// Lets a viewer watch a source over the link of a scenario; with others who watch others, if there are more flows.
pub fn watch(scenario: &Scenario, seed: u64) -> Watched {
    let mut simulation = Simulation::new(seed);
    let opened_at = simulation.now();
    let narrow = scenario.narrow.clone();
    simulation.network.bottlenecks.push(Bottleneck::new(narrow, opened_at));
    for flow in 0..scenario.flows {
        let source = simulation.add_source(&RATES, seed + flow as u64);
        add_viewer(&mut simulation, scenario, source, RATES.len(), 0);
        simulation.run(7_000);
    }
    let settled_at = opened_at + scenario.settled;
    let end = (opened_at + scenario.duration).max(settled_at + COUNTED);
    simulation.run(end - simulation.now());
    let mut changes = changes(&simulation, "u0");
    let before = changes.partition_point(|change| change.at < settled_at);
    changes.drain(..before.saturating_sub(1));
    Watched {
        changes,
        counted: end - settled_at,
    }
}

impl Watched {
    /// Changes of the spatial layer.
    pub fn spatial(&self) -> Vec<Change> {
        let pairs = self.changes.windows(2).filter(|two| two[0].spatial != two[1].spatial);
        pairs.map(|two| two[1]).collect()
    }

    /// Changes a minute of the spatial layer, and of the temporal one alone.
    pub fn per_minute(&self) -> (f64, f64) {
        let all = self.changes.len().saturating_sub(1);
        let spatial = self.spatial().len();
        let minutes = self.counted as f64 / 60e6;
        (spatial as f64 / minutes, (all - spatial) as f64 / minutes)
    }

    /// Whether the spatial layer changed back and forth, or three times at all, within so many microseconds.
    pub fn oscillates_within(&self, time: u64) -> bool {
        self.spatial().windows(3).any(|three| three[2].at - three[0].at < time)
    }
}
