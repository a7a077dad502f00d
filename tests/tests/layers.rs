//! Layers that viewers get over narrow links: the best that fit, audio aside, and steady ones. In virtual time, seeded.

use serde_json::Value;
use tests::bandwidth::layers::{RATES, changes, watch};
use tests::bandwidth::{links, on_all_cores};
use tests::simulator::Simulation;
use tests::simulator::bottleneck::{Bottleneck, Capacity, Narrow};
use tests::simulator::network::{Direction, Link};
use worker::bwe::Feedback;

const SECOND: u64 = 1_000_000;

/// So many viewers of as many sources in three sizes, all behind one link.
fn room(capacity: Capacity, sources: usize, seed: u64) -> Simulation {
    let narrow = Narrow {
        capacity,
        ..Narrow::default()
    };
    room_behind(narrow, &RATES, sources, seed)
}

fn room_behind(narrow: Narrow, rates: &[u64], sources: usize, seed: u64) -> Simulation {
    let mut simulation = Simulation::new(seed);
    let now = simulation.now();
    simulation.network.bottlenecks.push(Bottleneck::new(narrow, now));
    for source in 0..sources {
        simulation.add_source(rates, seed + source as u64);
    }
    simulation.add_viewer(0, 3, 0, 0);
    for source in 1..sources {
        simulation.consume_counted(0, &format!("more{source}"), source, 3, 0);
    }
    simulation
}

/// The spatial layer that a consumer has now.
fn layer(simulation: &Simulation, consumer: &str) -> Option<u64> {
    changes(simulation, consumer).last().and_then(|change| change.spatial)
}

#[test]
fn a_viewer_gets_the_best_layers_that_fit_and_keeps_them() {
    for scenario in links::steady() {
        // A quarter of the frames of the next size takes 0.4 of its bitrate, so there may be room for that.
        let expected = match scenario.narrow.capacity.at(0) {
            300_000 => 0..=1,
            600_000 => 1..=1,
            1_000_000 => 1..=2,
            _ => 2..=2,
        };
        on_all_cores(&[1, 2, 3], |seed| {
            let watched = watch(&scenario, *seed);
            let what = format!("{}, seed {seed}: {watched:?}", scenario.name);
            let last = watched.changes.last().and_then(|change| change.spatial);
            assert!(last.is_some_and(|layer| expected.contains(&layer)), "{what}");
            // Between sizes; that fewer or more frames come is hardly seen. Mostly there is no change at all.
            assert!(watched.per_minute().0 <= 12.0, "{what}");
            assert!(!watched.oscillates_within(5 * SECOND), "{what}");
        });
    }
}

/// On a link that becomes wider after 20 s and narrower again, the best layers come and go within 10 s each, and
/// something arrives all the time.
#[track_caller]
fn follow(rates: &[u64], narrow: &Narrow, seed: u64) {
    let steps = Capacity(vec![(0, 600_000), (20 * SECOND, 3_000_000), (45 * SECOND, 600_000)]);
    let narrow = Narrow {
        capacity: steps,
        ..narrow.clone()
    };
    let what = format!("{rates:?}, stalls {}, seed {seed}", narrow.stalls);
    let mut simulation = room_behind(narrow, rates, 1, seed);
    let start = simulation.now();
    simulation.run(17 * SECOND);
    // What it climbs to by mistake it leaves soon.
    let fits = simulation.run_until(3 * SECOND, |simulation| layer(simulation, "u0") <= Some(1));
    assert!(fits, "{what}: {:?}", changes(&simulation, "u0"));
    simulation.run(start + 20 * SECOND - simulation.now());
    let reached = simulation.run_until(10 * SECOND, |simulation| layer(simulation, "u0") == Some(2));
    assert!(reached, "{what}: {:?}", changes(&simulation, "u0"));
    let left = start + 46 * SECOND - simulation.now();
    simulation.run(left);
    let fell = simulation.run_until(10 * SECOND, |simulation| layer(simulation, "u0") <= Some(1));
    assert!(fell, "{what}: {:?}", changes(&simulation, "u0"));
    simulation.run(10 * SECOND);
    let got = &simulation.viewers[0].got;
    let longest = got.windows(2).map(|two| two[1].0 - two[0].0).max();
    assert!(longest < Some(SECOND), "{what}: {longest:?}");
}

#[test]
fn layers_follow_a_link_that_changes() {
    for seed in 1..=3 {
        follow(&RATES, &Narrow::default(), seed);
    }
    // All that is sent beside the best layer is a good part of what is possible, so that no more than that is known.
    for seed in 1..=15 {
        follow(&[150_000, 500_000, 2_000_000], &Narrow::default(), seed);
    }
}

