//! What consumers tell about themselves when asked, and what they note for that.

use channel_proto::reply::{ConsumerDump, ConsumerLayersDump};

use super::decisions::Inputs;
use super::layers::{Layers, numbers};
use super::{Consumer, Policy, facts};
use crate::engine::decisions::{What, Why};
use crate::engine::producer::Producer;
use crate::rtp::send_stream::SendStream;

/// Layers of a consumer that chooses among them.
struct Chosen {
    preferred: Layers,
    target: Option<Layers>,
    current: Option<Layers>,
}

impl Consumer {
    /// Keeps a decision for dumps, and writes it to the log.
    pub fn note(&mut self, what: What, why: Why, producer: Option<&Producer>, now: u64) {
        if self.decisions.repeats(what, why, now) {
            return;
        }
        let layers = self.chosen();
        let inputs = Inputs {
            preferred: layers.as_ref().map(|layers| layers.preferred),
            target: layers.as_ref().and_then(|layers| layers.target),
            current: layers.as_ref().and_then(|layers| layers.current),
            ..Inputs::default()
        };
        let encodings = &self.encodings;
        let inputs = inputs.with_streams(|stream| facts(producer?, encodings, stream));
        let svc = matches!(self.policy, Policy::Svc(_));
        self.decisions.add(what, why, inputs, now).log(&self.id, svc);
    }

    fn chosen(&self) -> Option<Chosen> {
        let (preferred, target) = match &self.policy {
            Policy::Simulcast(simulcast) => (simulcast.preferred(), simulcast.target()),
            Policy::Svc(svc) => (svc.preferred(), svc.target()),
            Policy::Simple(_) | Policy::Pipe(_) => return None,
        };
        let current = self.current_layers();
        Some(Chosen {
            preferred,
            target,
            current,
        })
    }

    /// As dumped.
    pub fn dump(&self) -> ConsumerDump {
        let mut streams = self.streams.iter().map(SendStream::dump);
        let (rtp_stream, rtp_streams) = if self.is_pipe() {
            (None, Some(streams.collect()))
        } else {
            (streams.next(), None)
        };
        ConsumerDump {
            id: self.id.clone(),
            producer_id: self.producer_id.clone(),
            kind: self.kind,
            rtp_parameters: self.rtp_parameters.clone(),
            consumer_type: self.consumer_type,
            consumable_rtp_encodings: self.consumable_rtp_encodings.clone(),
            supported_codec_payload_types: self.payload_types.to_vec(),
            paused: self.paused,
            producer_paused: self.producer_paused,
            priority: self.priority,
            trace_event_types: self.trace.dump(),
            rtp_stream,
            rtp_streams,
            layers: self.layers_dump(),
            decisions: self.decisions.dump(),
        }
    }

    fn layers_dump(&self) -> Option<ConsumerLayersDump> {
        let chosen = self.chosen()?;
        let (preferred_spatial_layer, preferred_temporal_layer) = numbers(Some(chosen.preferred));
        let (target_spatial_layer, target_temporal_layer) = numbers(chosen.target);
        let (current_spatial_layer, current_temporal_layer) = numbers(chosen.current);
        Some(ConsumerLayersDump {
            preferred_spatial_layer,
            target_spatial_layer,
            current_spatial_layer,
            preferred_temporal_layer,
            target_temporal_layer,
            current_temporal_layer,
        })
    }
}
