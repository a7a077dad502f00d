//! A WebRtcServer: sockets that WebRTC transports of all routers share.
//!
//! A packet finds its transport by the user fragment that a check addresses, or by the path it came on, which an
//! authentic check has opened. Both tables are keyed by what peers choose, so they hash with a secret.

use std::collections::{BTreeMap, HashMap};

use channel_proto::command::CreateWebRtcTransport;
use channel_proto::reply::{BoundAddress, Failure, TupleOwner, UsernameFragmentOwner, WebRtcServerDump};
use channel_proto::transport_parameters::{IceCandidate, ListenInfo, Protocol};

use super::keys::{RouterKey, ServerKey, TransportKey};
use super::ports::Ports;
use super::sockets::{Owner, Sockets};
use super::transport::webrtc::Listener;
use crate::ice::{Agent, Tuple, stun};

/// A transport of any router.
type Key = (RouterKey, TransportKey);

/// How long a path stays with the transport that was checked there last, in microseconds; peers check more often.
///
/// Otherwise whoever forges the source address of a check for a session of their own could take another's media away.
const TAKEOVER: u64 = 8_000_000;

/// Whom the packets of a path are for.
#[derive(Debug)]
struct User {
    transport: Key,
    /// When it was last checked there.
    checked: u64,
}

/// Sockets that WebRTC transports share.
#[derive(Debug)]
pub struct WebRtcServer {
    id: String,
    listeners: Vec<Listener>,
    transports: BTreeMap<Key, String>,
    fragments: HashMap<String, Key>,
    tuples: HashMap<Tuple, User>,
}

