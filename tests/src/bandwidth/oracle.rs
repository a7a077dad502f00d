//! Whoever knows the link: it sends 95 % of what is possible at each moment.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::figures::Sample;
use super::links::Scenario;
use super::{Run, STEP};
use crate::simulator::bottleneck::Bottleneck;

/// Packets of this size, evenly spaced.
const PACKET: usize = 1000;

/// Sends over a link what it can take; of a link that others share, their part of it.
pub fn run(scenario: &Scenario, seed: u64) -> Run {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut bottleneck = Bottleneck::new(scenario.narrow.clone(), 0);
    let users = scenario.flows as u64;
    let mut next = vec![0; scenario.flows];
    let mut bytes = vec![0; scenario.flows];
    let mut flows = vec![Vec::new(); scenario.flows];
    for at in (0..scenario.duration).step_by(1000) {
        let rival = scenario.narrow.rival_from.is_some_and(|from| from <= at);
        let share = scenario.narrow.capacity.at(at) * 95 / 100 / (users + u64::from(rival));
        for flow in 0..scenario.flows {
            while next[flow] <= at {
                next[flow] += PACKET as u64 * 8_000_000 / share;
                if bottleneck.pass(PACKET, at, &mut rng).is_some() {
                    bytes[flow] += PACKET as u64;
                }
            }
            if at % STEP == 0 {
                flows[flow].push(Sample {
                    at,
                    estimate: share,
                    bytes: bytes[flow],
                });
            }
        }
    }
    Run {
        flows,
        log: bottleneck.log,
    }
}
