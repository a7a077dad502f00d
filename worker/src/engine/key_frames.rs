//! Who asks for key frames, and how senders are asked.

use channel_proto::event::TraceDirection;
use channel_proto::rtp_parameters::MediaKind;

use super::Context;
use super::consumer::KeyFrameOf;
use super::decisions::{What, Why};
use super::keys::{ConsumerKey, ProducerKey};
use super::router::Router;
use super::timers::Wake;
use crate::rtcp;

impl Router {
    /// A consumer needs a key frame of its producer.
    pub fn request_key_frame(&mut self, key: ConsumerKey, of: KeyFrameOf, why: Why, context: &mut Context<'_>) {
        let Some(consumer) = self
            .consumers
            .get(key)
            .filter(|consumer| consumer.kind() == MediaKind::Video)
        else {
            return;
        };
        let encodings = consumer.key_frame_encodings(of);
        self.request_key_frames(key, &encodings, why, None, context);
    }

    /// A consumer needs key frames of these encodings of its producer. Nothing is asked for while a key frame of that
    /// SSRC is processed.
    pub(super) fn request_key_frames(
        &mut self,
        key: ConsumerKey,
        encodings: &[usize],
        why: Why,
        processed: Option<u32>,
        context: &mut Context<'_>,
    ) {
        let Some(producer_key) = self.consumers.get(key).map(|consumer| consumer.producer) else {
            return;
        };
        for encoding in encodings {
            let Some(producer) = self.producers.get_mut(producer_key) else {
                return;
            };
            if producer.paused || producer.kind != MediaKind::Video {
                return;
            }
            let ssrc = producer.stream(*encoding).map(|stream| stream.params.ssrc);
            let sent =
                ssrc.is_some_and(|ssrc| processed != Some(ssrc) && producer.key_frames.needed(ssrc, context.now));
            // Whoever watched what the sender turned off sees nothing until then, and a lost request is repeated after a
            // second only. Senders take two at a time for one.
            let doubted = matches!(why, Why::Score | Why::SpatialLayers) && producer.loses_much();
            let producer = self.producers.get(producer_key);
            if let Some(consumer) = self.consumers.get_mut(key) {
                let encoding_idx = *encoding as u16;
                consumer.note(What::KeyFrameRequest { encoding_idx, sent }, why, producer, context.now);
            }
            if let Some(ssrc) = ssrc.filter(|_| sent) {
                for _ in 0..1 + u8::from(doubted) {
                    self.send_key_frame_request(producer_key, ssrc, context);
                }
            }
        }
        self.plan_key_frame_requests(producer_key, context);
    }

    /// Asks the peer of a producer for a key frame: by PLI if it knows that, else by FIR.
    pub(super) fn send_key_frame_request(&mut self, key: ProducerKey, ssrc: u32, context: &mut Context<'_>) {
        let Some(producer) = self.producers.get_mut(key) else {
            return;
        };
        let transport = producer.transport;
        let mut request = Vec::with_capacity(20);
        let Some(stream) = producer.stream_by_ssrc(ssrc) else {
            return;
        };
        let kind = if stream.params.use_pli {
            stream.pli_count += 1;
            rtcp::picture_loss_indication(&mut request, ssrc);
            "pli"
        } else if stream.params.use_fir {
            stream.fir_count += 1;
            stream.fir_sequence = stream.fir_sequence.wrapping_add(1);
            rtcp::full_intra_request(&mut request, ssrc, stream.fir_sequence);
            "fir"
        } else {
            return;
        };
        if let Some(event) = producer.trace.request(kind, ssrc, TraceDirection::Out, context.now) {
            context.outbox.notify(&producer.id, event);
        }
        if let Some(transport) = self.transports.get_mut(transport) {
            transport.send_rtcp(&request, context.now, context.outbox);
        }
    }

    pub(super) fn plan_key_frame_requests(&mut self, key: ProducerKey, context: &mut Context<'_>) {
        let Some(producer) = self.producers.get_mut(key) else {
            return;
        };
        if let Some(at) = producer.key_frames.next_deadline()
            && producer.key_frame_wake.is_none_or(|planned| planned > at)
        {
            producer.key_frame_wake = Some(at);
            context.timers.wake_at(at, Wake::KeyFrameRequests(self.key, key));
        }
    }

    /// Repeats key frame requests that were not answered.
    pub fn repeat_key_frame_requests(&mut self, key: ProducerKey, context: &mut Context<'_>) {
        let Some(producer) = self.producers.get_mut(key) else {
            return;
        };
        producer.key_frame_wake = None;
        let mut due = Vec::new();
        producer.key_frames.on_timeout(context.now, &mut |ssrc| due.push(ssrc));
        if !producer.paused {
            for ssrc in due {
                self.send_key_frame_request(key, ssrc, context);
            }
        }
        self.plan_key_frame_requests(key, context);
    }
}
