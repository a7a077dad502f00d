//! Which producer a packet belongs to: by SSRC, MID or RID. Dumps call it `rtpListener`.

use std::collections::BTreeMap;

use channel_proto::reply::{Failure, RtpListenerDump};
use channel_proto::rtp_parameters::RtpParameters;
use hashbrown::HashMap;
use slotmap::SlotMap;

use super::keys::ProducerKey;
use super::producer::Producer;

/// SSRCs that one producer may teach beyond those it announced. A sender has two per encoding (media and
/// retransmission); the rest is slack for senders that change theirs.
const MAX_LEARNT_SSRCS: usize = 32;

/// Tables of a transport.
#[derive(Debug, Default)]
pub struct RtpListener {
    ssrcs: HashMap<u32, ProducerKey>,
    mids: HashMap<String, ProducerKey>,
    rids: HashMap<String, ProducerKey>,
}

impl RtpListener {
    /// Registers a producer: everything or nothing.
    ///
    /// # Errors
    /// An SSRC, the MID, or (without a MID) a RID is already taken.
    pub fn add(&mut self, key: ProducerKey, parameters: &RtpParameters) -> Result<(), Failure> {
        let result = self.try_add(key, parameters);
        if result.is_err() {
            self.remove(key);
        }
        result
    }

    fn try_add(&mut self, key: ProducerKey, parameters: &RtpParameters) -> Result<(), Failure> {
        for encoding in &parameters.encodings {
            let rtx_ssrc = encoding.rtx.and_then(|rtx| rtx.ssrc);
            for (ssrc, name) in [(encoding.ssrc, "ssrc"), (rtx_ssrc, "RTX ssrc")] {
                let Some(ssrc) = ssrc else { continue };
                if self.ssrcs.contains_key(&ssrc) {
                    return Err(Failure::error(format!(
                        "{name} already exists in RTP listener [ssrc:{ssrc}]"
                    )));
                }
                self.ssrcs.insert(ssrc, key);
            }
        }
        if let Some(mid) = &parameters.mid {
            if self.mids.contains_key(mid) {
                return Err(Failure::error(format!(
                    "MID already exists in RTP listener [mid:{mid}]"
                )));
            }
            self.mids.insert(mid.clone(), key);
        }
        for rid in parameters.encodings.iter().filter_map(|encoding| encoding.rid.as_ref()) {
            if !self.rids.contains_key(rid) {
                self.rids.insert(rid.clone(), key);
            } else if parameters.mid.is_none() {
                let reason = format!("RID already exists in RTP listener and no MID is given [rid:{rid}]");
                return Err(Failure::error(reason));
            }
        }
        Ok(())
    }

    /// Forgets a producer.
    pub fn remove(&mut self, key: ProducerKey) {
        self.ssrcs.retain(|_, producer| *producer != key);
        self.mids.retain(|_, producer| *producer != key);
        self.rids.retain(|_, producer| *producer != key);
    }

    /// Finds the producer of a packet; the second value tells that its SSRC was not known.
    pub fn find(
        &self,
        ssrc: u32,
        mid: Option<&[u8]>,
        rid: Option<&[u8]>,
        repaired_rid: Option<&[u8]>,
    ) -> Option<(ProducerKey, bool)> {
        if let Some(key) = self.ssrcs.get(&ssrc) {
            return Some((*key, false));
        }
        let by_text = |table: &HashMap<String, ProducerKey>, text: Option<&[u8]>| {
            text.and_then(|text| std::str::from_utf8(text).ok())
                .and_then(|text| table.get(text))
                .copied()
        };
        by_text(&self.mids, mid)
            .or_else(|| by_text(&self.rids, rid))
            .or_else(|| by_text(&self.rids, repaired_rid))
            .map(|key| (key, true))
    }

    /// Remembers an SSRC that the producer has accepted. Bounded, since a peer may invent them.
    pub fn learn(&mut self, ssrc: u32, key: ProducerKey) {
        if self.ssrcs.values().filter(|producer| **producer == key).count() < MAX_LEARNT_SSRCS {
            self.ssrcs.insert(ssrc, key);
        }
    }

    /// The tables as dumped.
    pub fn dump(&self, producers: &SlotMap<ProducerKey, Producer>) -> RtpListenerDump {
        let id = |key: &ProducerKey| {
            producers
                .get(*key)
                .map(|producer| producer.id.clone())
                .unwrap_or_default()
        };
        let texts = |table: &HashMap<String, ProducerKey>| {
            table
                .iter()
                .map(|(text, key)| (text.clone(), id(key)))
                .collect::<BTreeMap<_, _>>()
        };
        RtpListenerDump {
            ssrc_table: self.ssrcs.iter().map(|(ssrc, key)| (*ssrc, id(key))).collect(),
            mid_table: texts(&self.mids),
            rid_table: texts(&self.rids),
        }
    }
}
