use serde_json::{Value, json};
use worker::engine::ports::SocketId;

use crate::peer::{FORWARDED, Peer, SENT, rtp};
use crate::world::{World, internal, peer};

/// What a packet of 100 bytes of payload counts for: it is counted as forwarded, with room for a MID.
const COUNTED: usize = 12 + 16 + 100;

/// Somebody who speaks on transport `in`, and somebody who listens on `out`.
fn pair() -> (World, Peer, Peer) {
    let mut world = World::new();
    let speaker = Peer::connected(&mut world, "in", 1, peer(1));
    let listener = Peer::connected(&mut world, "out", 2, peer(2));
    speaker.produce(&mut world, 5);
    listener.consume(&mut world, 5, 50);
    world.told.clear();
    (world, speaker, listener)
}

fn stats(world: &mut World, id: &str) -> Value {
    world.request("transport.getStats", internal(id), json!({}))[0].clone()
}

#[test]
fn media_is_forwarded_with_the_keys_of_each() {
    let (mut world, mut speaker, mut listener) = pair();
    for sequence in 1..=20 {
        let packet = speaker.rtp(5, sequence, 100);
        world.receive_kept(speaker.socket, speaker.address, &packet);
    }
    let sent = world.sent_to(listener.address);
    assert_eq!(listener.read(sent), [(FORWARDED, 50, 100); 20]);
    let stats = stats(&mut world, "in");
    assert_eq!(stats["rtpBytesReceived"], 20 * COUNTED);
    assert_eq!(stats["dtlsState"], "connected");
}

#[test]
fn a_burst_leaves_in_one_call() {
    let (mut world, mut speaker, listener) = pair();
    let burst: Vec<_> = (1..=10).map(|sequence| speaker.rtp(5, sequence, 1000)).collect();
    world.network.runs.clear();
    let sent = world.receive_all(speaker.socket, speaker.address, &burst);
    assert_eq!(sent.len(), 10);
    assert!(sent.iter().all(|sent| sent.to == listener.address));
    assert_eq!(world.network.runs, [10]);
}

#[test]
fn reports_go_out_and_come_in() {
    let (mut world, mut speaker, mut listener) = pair();
    let packet = speaker.rtp(5, 1, 100);
    world.receive(speaker.socket, speaker.address, &packet);
    world.network.sent.clear();
    world.wait(2_000_000);
    let sent = std::mem::take(&mut world.network.sent);
    for peer in [&mut speaker, &mut listener] {
        let to_peer: Vec<_> = sent.iter().filter(|sent| sent.to == peer.address).collect();
        assert!(!to_peer.is_empty());
        for sent in to_peer {
            let mut packet = sent.bytes.clone();
            peer.receiver.as_mut().unwrap().unprotect_rtcp(&mut packet).unwrap();
        }
    }
}

/// Threat 4, ASVS V17.2.3 to V17.2.5: forged, replayed and broken packets on the path of a session.
#[test]
fn forged_media_changes_nothing() {
    let (mut world, mut speaker, listener) = pair();
    let genuine = speaker.rtp(5, 1, 100);
    world.receive_kept(speaker.socket, speaker.address, &genuine);
    assert_eq!(world.sent_to(listener.address).len(), 1);
    world.told.clear();
    for sequence in 0..5000 {
        let forged = rtp(SENT, 5, sequence, 120);
        assert_eq!(world.receive(speaker.socket, speaker.address, &forged), []);
    }
    for at in 0..genuine.len() {
        let mut broken = genuine.clone();
        broken[at] ^= 0x40;
        assert_eq!(world.receive(speaker.socket, speaker.address, &broken), [], "{at}");
        assert_eq!(
            world.receive(speaker.socket, speaker.address, &genuine[..at]),
            [],
            "{at}"
        );
    }
    assert_eq!(world.receive(speaker.socket, speaker.address, &genuine), []);
    // From somebody else even a good one counts nothing.
    let stolen = speaker.rtp(5, 2, 100);
    assert_eq!(world.receive(speaker.socket, peer(666), &stolen), []);
    assert_eq!(world.told, []);
    assert_eq!(stats(&mut world, "in")["rtpBytesReceived"], COUNTED);
    world.receive_kept(speaker.socket, speaker.address, &stolen);
    assert_eq!(world.sent_to(listener.address).len(), 1);
}

