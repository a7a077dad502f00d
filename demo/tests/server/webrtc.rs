//! Pages with real WebRTC endpoints (str0m) on real sockets: what only packets bring about.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::simulator::network::{Arrival, Protocol};
use tests::simulator::peer::{OPUS, Peer};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::broadcasters::Api;
use crate::client::{Client, LIMIT, open, server};

/// Stream, whether binary, bytes.
type Message = (u16, bool, Vec<u8>);

/// What an endpoint is to do.
enum Do {
    /// Open a data channel on a stream; once.
    Open(u16),
    /// Send a message, as soon as its channel is open.
    Say(Message),
    /// Send a packet every 20 ms from now on.
    Speak(u32),
    /// Tell what it can take of media under an SSRC, in bits per second, from now on.
    Limit(u32, u64),
}

/// One end of a transport.
struct Endpoint {
    /// Id of the transport.
    id: Value,
    commands: mpsc::UnboundedSender<Do>,
    messages: mpsc::UnboundedReceiver<Message>,
}

impl Endpoint {
    /// Creates a transport for a page and connects to it. A page that lies tells of another certificate than it has.
    async fn connect(page: &mut Client, consuming: bool, lies: bool) -> Self {
        let streams = json!({ "numStreams": { "OS": 1024, "MIS": 1024 } });
        let data = json!({ "producing": !consuming, "consuming": consuming, "sctpCapabilities": streams });
        let created = page.ask("createWebRtcTransport", data).await;
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let address = socket.local_addr().expect("an address");
        let mut peer = Peer::new(address, Protocol::Udp, true, Instant::now(), 0);
        let mut parameters = peer.dtls_parameters();
        if lies {
            parameters["fingerprints"][0]["value"] = json!(["AB"; 32].join(":"));
        }
        let data = json!({ "transportId": created["id"], "dtlsParameters": parameters });
        page.ask("connectWebRtcTransport", data).await;
        peer.connect(&created);
        let (commands, asked) = mpsc::unbounded_channel();
        let (heard, messages) = mpsc::unbounded_channel();
        tokio::spawn(run(peer, socket, address, asked, heard));
        Self {
            id: created["id"].clone(),
            commands,
            messages,
        }
    }

    fn tell(&self, what: Do) {
        self.commands.send(what).expect("an endpoint");
    }

    fn say(&self, stream: u16, binary: bool, bytes: &[u8]) {
        self.tell(Do::Say((stream, binary, bytes.to_vec())));
    }

    /// The next message, which is text.
    async fn hear(&mut self) -> String {
        let heard = tokio::time::timeout(LIMIT, self.messages.recv()).await;
        let (_, binary, bytes) = heard.expect("a message in time").expect("an endpoint");
        assert!(!binary);
        String::from_utf8(bytes).expect("text")
    }
}

/// Moves packets between a socket and a peer, until nobody tells it what to do.
async fn run(
    mut peer: Peer,
    socket: UdpSocket,
    address: SocketAddr,
    mut asked: mpsc::UnboundedReceiver<Do>,
    heard: mpsc::UnboundedSender<Message>,
) {
    let epoch = Instant::now();
    let now = || u64::try_from(epoch.elapsed().as_micros()).expect("a short test");
    let (mut waiting, mut speaks, mut limits) = (Vec::<Message>::new(), None, None);
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let mut buffer = vec![0; 2000];
    loop {
        let open: Vec<_> = waiting
            .extract_if(.., |(stream, ..)| peer.open.contains(stream))
            .collect();
        for (stream, binary, bytes) in open {
            assert!(peer.send_message(stream, binary, &bytes, now()), "its buffer is full");
        }
        for arrival in peer.take_output() {
            // The server may be gone.
            let _ = socket.send_to(&arrival.bytes, arrival.to).await;
        }
        for message in peer.messages.drain(..) {
            let _ = heard.send(message);
        }
        let until = peer
            .deadline()
            .map_or(20_000, |deadline| deadline.saturating_sub(now()));
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                if let Ok((length, from)) = received {
                    let (to, protocol, bytes) = (address, Protocol::Udp, buffer[..length].to_vec());
                    peer.handle(&Arrival { from, to, protocol, bytes }, now());
                }
            }
            what = asked.recv() => match what {
                None => return,
                Some(Do::Open(stream)) => peer.open_channels(&[stream]),
                Some(Do::Say(message)) => waiting.push(message),
                Some(Do::Speak(ssrc)) => {
                    peer.declare_sending(ssrc);
                    speaks = Some(ssrc);
                }
                Some(Do::Limit(ssrc, bitrate)) => {
                    peer.declare_receiving(ssrc);
                    limits = Some((ssrc, bitrate));
                }
            },
            _ = ticks.tick() => {
                if let Some(ssrc) = speaks.filter(|_| peer.connected) {
                    peer.send(ssrc, &[7; 50], now());
                }
                if let Some((ssrc, bitrate)) = limits.filter(|_| peer.connected) {
                    peer.limit(ssrc, bitrate, now());
                }
            }
            () = sleep(Duration::from_micros(until)) => peer.handle_timeout(now()),
        }
    }
}