#[test]
fn layers_follow_a_link_that_changes_and_stalls() {
    let stalling = Narrow {
        stalls: 30_000,
        queue: 500_000,
        ..Narrow::default()
    };
    for seed in 1..=15 {
        follow(&[150_000, 500_000, 2_000_000], &stalling, seed);
    }
}

#[test]
fn consumers_share_a_link_by_priority() {
    for seed in 1..=3 {
        let mut simulation = room(Capacity::steady(2_200_000), 3, seed);
        let internal = serde_json::json!({ "routerId": "r", "transportId": "view0", "consumerId": "more1",
            "producerId": "s1" });
        simulation.request("consumer.setPriority", internal, serde_json::json!({ "priority": 200 }));
        simulation.run(40 * SECOND);
        let layers = ["u0", "more1", "more2"].map(|consumer| layer(&simulation, consumer));
        assert!(
            layers.iter().all(Option::is_some),
            "seed {seed}: everybody is seen: {layers:?}"
        );
        assert_eq!(layers[1], Some(2), "seed {seed}: {layers:?}");
        assert!(layers[0] < Some(2) && layers[2] < Some(2), "seed {seed}: {layers:?}");
    }
}

/// There is room for a larger size of one or two of three. Now and then somebody else is watched for a while.
#[test]
fn equals_take_turns_to_get_what_not_all_can_get() {
    for seed in 1..=3 {
        let mut simulation = room(Capacity::steady(1_300_000), 3, seed);
        let other = simulation.add_source(&[40_000, 80_000], seed + 9);
        simulation.consume_counted(0, "other", other, 2, 0);
        let from = simulation.now();
        for round in 0..12 {
            simulation.run(31 * SECOND);
            let method = if round % 2 == 0 {
                "consumer.pause"
            } else {
                "consumer.resume"
            };
            let internal = serde_json::json!({ "routerId": "r", "transportId": "view0", "consumerId": "other",
                "producerId": format!("s{other}") });
            simulation.request(method, internal, serde_json::json!({}));
        }
        let consumers = ["u0", "more1", "more2"];
        let rates = consumers.map(|consumer| {
            let internal = serde_json::json!({ "routerId": "r", "transportId": "view0", "consumerId": consumer,
                "producerId": "s0" });
            let stats = simulation.request("consumer.getStats", internal, serde_json::json!({}));
            stats[0]["byteCount"].as_u64().unwrap_or_default() * 8 * SECOND / (simulation.now() - from)
        });
        let (least, most) = (rates.iter().min(), rates.iter().max());
        assert!(
            least.zip(most).is_some_and(|(least, most)| least * 100 >= most * 80),
            "seed {seed}: {rates:?}"
        );
        for consumer in consumers {
            let mut all = changes(&simulation, consumer);
            all.dedup_by_key(|change| change.spatial);
            let settled = all.iter().filter(|change| change.at > from + 20 * SECOND);
            let times: Vec<_> = settled.map(|change| change.at).collect();
            assert!(
                times.windows(3).all(|three| three[2] - three[0] >= 5 * SECOND),
                "seed {seed}: {consumer}: {all:?}"
            );
        }
    }
}

/// What a viewer's transport says of itself.
fn dump(simulation: &mut Simulation) -> Value {
    let internal = serde_json::json!({ "routerId": "r", "transportId": "view0" });
    simulation.request("transport.dump", internal, serde_json::json!({}))
}

/// Its last decisions: what, why, and with what.
fn decisions(simulation: &mut Simulation) -> Vec<Value> {
    dump(simulation)["decisions"].as_array().cloned().unwrap_or_default()
}

#[test]
fn key_frames_wait_no_longer_than_allowed_and_that_is_told() {
    for (capacity, seed) in [(500_000, 1), (500_000, 2), (2_500_000, 3)] {
        let mut simulation = room(Capacity::steady(capacity), 1, seed);
        simulation.run(20 * SECOND);
        let pacing = dump(&mut simulation)["pacing"].take();
        let number = |what: &str| pacing[what].as_u64().unwrap_or_default();
        assert_eq!(number("maxDelay"), 100, "seed {seed}: {pacing}");
        assert!(
            (5..=100).contains(&number("longestWait")),
            "{capacity} bit/s, seed {seed}: {pacing}"
        );
        let packets = simulation.viewers[0].counted.1;
        // Of frames that fit most packets do not.
        assert!(
            (1..packets / 2).contains(&number("packets")),
            "{capacity} bit/s, seed {seed}: {pacing} of {packets}"
        );
    }
}