impl WebRtcServer {
    /// Opens the sockets.
    ///
    /// # Errors
    /// `Error` if one cannot be opened; none stays open then.
    pub fn open(id: String, infos: &[ListenInfo], ports: &mut dyn Ports) -> Result<Self, Failure> {
        let mut listeners: Vec<Listener> = Vec::with_capacity(infos.len());
        for info in infos {
            let announced_ip = info.announced_ip.clone();
            match Listener::open(info.protocol, info.ip, info.port, announced_ip, ports) {
                Ok(listener) => listeners.push(listener),
                Err(error) => {
                    listeners.iter().for_each(|listener| ports.close(listener.socket));
                    return Err(error);
                }
            }
        }
        Ok(Self {
            id,
            listeners,
            transports: BTreeMap::new(),
            fragments: HashMap::new(),
            tuples: HashMap::new(),
        })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Makes its sockets known.
    pub fn register_sockets(&self, key: ServerKey, sockets: &mut Sockets) {
        for listener in &self.listeners {
            listener.register(Owner::Server(key), sockets);
        }
    }

    /// Closes its sockets.
    pub fn close(&self, sockets: &mut Sockets, ports: &mut dyn Ports) {
        for listener in &self.listeners {
            sockets.close(listener.socket, ports);
        }
    }

    /// Candidates of a transport with these options.
    pub fn candidates(&self, options: &CreateWebRtcTransport) -> Vec<IceCandidate> {
        let listeners = self.listeners.iter().enumerate();
        listeners
            .filter(|(_, listener)| match listener.protocol {
                Protocol::Udp => options.enable_udp,
                Protocol::Tcp => options.enable_tcp,
            })
            .map(|(index, listener)| listener.candidate(index, options))
            .collect()
    }

    /// Its transports.
    pub fn transports(&self) -> Vec<Key> {
        self.transports.keys().copied().collect()
    }

    /// A transport uses it from now on.
    pub fn add_transport(&mut self, key: Key, id: &str, agent: &Agent) {
        self.transports.insert(key, id.to_owned());
        self.add_fragment(key, agent.credentials().fragment());
    }

    /// A transport uses it no more.
    pub fn remove_transport(&mut self, key: Key, agent: &Agent) {
        self.transports.remove(&key);
        agent.fragments().for_each(|fragment| self.remove_fragment(fragment));
        agent.tuples().for_each(|tuple| self.remove_tuple(key, &tuple));
    }

    /// Checks with this user fragment are for this transport.
    pub fn add_fragment(&mut self, key: Key, fragment: &str) {
        self.fragments.insert(fragment.to_owned(), key);
    }

    /// Checks with this user fragment are for nobody.
    pub fn remove_fragment(&mut self, fragment: &str) {
        self.fragments.remove(fragment);
    }

    /// An authentic check came on this path: its packets are for this transport, if not another is checked there.
    pub fn claim_tuple(&mut self, transport: Key, tuple: Tuple, now: u64) {
        let user = self.tuples.entry(tuple).or_insert(User {
            transport,
            checked: now,
        });
        if user.transport == transport || now.saturating_sub(user.checked) >= TAKEOVER {
            *user = User {
                transport,
                checked: now,
            };
        }
    }

    /// Packets of this path are not for this transport any more.
    pub fn remove_tuple(&mut self, key: Key, tuple: &Tuple) {
        if self.tuples.get(tuple).is_some_and(|user| user.transport == key) {
            self.tuples.remove(tuple);
        }
    }

    /// Whom a packet is for. A check is for whom it addresses, even if somebody else uses its path so far.
    pub fn find(&self, packet: &[u8], tuple: &Tuple) -> Option<Key> {
        let addressed = if stun::is_stun(packet) {
            stun::addressed_fragment(packet).and_then(|fragment| self.fragments.get(fragment))
        } else {
            None
        };
        addressed.copied().or_else(|| self.user(tuple))
    }

    /// Whom the packets of this path are for.
    pub fn user(&self, tuple: &Tuple) -> Option<Key> {
        self.tuples.get(tuple).map(|user| user.transport)
    }

    /// As dumped.
    pub fn dump(&self) -> WebRtcServerDump {
        let bound = |protocol: Protocol| {
            let listeners = self.listeners.iter().filter(|listener| listener.protocol == protocol);
            let address = |listener: &Listener| BoundAddress {
                ip: listener.address.ip(),
                port: listener.address.port(),
            };
            listeners.map(address).collect()
        };
        let id = |key: &Key| self.transports.get(key).cloned().unwrap_or_default();
        let mut fragments: Vec<_> = self
            .fragments
            .iter()
            .map(|(fragment, key)| UsernameFragmentOwner {
                local_ice_username_fragment: fragment.clone(),
                web_rtc_transport_id: id(key),
            })
            .collect();
        fragments.sort_by(|one, other| one.local_ice_username_fragment.cmp(&other.local_ice_username_fragment));
        let mut tuples: Vec<_> = self
            .tuples
            .iter()
            .map(|(tuple, user)| TupleOwner {
                tuple_hash: tuple_number(tuple),
                web_rtc_transport_id: id(&user.transport),
            })
            .collect();
        tuples.sort_by(|one, other| {
            (one.tuple_hash, &one.web_rtc_transport_id).cmp(&(other.tuple_hash, &other.web_rtc_transport_id))
        });
        WebRtcServerDump {
            id: self.id.clone(),
            udp_sockets: bound(Protocol::Udp),
            tcp_servers: bound(Protocol::Tcp),
            web_rtc_transport_ids: self.transports.values().cloned().collect(),
            local_ice_username_fragments: fragments,
            tuple_hashes: tuples,
        }
    }
}

/// The number that stands for a path in dumps: port, address, IPv6 and TCP. For people to look at; nothing relies on
/// its being unique.
fn tuple_number(tuple: &Tuple) -> u64 {
    let (address, v6) = match tuple.remote.ip() {
        std::net::IpAddr::V4(ip) => (ip.to_bits(), 0),
        std::net::IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            let folded = [bits, bits >> 32, bits >> 64, bits >> 96].map(|part| part as u32);
            (folded.into_iter().fold(0, |sum, part| sum ^ part), 2)
        }
    };
    let tcp = u64::from(tuple.protocol == Protocol::Tcp);
    (u64::from(tuple.remote.port()) << 48) | (u64::from(address) << 16) | v6 | tcp
}