/// A page that is in the room and hears the bot.
async fn listener(server: &demo::Server, name: &str) -> (Client, Endpoint) {
    let mut page = open(server, name).await;
    let receiving = Endpoint::connect(&mut page, true, false).await;
    page.join(name).await;
    let bot = page.told("newDataConsumer").await;
    page.answer(&bot, true).await;
    let stream = bot["data"]["sctpStreamParameters"]["streamId"]
        .as_u64()
        .expect("a stream");
    receiving.tell(Do::Open(u16::try_from(stream).expect("a stream")));
    (page, receiving)
}

#[tokio::test]
async fn the_bot_repeats_to_all_what_it_understands() {
    let server = server(1).await;
    let (mut one, mut ear) = listener(&server, "One").await;
    let (_two, mut other_ear) = listener(&server, "Two").await;
    let mouth = Endpoint::connect(&mut one, false, false).await;
    mouth.tell(Do::Open(1));
    let data = json!({
        "transportId": mouth.id, "sctpStreamParameters": { "streamId": 1, "ordered": true }, "label": "bot", "protocol": "",
    });
    one.ask("produceData", data).await;
    let greeting = "One said me: \"hello\"";
    // Until the bot listens and all channels are up, words are lost.
    for ear in [&mut ear, &mut other_ear] {
        let heard = async {
            loop {
                mouth.say(1, false, b"hello");
                if let Ok(heard) = tokio::time::timeout(Duration::from_millis(300), ear.hear()).await {
                    return heard;
                }
            }
        };
        assert_eq!(
            tokio::time::timeout(LIMIT, heard).await.expect("the bot in time"),
            greeting
        );
    }
    // Longer than it understands, not text, nothing.
    mouth.say(1, false, &[b'x'; 513]);
    mouth.say(1, true, b"bytes");
    // With as much as it understands the answer is longer than that.
    let long = "y".repeat(512);
    one.ask("changeDisplayName", json!({ "displayName": "Uno" })).await;
    mouth.say(1, false, long.as_bytes());
    mouth.say(1, false, "☃".as_bytes());
    for ear in [&mut ear, &mut other_ear] {
        let mut heard = Vec::new();
        while heard.last().is_none_or(|last| last != "Uno said me: \"☃\"") {
            heard.push(ear.hear().await);
        }
        heard.retain(|heard| !heard.ends_with("\"hello\""));
        assert_eq!(
            heard,
            [format!("Uno said me: \"{long}\""), "Uno said me: \"☃\"".to_owned()]
        );
    }
    server.close();
}

#[tokio::test]
async fn the_bot_does_not_repeat_a_flood() {
    let server = server(1).await;
    let (mut one, mut ear) = listener(&server, "One").await;
    let mouth = Endpoint::connect(&mut one, false, false).await;
    mouth.tell(Do::Open(1));
    let data = json!({
        "transportId": mouth.id, "sctpStreamParameters": { "streamId": 1, "ordered": true }, "label": "bot", "protocol": "",
    });
    one.ask("produceData", data).await;
    const FLOOD: usize = 1000;
    for index in 0..FLOOD {
        mouth.say(1, false, format!("flood {index}").as_bytes());
    }
    let mut count = 0;
    let last = async {
        loop {
            mouth.say(1, false, b"end");
            while let Ok(heard) = tokio::time::timeout(Duration::from_millis(500), ear.hear()).await {
                count += usize::from(heard.contains("flood"));
                if heard.contains("end") {
                    return;
                }
            }
        }
    };
    tokio::time::timeout(LIMIT, last).await.expect("the bot goes on");
    assert!(count < FLOOD / 2, "{count} of {FLOOD}");
    server.close();
}

