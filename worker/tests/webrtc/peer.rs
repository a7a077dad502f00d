//! A peer with DTLS and SRTP, made of the worker's own protocol modules; those have tests of their own against others.

use std::net::SocketAddr;
use std::rc::Rc;

use serde_json::{Value, json};
use worker::dtls::{Association, Certificate, Event, Role};
use worker::engine::ports::SocketId;
use worker::srtp::{SrtpReceiver, SrtpSender};

use crate::world::{Transport, World, internal};

/// Payload type of what peers send.
pub const SENT: u8 = 111;
/// Payload type of what peers get.
pub const FORWARDED: u8 = 100;

/// Somebody at the other end of a transport.
pub struct Peer {
    /// Its transport.
    pub id: String,
    /// The worker's socket or connection.
    pub socket: SocketId,
    /// Its address.
    pub address: SocketAddr,
    /// ICE credentials.
    pub transport: Transport,
    certificate: Rc<Certificate>,
    association: Option<Association>,
    /// Protects what it sends, once connected.
    pub sender: Option<SrtpSender>,
    /// Reads what it gets, once connected.
    pub receiver: Option<SrtpReceiver>,
    /// Whether the worker has ended DTLS, or it has failed.
    pub ended: bool,
}

impl Peer {
    /// A peer of a new transport, that has not spoken.
    pub fn new(world: &mut World, id: &str, socket: u32, address: SocketAddr) -> Self {
        let transport = world.transport(id, json!({}));
        Self {
            id: id.to_owned(),
            socket: SocketId(socket),
            address,
            transport,
            certificate: Rc::new(Certificate::generate().unwrap()),
            association: None,
            sender: None,
            receiver: None,
            ended: false,
        }
    }

    /// A peer of a new transport, all connected.
    pub fn connected(world: &mut World, id: &str, socket: u32, address: SocketAddr) -> Self {
        let mut peer = Self::new(world, id, socket, address);
        peer.check(world);
        peer.tell_parent(world, "client");
        peer.handshake(world, Role::Client);
        assert!(peer.sender.is_some());
        assert_eq!(world.dump(id)["dtlsState"], "connected");
        world.told.clear();
        peer
    }

    /// Sends a check that chooses its path.
    pub fn check(&self, world: &mut World) {
        world.receive(self.socket, self.address, &self.transport.nominate());
        world.network.sent.clear();
    }

    /// What the parent is to say about it: role and fingerprint.
    pub fn dtls_parameters(&self, role: &str) -> Value {
        let fingerprints = serde_json::to_value(self.certificate.fingerprints()).unwrap();
        let sha256 = fingerprints.as_array().unwrap().iter();
        let sha256: Vec<_> = sha256.filter(|one| one["algorithm"] == "sha-256").collect();
        json!({"dtlsParameters": {"role": role, "fingerprints": sha256}})
    }

    /// The parent says so.
    pub fn tell_parent(&self, world: &mut World, role: &str) {
        world.request("transport.connect", internal(&self.id), self.dtls_parameters(role));
    }

    /// Starts DTLS in this role.
    pub fn start(&mut self, world: &World, role: Role) {
        self.association = Some(Association::new(Rc::clone(&self.certificate), role, world.now));
    }

    /// Starts DTLS in this role and goes on with it for as long as either side speaks.
    pub fn handshake(&mut self, world: &mut World, role: Role) {
        self.start(world, role);
        self.converse(world);
    }

    /// Exchanges DTLS packets for as long as either side speaks.
    pub fn converse(&mut self, world: &mut World) {
        loop {
            let association = self.association.as_mut().unwrap();
            let packets: Vec<_> = std::iter::from_fn(|| association.poll_output()).collect();
            while let Some(event) = association.poll_event() {
                match event {
                    Event::Connected(connected) => {
                        self.sender = Some(SrtpSender::new(connected.suite, connected.local_key.as_ref()).unwrap());
                        self.receiver =
                            Some(SrtpReceiver::new(connected.suite, connected.remote_key.as_ref()).unwrap());
                    }
                    Event::Closed | Event::Failed => self.ended = true,
                    Event::Data(_) => {}
                }
            }
            for packet in &packets {
                world.receive_kept(self.socket, self.address, packet);
            }
            let answers = world.sent_to(self.address);
            if packets.is_empty() && answers.is_empty() {
                return;
            }
            let association = self.association.as_mut().unwrap();
            answers.iter().for_each(|answer| association.handle(answer, world.now));
        }
    }

    /// Ends DTLS.
    pub fn close(&mut self, world: &mut World) {
        self.association.as_mut().unwrap().close(world.now);
        self.converse(world);
    }

    /// An RTP packet of `payload` bytes, protected.
    pub fn rtp(&mut self, ssrc: u32, sequence: u16, payload: usize) -> Vec<u8> {
        let mut packet = rtp(SENT, ssrc, sequence, payload);
        self.sender.as_mut().unwrap().protect_rtp(&mut packet, 0, 12).unwrap();
        packet
    }

    /// A receiver report without blocks, protected.
    pub fn report(&mut self) -> Vec<u8> {
        let mut packet = vec![0x80, 201, 0, 1, 0, 0, 0, 9];
        self.sender.as_mut().unwrap().protect_rtcp(&mut packet, 0).unwrap();
        packet
    }

    /// Produces audio with this SSRC.
    pub fn produce(&self, world: &mut World, ssrc: u32) {
        let mut internal = internal(&self.id);
        internal["producerId"] = format!("p{ssrc}").into();
        let produce = json!({"kind": "audio", "rtpParameters": {"codecs": opus(SENT), "encodings": [{"ssrc": ssrc}]},
            "rtpMapping": {"codecs": [{"payloadType": SENT, "mappedPayloadType": FORWARDED}],
                "encodings": [{"ssrc": ssrc, "mappedSsrc": ssrc}]}});
        world.request("transport.produce", internal, produce);
    }

    /// Consumes what is produced with this SSRC, as another.
    pub fn consume(&self, world: &mut World, ssrc: u32, as_ssrc: u32) {
        let mut internal = internal(&self.id);
        internal["producerId"] = format!("p{ssrc}").into();
        internal["consumerId"] = format!("c{as_ssrc}").into();
        let consume = json!({"kind": "audio", "type": "simple", "consumableRtpEncodings": [{"ssrc": ssrc}],
            "rtpParameters": {"codecs": opus(FORWARDED), "encodings": [{"ssrc": as_ssrc}]}});
        world.request("transport.consume", internal, consume);
    }

    /// Payload type, SSRC and payload of the RTP packets among these, decrypted.
    pub fn read(&mut self, packets: Vec<Vec<u8>>) -> Vec<(u8, u32, usize)> {
        let receiver = self.receiver.as_mut().unwrap();
        let mut read = Vec::new();
        for mut packet in packets {
            if (200..=213).contains(&packet[1]) {
                receiver.unprotect_rtcp(&mut packet).unwrap();
                continue;
            }
            let header = worker::rtp::packet::RtpHeader::parse_encrypted(&packet).unwrap();
            let length = receiver.unprotect_rtp(&mut packet, header.payload_offset).unwrap();
            read.push((header.payload_type, header.ssrc, length - header.payload_offset));
        }
        read
    }
}

fn opus(payload_type: u8) -> Value {
    json!([{"mimeType": "audio/opus", "payloadType": payload_type, "clockRate": 48000}])
}

/// An RTP packet without extensions.
pub fn rtp(payload_type: u8, ssrc: u32, sequence: u16, payload: usize) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&(u32::from(sequence) * 960).to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.resize(12 + payload, 7);
    packet
}