#[test]
fn a_transport_tells_why_it_sends_what_it_sends() {
    for seed in 1..=3 {
        let steps = Capacity(vec![(0, 3_000_000), (10 * SECOND, 600_000)]);
        let mut simulation = room(steps, 1, seed);
        simulation.run(3 * SECOND);
        let early = decisions(&mut simulation);
        let of = |all: &[Value], what: &str| -> Vec<Value> {
            all.iter()
                .filter(|decision| decision["what"] == what)
                .cloned()
                .collect()
        };
        let number = |decision: &Value, what: &str| decision["bandwidth"][what].as_u64().unwrap_or_default();
        let probes = of(&early, "probe");
        let first = probes.first().unwrap_or_else(|| panic!("seed {seed}: {early:#?}"));
        assert_eq!(first["why"], "desired", "seed {seed}: {first:#}");
        assert!(number(first, "measured") > 1_000_000, "seed {seed}: {first:#}");
        let raised = of(&early, "raise");
        assert!(
            raised.iter().any(|decision| decision["why"] == "probe"),
            "seed {seed}: {early:#?}"
        );
        assert!(
            raised
                .iter()
                .all(|decision| number(decision, "estimate") > number(decision, "before")),
            "seed {seed}: {early:#?}"
        );
        let shared = of(&early, "allocate");
        let last = shared.last().unwrap_or_else(|| panic!("seed {seed}: {early:#?}"));
        assert!(
            number(last, "allocated") <= number(last, "available"),
            "seed {seed}: {last:#}"
        );
        simulation.run(8 * SECOND);
        let late = decisions(&mut simulation);
        let lowered = of(&late, "lower");
        assert!(
            lowered
                .iter()
                .any(|decision| ["delay", "queue", "loss"].iter().any(|why| decision["why"] == *why)),
            "seed {seed}: {late:#?}"
        );
        assert!(
            of(&late, "allocate")
                .iter()
                .any(|decision| decision["why"] == "bandwidth"),
            "seed {seed}: {late:#?}"
        );
        let since = late.last().unwrap()["timestamp"].as_u64().unwrap() - late[0]["timestamp"].as_u64().unwrap();
        assert!(since > 3000, "seed {seed}: {late:#?}");
    }
}

/// The share of packets that a viewer lost between two looks at what it counted.
fn lost(before: (u64, u64), after: (u64, u64)) -> f64 {
    let expected = (after.0 - before.0) as f64;
    1.0 - (after.1 - before.1) as f64 / expected.max(1.0)
}

/// Most receivers that say what they can take find it by delays, which a path that just drops what is too much hides.
#[test]
fn a_receiver_that_says_a_rate_is_sent_less_when_it_loses_much() {
    // And what may be lost.
    let links = [
        (true, 700, 0.08),
        (true, 1_000, 0.03),
        (false, 700, 0.03),
        (false, 3_000, 0.001),
    ];
    for (policer, kbits, most_lost) in links {
        for seed in 1..=3 {
            let what = format!("policer {policer}, {kbits} kbit/s, seed {seed}");
            let mut simulation = Simulation::new(seed);
            let narrow = Narrow {
                capacity: Capacity::steady(kbits * 1000),
                policer,
                ..Narrow::default()
            };
            let now = simulation.now();
            simulation.network.bottlenecks.push(Bottleneck::new(narrow, now));
            simulation.add_source(&RATES, seed);
            simulation.add_viewer_with(Feedback::Remb, 0, 3, 0, 0);
            simulation.run(30 * SECOND);
            let (settled, before) = (simulation.now(), simulation.viewers[0].counted);
            simulation.run(60 * SECOND);
            let lost = lost(before, simulation.viewers[0].counted);
            assert!(lost < most_lost, "{what}: {lost}");
            let mut since = changes(&simulation, "u0");
            since.retain(|change| change.at > settled);
            since.dedup_by_key(|change| change.spatial);
            assert!(since.len() <= 4, "{what}: {since:?}");
        }
    }
}

#[test]
fn what_is_lost_before_it_comes_to_the_worker_lowers_nothing() {
    for seed in 1..=3 {
        let mut simulation = Simulation::new(seed);
        let now = simulation.now();
        let wide = Bottleneck::new(Narrow::default(), now);
        simulation.network.bottlenecks.push(wide);
        simulation.add_source(&[500_000], seed);
        let lossy = Link {
            loss: 200,
            ..Link::default()
        };
        let source = simulation.sources[0].address;
        simulation.network.links.insert((source, Direction::From), lossy);
        simulation.add_viewer_with(Feedback::Remb, 0, 1, 0, 0);
        simulation.run(30 * SECOND);
        let lost = lost((0, 0), simulation.viewers[0].counted);
        assert!((0.15..0.25).contains(&lost), "seed {seed}: {lost}");
        let all = decisions(&mut simulation);
        assert!(
            !all.is_empty() && all.iter().all(|decision| decision["why"] != "loss"),
            "seed {seed}: {all:#?}"
        );
    }
}