#[tokio::test]
async fn scores_are_told_when_media_arrive() {
    let server = server(1).await;
    let mut one = open(&server, "one").await;
    one.join("One").await;
    let mut two = open(&server, "two").await;
    let _receiving = Endpoint::connect(&mut two, true, false).await;
    two.join("Two").await;
    let sending = Endpoint::connect(&mut one, false, false).await;
    let codec = json!({ "mimeType": "audio/opus", "payloadType": OPUS, "clockRate": 48_000, "channels": 2 });
    let parameters = json!({ "codecs": [codec], "encodings": [{ "ssrc": 77 }] });
    let data = json!({ "transportId": sending.id, "kind": "audio", "rtpParameters": parameters });
    let producer = one.ask("produce", data).await["id"].take();
    let consumer = two.take().await["id"].take();
    sending.tell(Do::Speak(77));
    let told = one.told("producerScore").await["data"].take();
    assert_eq!(
        (&told["producerId"], &told["score"][0]["ssrc"]),
        (&producer, &json!(77)),
        "{told}"
    );
    assert!(told["score"][0]["score"].as_u64() > Some(5), "{told}");
    loop {
        let told = two.told("consumerScore").await["data"].take();
        assert_eq!(told["consumerId"], consumer);
        if told["score"]["producerScore"].as_u64() > Some(5) {
            break;
        }
    }
    let stats = one.ask("getTransportStats", json!({ "transportId": sending.id })).await;
    assert_eq!(
        (&stats[0]["iceState"], &stats[0]["dtlsState"]),
        (&json!("completed"), &json!("connected")),
        "{stats}"
    );
    server.close();
}

/// A key frame of VP8, one packet long.
fn key_frame(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0x80 | 96];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 3000).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    // The descriptor: a frame begins. Then a frame that is shown and needs no other one (RFC 7741 4.2, 4.3).
    packet.extend([0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a]);
    packet.extend([7; 400]);
    packet
}

#[tokio::test]
async fn layers_and_bandwidth_are_told() {
    let server = server(1).await;
    let mut page = open(&server, "page").await;
    let receiving = Endpoint::connect(&mut page, true, false).await;
    page.join("Page").await;
    let api = Api(&server);
    api.create("source", Value::Null).await;
    let (transport, told) = api.plain("source").await;
    let codec = json!({ "mimeType": "video/VP8", "payloadType": 96, "clockRate": 90_000 });
    let layer = |ssrc: u32| json!({ "ssrc": ssrc, "scalabilityMode": "L1T1" });
    let parameters = json!({ "codecs": [codec], "encodings": [layer(10), layer(20)] });
    let wanted = json!({ "kind": "video", "rtpParameters": parameters });
    api.post(&format!("{transport}/producers"), wanted).await;
    let consumer = page.take().await;
    let ssrc = consumer["rtpParameters"]["encodings"][0]["ssrc"].as_u64();
    let ssrc = u32::try_from(ssrc.expect("an SSRC")).expect("an SSRC");
    receiving.tell(Do::Limit(ssrc, 300_000));
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let address = format!("127.0.0.1:{}", told["port"]);
    let send = async {
        for sequence in 0.. {
            let _ = socket.send_to(&key_frame(10, sequence), &address).await;
            sleep(Duration::from_millis(20)).await;
        }
    };
    let hear = async {
        let layers = page.told("consumerLayersChanged").await["data"].take();
        assert_eq!(
            (&layers["consumerId"], &layers["spatialLayer"], &layers["temporalLayer"]),
            (&consumer["id"], &json!(0), &json!(0)),
            "{layers}"
        );
        page.told("downlinkBwe").await["data"].take()
    };
    let bandwidth = tokio::select! {
        () = send => unreachable!("it sends for ever"),
        bandwidth = hear => bandwidth,
    };
    let available = bandwidth["availableBitrate"].as_u64();
    assert!(
        available > Some(0) && bandwidth["desiredBitrate"].is_u64(),
        "{bandwidth}"
    );
    assert!(bandwidth["effectiveDesiredBitrate"].is_u64(), "{bandwidth}");
    server.close();
}

#[tokio::test]
async fn a_transport_whose_handshake_fails_is_given_up_and_its_page_told() {
    let server = server(1).await;
    let mut one = open(&server, "one").await;
    one.join("One").await;
    let sending = Endpoint::connect(&mut one, false, true).await;
    let id = json!({ "transportId": sending.id });
    assert_eq!(one.told("transportClosed").await["data"], id);
    assert_eq!(one.try_ask("getTransportStats", id).await["ok"], false);
    server.close();
}
