//! Links of all kinds, and what the engine makes of them, in virtual time. A miss tells the seed and all figures.

use tests::bandwidth::figures::{Figures, measure};
use tests::bandwidth::links::{self, Scenario};
use tests::bandwidth::{foreign, oracle, run};

/// Runs a scenario with this many seeds, and lets each be judged.
#[track_caller]
fn judge(scenario: &Scenario, seeds: u64, verdict: impl Fn(&Figures) -> bool) {
    for seed in 1..=seeds {
        let figures = measure(scenario, &run(scenario, seed));
        println!("{}, seed {seed}: {figures:?}", scenario.name);
        assert!(verdict(&figures), "{}, seed {seed}: {figures:?}", scenario.name);
    }
}

#[test]
fn steady_links_are_used_without_filling_their_queues() {
    for scenario in links::steady() {
        // Wide links take long to simulate, and vary little.
        let seeds = if scenario.narrow.capacity.at(0) > 5_000_000 {
            2
        } else {
            8
        };
        judge(&scenario, seeds, |figures| {
            figures.ramp.is_some_and(|ramp| ramp <= 10.0)
                && figures.used >= 0.85
                && figures.queue < 60.0
                && figures.loss < 0.01
        });
    }
}

#[test]
fn links_that_change_are_followed() {
    for scenario in links::steps() {
        judge(&scenario, 4, |figures| {
            let below = figures.back_off.iter().all(|time| time.is_some_and(|time| time <= 1.5));
            let risen = figures
                .rise
                .iter()
                .all(|(most, _)| most.is_some_and(|time| time <= 15.0));
            !figures.back_off.is_empty() && !figures.rise.is_empty() && below && risen && figures.used >= 0.55
        });
    }
}

#[test]
fn two_flows_share_a_link_fairly() {
    judge(&links::shared(), 6, |figures| {
        figures.fairness > 0.95 && figures.used >= 0.85
    });
}

#[test]
fn troubled_links_are_used_too() {
    for scenario in links::troubled() {
        // A rival fills the queue; then long waits are not ours. Of losses those that nobody can avoid are not either.
        let rivalled = scenario.narrow.rival_from.is_some();
        let least = match (rivalled, scenario.narrow.loss) {
            (true, _) => 0.17,
            (_, 100..) => 0.6,
            _ => 0.7,
        };
        let lossy = scenario.narrow.loss > 0 || scenario.narrow.policer;
        let most_lost = if lossy { 0.12 } else { 0.04 };
        let longest = if rivalled { 200.0 } else { 160.0 };
        judge(&scenario, 3, |figures| {
            figures.used >= least && figures.loss < most_lost && figures.queue < longest
        });
    }
}

/// What others make of a link, which is put beside ours, is worth something only if they get a chance.
#[test]
fn those_that_are_compared_use_an_easy_link() {
    let links = links::steady();
    let easy = links
        .iter()
        .find(|scenario| scenario.narrow.capacity.at(0) == 1_000_000);
    let easy = easy.expect("a steady link of 1 Mbit/s");
    let even = |seed| foreign::run(easy, foreign::Rhythm::Even, seed);
    let frames = |seed| foreign::run(easy, foreign::Rhythm::Frames, seed);
    for seed in 1..=3 {
        for (who, run, longest) in [
            ("oracle", oracle::run(easy, seed), 10.0),
            ("str0m", even(seed), 60.0),
            ("str0m, frames", frames(seed), 200.0),
        ] {
            let figures = measure(easy, &run);
            assert!(
                (0.85..1.0).contains(&figures.used)
                    && figures.ramp.is_some_and(|ramp| ramp <= 5.0)
                    && figures.queue < longest
                    && figures.loss < 0.01,
                "{who}, seed {seed}: {figures:?}"
            );
            // The estimate is one of this link, and not where it started.
            let end = run.flows[0].last().map(|sample| sample.estimate);
            assert!(
                end.is_some_and(|end| (700_000..1_200_000).contains(&end)),
                "{who}, seed {seed}: {end:?}"
            );
        }
    }
}
