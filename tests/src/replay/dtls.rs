//! Peers that do a DTLS handshake.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use worker::dtls::Role;

use super::Replay;
use crate::dtls_peer::DtlsPeer;
use crate::recording::{Line, is_output, text};
use crate::srtp::Encryptor;

/// Recorded milliseconds before the next action in which a handshake was over.
const HANDSHAKE: u64 = 200;
/// How long a handshake may take here.
const LIMIT: Duration = Duration::from_secs(60);

impl Replay<'_> {
    /// Starts a peer: at once if its handshake was over when the next request went out, else behind the answer to that.
    pub(super) fn dtls_peer(&mut self, line: &Line) -> anyhow::Result<()> {
        let time = |value: &Value| value["t"].as_u64().unwrap_or(0);
        let mut later = self.recording.lines.iter().filter(|other| other.number > line.number);
        let next = later.find(|other| !is_output(other.step()));
        let began = time(&line.value);
        if next.is_some_and(|next| time(&next.value) < began + HANDSHAKE) {
            self.pending_dtls = Some(line.value.clone());
            return Ok(());
        }
        self.dtls_start(&line.value)?;
        if text(&line.value, "role") == "client" {
            let at = text(&line.value, "at");
            self.session.wait(LIMIT, |state| state.keys.contains_key(at));
        }
        Ok(())
    }

    pub(super) fn dtls_start(&self, value: &Value) -> anyhow::Result<()> {
        let at = text(value, "at").to_owned();
        let role = match text(value, "role") {
            "client" => Role::Client,
            _ => Role::Server,
        };
        let socket = self.udp.get(&at).context("no such socket")?.socket();
        let destination = *self.destinations.get(&at).context("it has sent nothing")?;
        let send = move |packet: &[u8]| {
            // The transport may be gone.
            let _ = socket.send_to(packet, destination);
        };
        // The session holds the peer, so the peer must not hold the session.
        let (session, name) = (Arc::downgrade(&self.session), at.clone());
        let connected = move |keys| {
            if let Some(session) = session.upgrade() {
                session.update(|state| state.keys.insert(name.clone(), keys));
            }
        };
        // In one: an answer that comes while the peer is not known yet would be taken for one to the script.
        let former = self.session.update(|state| {
            let peer = DtlsPeer::start(role, send, connected)?;
            anyhow::Ok(state.dtls.insert(at, peer))
        })?;
        // Not under the lock, for which its thread may wait.
        drop(former);
        Ok(())
    }

    /// An RTP or RTCP packet under the keys of this handshake, if one was recorded under those of another.
    pub(super) fn protected(&mut self, value: &Value) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(plain) = value.get("plain_hex").and_then(Value::as_str) else {
            return Ok(None);
        };
        if value["ephemeral"] != json!(true) {
            return Ok(None);
        }
        let from = text(value, "from");
        self.session.wait(LIMIT, |state| state.keys.contains_key(from));
        let keys = self.session.lock().keys.get(from).cloned();
        let Some(keys) = keys else {
            // The handshake failed, which shows in what did not come.
            return Ok(Some(hex::decode(text(value, "hex"))?));
        };
        let encryptor = match self.encryptors.entry(from.to_owned()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Encryptor::new(keys.suite, &keys.local)?),
        };
        Ok(Some(encryptor.encrypt(&hex::decode(plain)?)?))
    }
}
