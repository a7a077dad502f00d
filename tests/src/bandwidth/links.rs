//! The links.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::simulator::bottleneck::{Capacity, Narrow};

/// A link, who uses it, and for how long.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// The link.
    pub narrow: Narrow,
    /// Flows that share it.
    pub flows: usize,
    /// Reports that are lost of 1,000.
    pub feedback_loss: u32,
    /// Its duration in microseconds.
    pub duration: u64,
    /// From when on figures count, in microseconds.
    pub settled: u64,
}

const SECOND: u64 = 1_000_000;

fn scenario(name: impl Into<String>, capacity: Capacity) -> Scenario {
    Scenario {
        name: name.into(),
        narrow: Narrow {
            capacity,
            ..Narrow::default()
        },
        flows: 1,
        feedback_loss: 0,
        duration: 30 * SECOND,
        settled: 10 * SECOND,
    }
}

/// Links that stay as they are.
pub fn steady() -> Vec<Scenario> {
    let rates = [300, 600, 1_000, 2_500, 5_000, 10_000, 20_000, 50_000];
    let scenarios = rates.map(|kbits| scenario(format!("steady {kbits} kbit/s"), Capacity::steady(kbits * 1000)));
    scenarios.to_vec()
}

/// Links that become narrower, and wider again.
pub fn steps() -> Vec<Scenario> {
    let step = |name: &str, rates: [u64; 3]| Scenario {
        duration: 60 * SECOND,
        ..scenario(
            name,
            Capacity((0..).step_by(20_000_000).zip(rates.map(|kbits| kbits * 1000)).collect()),
        )
    };
    vec![
        step("steps 900, 300, 900 kbit/s", [900, 300, 900]),
        step("steps 3, 1, 3 Mbit/s", [3000, 1000, 3000]),
        step("steps 9, 3, 9 Mbit/s", [9000, 3000, 9000]),
        step("steps 1, 10, 1 Mbit/s", [1000, 10_000, 1000]),
    ]
}

/// Links that lose, delay, share, or change all the time.
pub fn troubled() -> Vec<Scenario> {
    let mut all = Vec::new();
    for loss in [10, 50, 100] {
        let mut lossy = scenario(
            format!("{} % random loss, 5 Mbit/s", loss / 10),
            Capacity::steady(5_000_000),
        );
        lossy.narrow.loss = loss;
        lossy.duration = 60 * SECOND;
        lossy.settled = 20 * SECOND;
        all.push(lossy);
    }
    let ramp = (0..120).map(|step: u64| (step * SECOND / 2, 500_000 + 40_000 * step.min(120 - step)));
    all.push(Scenario {
        duration: 60 * SECOND,
        ..scenario("slow ramps 0.5 to 2.9 Mbit/s", Capacity(ramp.collect()))
    });
    let mut bloated = scenario("2 s of queue, 2 Mbit/s", Capacity::steady(2_000_000));
    bloated.narrow.queue = 2 * SECOND;
    all.push(bloated);
    let mut policed = scenario("policer, 2 Mbit/s", Capacity::steady(2_000_000));
    policed.narrow.policer = true;
    policed.duration = 60 * SECOND;
    all.push(policed);
    let mut jittery = scenario("30 ms of jitter, 2 Mbit/s", Capacity::steady(2_000_000));
    jittery.narrow.jitter = 30_000;
    all.push(jittery);
    all.push(Scenario {
        feedback_loss: 300,
        ..scenario("30 % of reports lost, 2 Mbit/s", Capacity::steady(2_000_000))
    });
    let mut rivalled = scenario("beside a TCP download, 4 Mbit/s", Capacity::steady(4_000_000));
    rivalled.narrow.rival_from = Some(10 * SECOND);
    rivalled.duration = 70 * SECOND;
    all.push(rivalled);
    all.push(Scenario {
        duration: 60 * SECOND,
        settled: 20 * SECOND,
        ..scenario("mobile trace", mobile(7))
    });
    all
}

/// Two flows on one link.
pub fn shared() -> Scenario {
    Scenario {
        flows: 2,
        duration: 70 * SECOND,
        ..scenario("two flows, 4 Mbit/s", Capacity::steady(4_000_000))
    }
}

/// All of them.
pub fn all() -> Vec<Scenario> {
    [steady(), steps(), troubled(), vec![shared()]].concat()
}

/// A walk at random between 400 kbit/s and 6 Mbit/s, with holes now and then.
pub fn mobile(seed: u64) -> Capacity {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut rate, mut hole) = (2_000_000.0_f64, 0_u32);
    let steps = (0..400_u64).map(|step| {
        rate = (rate * rng.random_range(0.93..1.075)).clamp(400_000.0, 6_000_000.0);
        if hole == 0 && rng.random_range(0..100) == 0 {
            hole = rng.random_range(2..6);
        }
        let now = if hole > 0 { 0.3 * rate } else { rate };
        hole = hole.saturating_sub(1);
        (step * 200_000, now as u64)
    });
    Capacity(steps.collect())
}
