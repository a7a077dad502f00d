//! Streams that are named by RID: their SSRCs are learnt from packets, those of their retransmissions too.

use serde_json::json;
use tests::simulator::Simulation;
use tests::simulator::media::STREAM;
use tests::simulator::network::{Direction, Link};

use crate::SECOND;

#[test]
fn ssrcs_are_learnt_and_losses_repaired() {
    for seed in 0..4 {
        let mut simulation = Simulation::new(seed);
        simulation.options.rids = true;
        simulation.add_simulcast_sender(&[1000, 1100, 1200], 0);
        simulation.add_receiver(0);
        let address = simulation.senders[0].address;
        let lossy = Link {
            loss: 100,
            ..Link::default()
        };
        simulation.network.links.insert((address, Direction::From), lossy);
        simulation.run(3 * SECOND);
        // From here on nothing but SSRCs tells whose packets they are.
        simulation.senders.iter_mut().for_each(|sender| sender.rid = None);
        for layer in [0, 1, 2] {
            let internal = json!({ "routerId": "r", "transportId": "out0", "consumerId": "w0" });
            simulation.request(
                "consumer.setPreferredLayers",
                internal,
                json!({ "spatialLayer": layer }),
            );
            simulation.run(SECOND);
            let so_far = simulation.receivers[0].got.iter().map(|got| got.sequence).max();
            simulation.run(3 * SECOND);
            let receiver = &simulation.receivers[0];
            let since: Vec<_> = receiver.got.iter().filter(|got| Some(got.sequence) > so_far).collect();
            let gaps = receiver.gaps().iter().filter(|gap| Some(**gap) > so_far).count();
            let what = format!("seed {seed}, layer {layer}");
            assert!(
                since.len() > 300 && gaps * 50 <= since.len(),
                "{what}: {} packets, {gaps} gaps",
                since.len()
            );
            assert!(since.iter().all(|got| got.number / STREAM == layer), "{what}");
        }
        for sender in &simulation.senders {
            assert!(sender.repeated > 0, "seed {seed}: {}", sender.ssrc);
        }
        let internal = json!({ "routerId": "r", "transportId": "in0", "producerId": "v0" });
        let dump = simulation.request("producer.dump", internal, json!({}));
        for (index, stream) in dump["rtpStreams"].as_array().expect("streams").iter().enumerate() {
            let ssrc = 1000 + 100 * index;
            assert_eq!(stream["params"]["ssrc"], ssrc, "seed {seed}: {stream}");
            assert_eq!(stream["params"]["rtxSsrc"], ssrc + 1, "seed {seed}: {stream}");
            assert_eq!(stream["params"]["rid"], format!("r{index}"), "seed {seed}: {stream}");
        }
    }
}

#[test]
fn an_unknown_rid_is_nobodys() {
    let mut simulation = Simulation::new(1);
    simulation.options.rids = true;
    simulation.add_simulcast_sender(&[1000, 1100], 0);
    simulation.add_receiver(0);
    simulation.senders[1].rid = Some("r9");
    simulation.run(3 * SECOND);
    let internal = json!({ "routerId": "r", "transportId": "in0", "producerId": "v0" });
    let dump = simulation.request("producer.dump", internal, json!({}));
    assert_eq!(dump["rtpStreams"].as_array().map(Vec::len), Some(1), "{dump}");
    assert!(simulation.receivers[0].got.iter().all(|got| got.number < STREAM));
}