#[test]
fn media_resumes_after_silence_without_a_new_handshake() {
    let (mut world, mut speaker, mut listener) = pair();
    for second in 0..40 {
        world.wait(1_000_000);
        if second % 3 == 0 {
            speaker.check(&mut world);
        }
    }
    assert!(world.events_of("out").contains(&"ice disconnected".to_owned()));
    let packet = speaker.rtp(5, 1, 100);
    world.network.sent.clear();
    world.receive_kept(speaker.socket, speaker.address, &packet);
    assert!(world.sent_to(listener.address).is_empty());
    // It comes back from another port.
    listener.address = peer(22);
    listener.check(&mut world);
    assert_eq!(world.events_of("out"), ["selected 22", "ice completed"]);
    let packet = speaker.rtp(5, 2, 100);
    world.receive_kept(speaker.socket, speaker.address, &packet);
    let sent = world.sent_to(listener.address);
    assert_eq!(listener.read(sent), [(FORWARDED, 50, 100)]);
}

#[test]
fn media_shows_which_path_a_peer_uses() {
    let (mut world, mut speaker, _) = pair();
    let other = peer(11);
    world.receive(speaker.socket, other, &speaker.transport.check());
    assert_eq!(world.events_of("in"), [] as [&str; 0]);
    // Reports do not.
    let report = speaker.report();
    world.receive(speaker.socket, other, &report);
    assert_eq!(world.events_of("in"), [] as [&str; 0]);
    let packet = speaker.rtp(5, 1, 100);
    world.receive(speaker.socket, other, &packet);
    assert_eq!(world.events_of("in"), ["selected 11"]);
}

/// Threat 8: a participant forges the source address of a check to have somebody else flooded.
#[test]
fn checks_with_a_forged_source_redirect_little() {
    let (mut world, mut speaker, mut listener) = pair();
    let victim = peer(667);
    world.receive(listener.socket, victim, &listener.transport.nominate());
    assert_eq!(world.events_of("out"), ["selected 667"]);
    world.network.sent.clear();
    let send = |world: &mut World, speaker: &mut Peer, sequences: std::ops::Range<u16>| {
        for sequence in sequences {
            let packet = speaker.rtp(5, sequence, 1000);
            world.receive_kept(speaker.socket, speaker.address, &packet);
        }
    };
    send(&mut world, &mut speaker, 1..5000);
    let flooded: usize = world.sent_to(victim).iter().map(Vec::len).sum();
    assert!((100_000..1_200_000).contains(&flooded), "{flooded}");
    // More checks do not help.
    for port in 700..800 {
        world.receive(listener.socket, peer(port), &listener.transport.nominate());
        send(&mut world, &mut speaker, 5000 + port..5001 + port);
        assert!(world.sent_to(peer(port)).is_empty());
    }
    // The listener really has moved: its next report opens the path.
    listener.address = peer(3);
    listener.check(&mut world);
    send(&mut world, &mut speaker, 6000..6010);
    assert!(world.sent_to(listener.address).is_empty());
    let report = listener.report();
    world.receive(listener.socket, listener.address, &report);
    send(&mut world, &mut speaker, 6010..6020);
    assert_eq!(world.sent_to(listener.address).len(), 10);
}

#[test]
fn a_closed_transport_leaves_nothing_behind() {
    let mut world = World::new();
    world.request(
        "worker.createWebRtcServer",
        json!({"webRtcServerId": "s"}),
        json!({"listenInfos": [{"protocol": "udp", "ip": "127.0.0.1", "port": 4000}]}),
    );
    for round in 0..1000_u16 {
        let own = world.transport("own", json!({"enableTcp": true}));
        let socket = *world.network.open.keys().nth(1).unwrap();
        world.receive(socket, peer(round + 1), &own.nominate());
        let shared = world.transport_on_server("shared", json!({}));
        world.receive(SocketId(1), peer(round + 1), &shared.nominate());
        for id in ["own", "shared"] {
            assert_eq!(world.dump(id)["iceState"], "completed");
            world.request("transport.close", internal(id), json!({}));
        }
    }
    let dump = world.request("webRtcServer.dump", json!({"webRtcServerId": "s"}), json!({}));
    for key in ["webRtcTransportIds", "localIceUsernameFragments", "tupleHashes"] {
        assert_eq!(dump[key], json!([]), "{key}");
    }
    let router = world.request("router.dump", json!({"routerId": "r"}), json!({}));
    assert_eq!(router["transportIds"], json!([]));
    assert_eq!(world.network.open.len(), 1);
    world.wait(60_000_000);
    assert_eq!(world.engine.planned_wakes(), 0);
}
