//! What is measured of a run.

use super::Run;
use super::links::Scenario;

/// A look at a flow.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// When, in microseconds since the link was opened.
    pub at: u64,
    /// Bits per second that were thought possible.
    pub estimate: u64,
    /// Bytes that had arrived.
    pub bytes: u64,
}

/// Figures of a run.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Share of the capacity that was used, once `settled` had passed, 0 to 1.
    pub used: f64,
    /// Until 85 % of the capacity was used over a second for the first time, in seconds.
    pub ramp: Option<f64>,
    /// 95th percentile of the time that packets waited before the link, once settled, in milliseconds.
    pub queue: f64,
    /// Share of packets that were lost, once settled, 0 to 1.
    pub loss: f64,
    /// After each fall of the capacity to less than half, for a while: until the estimate was below it, in seconds.
    pub back_off: Vec<Option<f64>>,
    /// After each rise of the capacity to more than double, for a while: until the estimate reached 80 % and 90 % of it, in seconds.
    pub rise: Vec<(Option<f64>, Option<f64>)>,
    /// How equal the flows were (Jain), 1 for equal ones.
    pub fairness: f64,
}

/// Seconds of microseconds.
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// Bits that the link could have passed between two times.
fn possible(scenario: &Scenario, from: u64, to: u64) -> f64 {
    let times = (from..to).step_by(10_000);
    times
        .map(|at| scenario.narrow.capacity.at(at) as f64 * 10_000.0 / 1e6)
        .sum()
}

/// Measures a run.
pub fn measure(scenario: &Scenario, run: &Run) -> Figures {
    let end = scenario.duration;
    let bits = |flow: &[Sample], from: u64, to: u64| {
        let at = |time: u64| {
            let before = flow.partition_point(|sample| sample.at <= time);
            before.checked_sub(1).map_or(0, |index| flow[index].bytes)
        };
        (at(to) - at(from)) as f64 * 8.0
    };
    let settled = scenario.settled;
    let all = |from: u64, to: u64| run.flows.iter().map(|flow| bits(flow, from, to)).sum::<f64>();
    let ramp = (1..end / 1_000_000).find(|second| {
        let (from, to) = ((second - 1) * 1_000_000, second * 1_000_000);
        all(from, to) >= 0.85 * possible(scenario, from, to)
    });
    let counted = || run.log.iter().filter(|passed| passed.at >= settled);
    let queue = wait(counted().filter_map(|passed| passed.waited));
    let lost = counted().filter(|passed| passed.waited.is_none()).count();
    let each: Vec<f64> = run.flows.iter().map(|flow| bits(flow, settled, end)).collect();
    let sum: f64 = each.iter().sum();
    let squares: f64 = each.iter().map(|bits| bits * bits).sum();
    let (back_off, rise) = steps(scenario, &run.flows[0]);
    Figures {
        used: sum / possible(scenario, settled, end),
        ramp: ramp.map(|second| second as f64),
        queue,
        loss: lost as f64 / counted().count().max(1) as f64,
        back_off,
        rise,
        fairness: sum * sum / (each.len() as f64 * squares),
    }
}

/// 95th percentile of waits in microseconds, in milliseconds.
fn wait(waits: impl Iterator<Item = u64>) -> f64 {
    let mut waits: Vec<u64> = waits.collect();
    waits.sort_unstable();
    waits.get(waits.len() * 95 / 100).copied().unwrap_or_default() as f64 / 1000.0
}

/// 95th percentile of the time that packets waited in all of these runs, once settled, in milliseconds.
pub fn queue(scenario: &Scenario, runs: &[Run]) -> f64 {
    let passed = runs.iter().flat_map(|run| &run.log);
    let settled = passed.filter(|passed| passed.at >= scenario.settled);
    wait(settled.filter_map(|passed| passed.waited))
}

/// Shortest time in microseconds that a capacity lasts for its beginning to be a step.
const LASTING: u64 = 5_000_000;

type Rises = Vec<(Option<f64>, Option<f64>)>;

/// How the estimate follows large steps of the capacity, before the next one.
fn steps(scenario: &Scenario, flow: &[Sample]) -> (Vec<Option<f64>>, Rises) {
    let (mut falls, mut rises) = (Vec::new(), Vec::new());
    let steps = &scenario.narrow.capacity.0;
    for (index, two) in steps.windows(2).enumerate() {
        let [(_, before), (at, after)] = [two[0], two[1]];
        let end = steps
            .get(index + 2)
            .map_or(u64::MAX, |(next, _)| *next)
            .min(scenario.duration);
        if end.saturating_sub(at) < LASTING {
            continue;
        }
        let reached = |fits: &dyn Fn(f64) -> bool| {
            let mut meanwhile = flow.iter().filter(|sample| (at..end).contains(&sample.at));
            let first = meanwhile.find(|sample| fits(sample.estimate as f64));
            first.map(|sample| seconds(sample.at - at))
        };
        if after * 2 < before {
            falls.push(reached(&|estimate| estimate < after as f64));
        } else if after > before * 2 {
            let share = |share: f64| reached(&|estimate| estimate >= share * after as f64);
            rises.push((share(0.8), share(0.9)));
        }
    }
    (falls, rises)
}
