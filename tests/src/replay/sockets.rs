//! What a replay does with its sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::Replay;
use crate::peers::{TcpPeer, UdpPeer};
use crate::recording::text;
use crate::sequence::translate_feedback;
use crate::stun::{addressed_ufrag, rebuild};

/// Recordings in which two sockets pass on to each other's transport what they receive.
#[allow(clippy::type_complexity, reason = "a table")]
const TAPS: [(&str, [(&str, &str, &str); 2]); 1] = [(
    "46-sctp-data",
    [
        ("X", "Y", "11111111-0000-4000-8000-000000000002"),
        ("Y", "X", "11111111-0000-4000-8000-000000000001"),
    ],
)];

impl Replay<'_> {
    pub(super) fn udp_open(&mut self, value: &Value) -> anyhow::Result<()> {
        let name = text(value, "name").to_owned();
        let (session, at) = (Arc::clone(&self.session), name.clone());
        let peer = UdpPeer::open(text(value, "ip"), move |packet, port| {
            session.update(|state| state.datagram(&at, packet, port));
        })?;
        self.udp.insert(name, peer);
        for (_, taps) in TAPS.iter().filter(|(recording, _)| *recording == self.recording.name) {
            for (at, through, transport) in taps {
                if let Some(peer) = self.udp.get(*through) {
                    let tap = (peer.socket(), (*transport).to_owned());
                    self.session.update(|state| state.taps.insert((*at).to_owned(), tap));
                }
            }
        }
        Ok(())
    }

    fn address(&self, to: &str) -> anyhow::Result<SocketAddr> {
        let (transport, port) = to.split_once(' ').context("no port named")?;
        let state = self.session.lock();
        let transports = state
            .processes
            .last()
            .map(|process| &process.transports)
            .context("no process")?;
        let transport = transports.get(transport).context("unknown transport")?;
        let candidate = |protocol: &str| {
            let candidates = transport["iceCandidates"].as_array().into_iter().flatten();
            let found = candidates
                .into_iter()
                .find(|candidate| candidate["protocol"] == protocol)?;
            Some((found["ip"].as_str()?.to_owned(), found["port"].as_u64()?))
        };
        let local = |pointer: &str| {
            Some((
                "127.0.0.1".to_owned(),
                transport.pointer(pointer).and_then(Value::as_u64)?,
            ))
        };
        let address = match port {
            "rtcp" => local("/rtcpTuple/localPort"),
            "ice" => candidate("udp"),
            "ice-tcp" => candidate("tcp"),
            _ => local("/tuple/localPort"),
        };
        let (ip, port) = address.context("the transport has no such port")?;
        Ok(SocketAddr::new(ip.parse()?, u16::try_from(port)?))
    }

    pub(super) fn udp_send(&mut self, value: &Value) -> anyhow::Result<()> {
        let mut packet = self.packet(value)?;
        let from = text(value, "from");
        if value.get("rtcp").is_some() && value.get("plain_hex").is_none() {
            translate_feedback(&mut packet, Some(from), &self.recorded_numbers, &self.replayed_numbers);
        }
        self.send_from(from, text(value, "to"), &packet)
    }

    /// Sends a packet from a socket to a transport.
    pub(super) fn send_from(&mut self, from: &str, to: &str, packet: &[u8]) -> anyhow::Result<()> {
        // A transport that could not be created is reported as the difference that it is.
        if let Ok(address) = self.address(to) {
            self.udp.get(from).context("no such socket")?.send(packet, address)?;
            self.destinations.insert(from.to_owned(), address);
        }
        Ok(())
    }

    /// The recorded packet, made anew where it depends on credentials.
    fn packet(&mut self, value: &Value) -> anyhow::Result<Vec<u8>> {
        if let Some(protected) = self.protected(value)? {
            return Ok(protected);
        }
        let packet = hex::decode(text(value, "hex"))?;
        if value["ephemeral"] != json!(true) {
            return Ok(packet);
        }
        let pair = addressed_ufrag(&packet).and_then(|ufrag| self.credentials.get(&ufrag));
        let rebuilt = rebuild(
            &packet,
            pair.map(|(recorded, _)| recorded),
            pair.map(|(_, replayed)| replayed),
        );
        rebuilt.context("a packet that is not STUN cannot be made anew")
    }

    pub(super) fn tcp_connect(&mut self, value: &Value) -> anyhow::Result<()> {
        let name = text(value, "name").to_owned();
        let address = match value.get("to").and_then(Value::as_str) {
            Some(to) => self.address(to),
            None => Ok(SocketAddr::new(
                text(value, "ip").parse()?,
                u16::try_from(value["port"].as_u64().unwrap_or(0))?,
            )),
        };
        let (session, at) = (Arc::clone(&self.session), name.clone());
        let sink = move |packet: Option<&[u8]>| {
            let step = if packet.is_some() { "tcp-recv" } else { "tcp-closed" };
            session.update(|state| state.peer_line(&at, json!({ "step": step, "at": at }), packet));
        };
        if let Ok(peer) = address.and_then(|address| TcpPeer::connect(address, sink)) {
            self.tcp.insert(name, peer);
        }
        Ok(())
    }

    pub(super) fn tcp_send(&mut self, value: &Value) -> anyhow::Result<()> {
        let packet = self.packet(value)?;
        if let Some(peer) = self.tcp.get_mut(text(value, "from")) {
            // A broken connection shows in what does not come back.
            let _ = peer.send(&packet);
        }
        sleep(Duration::from_millis(20));
        Ok(())
    }
}
