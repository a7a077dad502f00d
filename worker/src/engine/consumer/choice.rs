//! When consumers choose layers, and what follows from their choice.

use channel_proto::rtp_parameters::ProducerType;

use super::claims::Cause;
use super::layers::Retargeted;
use super::{Consumer, KeyFrameOf};
use crate::engine::Context;
use crate::engine::decisions::Why;
use crate::engine::keys::{ConsumerKey, ProducerKey};
use crate::engine::router::Router;
use crate::engine::timers::Wake;

/// How often spatial layers are looked at for whether they carry something, in microseconds.
const SPATIAL_LAYERS_CHECK: u64 = 1_500_000;

impl Router {
    /// A consumer can send from now on: it chooses layers, and asks for what it begins with.
    pub fn consumer_started(&mut self, key: ConsumerKey, context: &mut Context<'_>) {
        if self.consumers.get(key).is_some_and(Consumer::is_layered) {
            self.choose_layers(key, Why::Started, false, None, context);
        } else {
            self.request_key_frame(key, KeyFrameOf::All, Why::Started, context);
        }
    }

    /// Lets a consumer choose layers anew. `key_frame` is the SSRC of the stream whose key frame is being processed.
    pub fn choose_layers(
        &mut self,
        key: ConsumerKey,
        why: Why,
        force: bool,
        key_frame: Option<u32>,
        context: &mut Context<'_>,
    ) {
        let Some(consumer) = self.consumers.get_mut(key) else {
            return;
        };
        let transport = consumer.transport;
        if self
            .transports
            .get(transport)
            .is_some_and(|transport| transport.outgoing.is_some())
        {
            // All consumers of the transport share what can be sent.
            let cause = Cause {
                forced: force.then_some(key),
                key_frame,
                ..Cause::of(why)
            };
            if consumer.is_layered() && consumer.active {
                self.allocate_layers(transport, &cause, context);
            }
            return;
        }
        let Some(producer) = self.producers.get_mut(consumer.producer) else {
            return;
        };
        if let Some(retargeted) = consumer.evaluate(producer, why, force, context.now) {
            self.follow_choice(key, &retargeted, why, key_frame, context);
        }
    }

    /// A consumer chose other layers: the parent learns of it if there are none, and the sender what is needed.
    pub(super) fn follow_choice(
        &mut self,
        key: ConsumerKey,
        retargeted: &Retargeted,
        why: Why,
        key_frame: Option<u32>,
        context: &mut Context<'_>,
    ) {
        let Some(consumer) = self.consumers.get(key) else {
            return;
        };
        if retargeted.stopped {
            context.outbox.notify(&consumer.id, consumer.layers_event());
        }
        let encoding = retargeted
            .key_frame
            .and_then(|spatial| consumer.encoding_of(spatial.into()));
        if let Some(encoding) = encoding {
            self.request_key_frames(key, &[encoding], why, key_frame, context);
        }
    }

    /// A stream of a producer appeared; `key_frame` is its SSRC if that was with a key frame.
    pub fn stream_appeared(&mut self, key: ProducerKey, key_frame: Option<u32>, context: &mut Context<'_>) {
        let Some(producer) = self.producers.get_mut(key) else {
            return;
        };
        if producer.producer_type == ProducerType::Svc {
            let now = context.now;
            producer
                .streams_mut()
                .for_each(|stream| stream.known_spatial_layers = stream.active_spatial_layers(now));
            context
                .timers
                .wake_at(now + SPATIAL_LAYERS_CHECK, Wake::SpatialLayers(self.key, key));
        }
        self.tell_consumers(key, Why::NewStream, key_frame, context);
    }

    /// Looks now and then which spatial layers of a producer carry something.
    pub fn check_spatial_layers_again(&mut self, key: ProducerKey, context: &mut Context<'_>) {
        if self.producers.contains_key(key) {
            let at = context.now + SPATIAL_LAYERS_CHECK;
            context.timers.wake_at(at, Wake::SpatialLayers(self.key, key));
            self.check_spatial_layers(key, context);
        }
    }

    /// Looks which spatial layers of a producer carry something; what changed concerns its consumers.
    pub fn check_spatial_layers(&mut self, key: ProducerKey, context: &mut Context<'_>) {
        let now = context.now;
        let Some(producer) = self.producers.get_mut(key) else {
            return;
        };
        let mut changed = false;
        for stream in producer.streams_mut() {
            let layers = stream.active_spatial_layers(now);
            changed |= std::mem::replace(&mut stream.known_spatial_layers, layers) != layers;
        }
        if changed && !producer.paused {
            for consumer in producer.consumers.clone() {
                self.choose_layers(consumer, Why::SpatialLayers, false, None, context);
            }
        }
    }

    /// Consumers of a producer learn scores, and those with layers choose anew.
    fn tell_consumers(&mut self, key: ProducerKey, why: Why, key_frame: Option<u32>, context: &mut Context<'_>) {
        let Some(producer) = self.producers.get(key) else {
            return;
        };
        for consumer_key in producer.consumers.clone() {
            if let (Some(consumer), Some(producer)) = (self.consumers.get(consumer_key), self.producers.get(key))
                && !consumer.is_pipe()
            {
                context.outbox.notify(&consumer.id, consumer.score_event(producer));
            }
            self.choose_layers(consumer_key, why, false, key_frame, context);
        }
    }

    /// The clock of a producer's stream became known: timestamps of it can be converted.
    pub fn clock_known(&mut self, key: ProducerKey, context: &mut Context<'_>) {
        let Some(producer) = self.producers.get(key) else {
            return;
        };
        for consumer in producer.consumers.clone() {
            self.choose_layers(consumer, Why::Clock, false, None, context);
        }
    }

    /// The score of a producer's stream changed: consumers learn it first.
    pub fn score_changed(&mut self, key: ProducerKey, context: &mut Context<'_>) {
        self.tell_consumers(key, Why::Score, None, context);
        if let Some(producer) = self.producers.get(key) {
            context.outbox.notify(&producer.id, producer.score_event());
        }
    }
}
