//! What every transport is and does.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use channel_proto::command::{Command, Consume, Produce, Target};
use channel_proto::event::{PayloadEvent, RemoteRtcpTuple, RemoteTuple, SctpStateChange};
use channel_proto::reply::{Consumed, ConsumerScore, Produced, SctpDump};
use channel_proto::rtp_parameters::{ConsumerType, ProducerType, RtpEncodingParameters};
use channel_proto::transport_parameters::{SctpParameters, SctpState};

use super::pipe::PipeState;
use super::plain::PlainState;
use super::sctp::StreamIds;
use super::webrtc::WebRtcState;
use crate::app_data::AppData;
use crate::channel::{Link, Message, Reply};
use crate::error::{Error, Result};
use crate::events::{CloseReason, Emitter, TransportEvent};
use crate::hooks::EndHooks;
use crate::router::{Parts, RouterInner};
use crate::sync::Lock;
use crate::{Consumer, ConsumerOptions, Producer, ProducerOptions, consumer, new_id, ortc, producer};
use crate::{DataConsumer, DataProducer};

/// MIDs are counted up to here.
const MIDS: u32 = 100_000_000;

/// The part of a transport that does not depend on its kind, and the state of its kind.
pub struct Core {
    pub(crate) id: String,
    pub(crate) target: Target,
    pub(crate) link: Link,
    pub(crate) app_data: AppData,
    pub(crate) events: Emitter<TransportEvent>,
    pub(crate) kind: Kind,
    pub(crate) sctp_parameters: Option<SctpParameters>,
    /// Largest data message in bytes.
    pub(crate) max_message_size: u64,
    end: EndHooks,
    router: Weak<RouterInner>,
    state: Lock<State>,
}

pub(crate) enum Kind {
    WebRtc(Arc<Lock<WebRtcState>>),
    Pipe(Arc<Lock<PipeState>>),
    Plain(Arc<Lock<PlainState>>),
    Direct,
}

#[derive(Default)]
struct State {
    closed: bool,
    producers: HashMap<String, Producer>,
    consumers: HashMap<String, Consumer>,
    data_producers: HashMap<String, DataProducer>,
    data_consumers: HashMap<String, DataConsumer>,
    sctp_state: Option<SctpState>,
    stream_ids: StreamIds,
    /// All producers of a transport share the CNAME of the first.
    cname: Option<String>,
    next_mid: u32,
}

impl Core {
    pub(crate) fn new(
        parts: Parts,
        kind: Kind,
        sctp: Option<SctpDump>,
        max_message_size: u64,
        app_data: AppData,
    ) -> Arc<Self> {
        let Parts {
            id,
            target,
            link,
            router,
        } = parts;
        let sctp_parameters = sctp.as_ref().map(|sctp| sctp.sctp_parameters);
        let state = State {
            sctp_state: sctp.map(|sctp| sctp.sctp_state),
            stream_ids: StreamIds::new(sctp_parameters.map_or(0, |parameters| parameters.mis)),
            ..State::default()
        };
        Arc::new(Self {
            id,
            target,
            link,
            app_data,
            events: Emitter::new(),
            kind,
            sctp_parameters,
            max_message_size,
            end: EndHooks::new(),
            router,
            state: Lock::new(state),
        })
    }

    /// Lets messages of the worker in.
    pub(crate) fn listen(core: &Arc<Self>) {
        let weak = Arc::downgrade(core);
        core.link.subscribe(&core.target, move |message| {
            if let Some(core) = weak.upgrade() {
                core.on_message(message);
            }
        });
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_closed() {
            Err(Error::closed("transport"))
        } else {
            Ok(())
        }
    }

    pub(crate) fn producers(&self) -> Vec<Producer> {
        self.state.lock().producers.values().cloned().collect()
    }

    pub(crate) fn consumers(&self) -> Vec<Consumer> {
        self.state.lock().consumers.values().cloned().collect()
    }

    pub(crate) fn data_producers(&self) -> Vec<DataProducer> {
        self.state.lock().data_producers.values().cloned().collect()
    }

    pub(crate) fn data_consumers(&self) -> Vec<DataConsumer> {
        self.state.lock().data_consumers.values().cloned().collect()
    }

    pub(crate) fn sctp_state(&self) -> Option<SctpState> {
        self.state.lock().sctp_state
    }

    /// Does something when it ends; at once if it has ended.
    pub(crate) fn on_end(&self, hook: impl FnOnce() + Send + 'static) {
        self.end.add(hook);
    }

    pub(crate) async fn request<T: Send + 'static>(
        &self,
        command: Command,
        apply: impl FnOnce(Reply) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.check_open()?;
        self.link.request(self.target.clone(), command, apply).await
    }

    pub(crate) async fn set_bitrate(&self, command: Command) -> Result<()> {
        match self.kind {
            Kind::Direct => Err(Error::Unsupported(
                "direct transports have no bitrate to limit".to_owned(),
            )),
            _ => self.request(command, |_| Ok(())).await,
        }
    }

    pub(crate) fn end(&self, reason: CloseReason) {
        let (producers, consumers, data_producers, data_consumers) = {
            let mut state = self.state.lock();
            if std::mem::replace(&mut state.closed, true) {
                return;
            }
            state.sctp_state = state.sctp_state.map(|_| SctpState::Closed);
            (
                std::mem::take(&mut state.producers),
                std::mem::take(&mut state.consumers),
                std::mem::take(&mut state.data_producers),
                std::mem::take(&mut state.data_consumers),
            )
        };
        if let Kind::WebRtc(web_rtc) = &self.kind {
            web_rtc.lock().close();
        }
        self.link.unsubscribe(&self.target);
        // None of them may take what the worker is about to tell for an end of its own.
        producers
            .values()
            .map(Producer::target)
            .chain(consumers.values().map(Consumer::target))
            .chain(data_producers.values().map(DataProducer::target))
            .chain(data_consumers.values().map(DataConsumer::target))
            .for_each(|target| self.link.unsubscribe(target));
        if reason == CloseReason::Requested {
            self.link.post(self.target.clone(), Command::TransportClose);
        }
        let gone = CloseReason::TransportClosed;
        producers.into_values().for_each(|producer| producer.end(gone));
        consumers.into_values().for_each(|consumer| consumer.end(gone));
        data_producers.into_values().for_each(|producer| producer.end(gone));
        data_consumers.into_values().for_each(|consumer| consumer.end(gone));
        if let Some(router) = self.router.upgrade() {
            router.forget_transport(&self.id);
        }
        self.events.close(TransportEvent::Closed(reason));
        self.end.run();
    }

    pub(crate) fn forget_producer(&self, id: &str) {
        self.state.lock().producers.remove(id);
        if let Some(router) = self.router.upgrade() {
            router.forget_producer(id);
        }
    }

    pub(crate) fn forget_consumer(&self, id: &str) {
        self.state.lock().consumers.remove(id);
    }

    pub(crate) fn has_data_producer(&self, id: &str) -> bool {
        self.state.lock().data_producers.contains_key(id)
    }

    pub(crate) fn add_data_producer(&self, producer: &DataProducer, router: &RouterInner) -> Result<()> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Error::closed("transport"));
        }
        state.data_producers.insert(producer.id().to_owned(), producer.clone());
        router.add_data_producer(producer);
        Ok(())
    }

    pub(crate) fn forget_data_producer(&self, id: &str) {
        self.state.lock().data_producers.remove(id);
        if let Some(router) = self.router.upgrade() {
            router.forget_data_producer(id);
        }
    }

    pub(crate) fn add_data_consumer(&self, consumer: &DataConsumer) -> Result<()> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Error::closed("transport"));
        }
        state.data_consumers.insert(consumer.id().to_owned(), consumer.clone());
        Ok(())
    }

    pub(crate) fn forget_data_consumer(&self, id: &str) {
        let mut state = self.state.lock();
        let consumer = state.data_consumers.remove(id);
        if let Some(stream) = consumer.and_then(|consumer| consumer.sctp_stream_parameters()) {
            state.stream_ids.give_back(stream.stream_id);
        }
    }

    pub(crate) fn take_stream(&self) -> Result<u16> {
        self.state.lock().stream_ids.take()
    }

    pub(crate) fn give_back_stream(&self, id: u16) {
        self.state.lock().stream_ids.give_back(id);
    }

    pub(crate) fn router(&self) -> Result<Arc<RouterInner>> {
        self.check_open()?;
        self.router.upgrade().ok_or_else(|| Error::closed("router"))
    }

    pub(crate) async fn produce(core: &Arc<Self>, options: ProducerOptions) -> Result<Producer> {
        let ProducerOptions {
            id,
            kind,
            rtp_parameters,
            paused,
            key_frame_request_delay,
            app_data,
        } = options;
        let router = core.router()?;
        let id = id.unwrap_or_else(new_id);
        if core.state.lock().producers.contains_key(&id) {
            return Err(Error::Type(format!("a producer with id {id:?} exists already")));
        }
        let mut parameters = ortc::normalize_parameters(&rtp_parameters)?;
        for codec in &parameters.codecs {
            if ortc::kind_of(&codec.mime_type)? != kind {
                return Err(Error::Type(format!(
                    "{} in a producer of kind {kind:?}",
                    codec.mime_type
                )));
            }
        }
        if parameters.encodings.is_empty() {
            parameters.encodings.push(RtpEncodingParameters::default());
        }
        if let Some(rtcp) = &mut parameters.rtcp
            && !matches!(core.kind, Kind::Pipe(_))
        {
            rtcp.cname = Some(core.cname(rtcp.cname.take()));
        }
        let count = parameters.encodings.len();
        let first_ssrc = draw_ssrc(|ssrc| router.uses_ssrcs(ssrc, count));
        let rtp_mapping = ortc::producer_mapping(&mut parameters, router.rtp_capabilities(), first_ssrc)?;
        let consumable = ortc::consumable_parameters(kind, &parameters, router.rtp_capabilities(), &rtp_mapping);

        let target = Target {
            producer_id: Some(id.clone()),
            ..core.target.clone()
        };
        let command = Command::TransportProduce(Ok(Produce {
            kind,
            rtp_parameters: parameters.clone(),
            rtp_mapping,
            key_frame_request_delay,
            paused,
        }));
        let core = Arc::clone(core);
        let (link, new_target) = (core.link.clone(), target.clone());
        link.create(new_target, command, Command::ProducerClose, move |reply| {
            let parts = producer::Parts {
                id,
                kind,
                producer_type: reply.parse::<Produced>()?.producer_type,
                rtp_parameters: parameters,
                consumable,
                app_data,
                target,
                transport: Arc::downgrade(&core),
                direct: matches!(core.kind, Kind::Direct),
            };
            let producer = Producer::new(parts, core.link.clone(), paused);
            {
                let mut state = core.state.lock();
                if state.closed {
                    return Err(Error::closed("transport"));
                }
                state.producers.insert(producer.id().to_owned(), producer.clone());
                router.add_producer(&producer);
            }
            core.events.emit(TransportEvent::NewProducer(producer.clone()));
            producer.listen();
            Ok(producer)
        })
        .await
    }

    pub(crate) async fn consume(core: &Arc<Self>, options: ConsumerOptions) -> Result<Consumer> {
        let ConsumerOptions {
            producer_id,
            rtp_capabilities,
            paused,
            mid,
            preferred_layers,
            pipe,
            app_data,
        } = options;
        let router = core.router()?;
        if producer_id.is_empty() {
            return Err(Error::Type("missing producerId".to_owned()));
        }
        let producer = router.producer(&producer_id).ok_or_else(|| Error::NotFound {
            what: "producer",
            id: producer_id.clone(),
        })?;
        let consumable = producer.consumable_rtp_parameters();
        let between_routers = match &core.kind {
            Kind::Pipe(state) => Some(state.lock().rtx),
            _ => None,
        };
        let pipe = pipe || between_routers.is_some();
        let ssrcs = core.draw_consumer_ssrcs(if pipe { consumable.encodings.len() } else { 1 });
        let mut parameters = match between_routers {
            Some(rtx) => ortc::pipe_consumer_parameters(consumable, rtx, ssrcs),
            None => ortc::consumer_parameters(consumable, &rtp_capabilities, pipe, ssrcs)?,
        };
        if !pipe {
            parameters.mid = Some(mid.filter(|mid| !mid.is_empty()).unwrap_or_else(|| core.next_mid()));
        }
        let consumer_type = match producer.producer_type() {
            _ if pipe => ConsumerType::Pipe,
            ProducerType::Simple => ConsumerType::Simple,
            ProducerType::Simulcast => ConsumerType::Simulcast,
            ProducerType::Svc => ConsumerType::Svc,
        };

        let id = new_id();
        let kind = producer.kind();
        let target = Target {
            consumer_id: Some(id.clone()),
            producer_id: Some(producer_id.clone()),
            ..core.target.clone()
        };
        let command = Command::TransportConsume(Ok(Consume {
            kind,
            rtp_parameters: parameters.clone(),
            consumer_type,
            consumable_rtp_encodings: consumable.encodings.clone(),
            paused: paused && between_routers.is_none(),
            preferred_layers: preferred_layers.filter(|_| between_routers.is_none()),
        }));
        let core = Arc::clone(core);
        let (link, new_target) = (core.link.clone(), target.clone());
        link.create(new_target, command, Command::ConsumerClose, move |reply| {
            let Consumed {
                paused,
                producer_paused,
                mut score,
                preferred_layers,
            } = reply.parse()?;
            if between_routers.is_some() {
                // Nothing is reported about a pipe: it counts as perfect.
                score = ConsumerScore {
                    score: 10,
                    producer_score: 10,
                    producer_scores: Vec::new(),
                };
            }
            let parts = consumer::Parts {
                id,
                producer_id,
                kind,
                consumer_type,
                rtp_parameters: parameters,
                app_data,
                target,
                transport: Arc::downgrade(&core),
            };
            let state = consumer::State {
                closed: false,
                paused,
                producer_paused,
                priority: 1,
                score,
                preferred_layers,
                current_layers: None,
            };
            let consumer = Consumer::new(parts, core.link.clone(), state);
            {
                let mut state = core.state.lock();
                if state.closed {
                    return Err(Error::closed("transport"));
                }
                state.consumers.insert(consumer.id().to_owned(), consumer.clone());
            }
            core.events.emit(TransportEvent::NewConsumer(consumer.clone()));
            consumer.listen();
            Ok(consumer)
        })
        .await
    }

    /// The CNAME of this transport: that of its first producer, or a random one if that had none.
    fn cname(&self, given: Option<String>) -> String {
        let mut state = self.state.lock();
        let cname = state.cname.get_or_insert_with(|| {
            given
                .filter(|cname| !cname.is_empty())
                .unwrap_or_else(|| new_id().chars().take(8).collect())
        });
        cname.clone()
    }

    fn next_mid(&self) -> String {
        let mut state = self.state.lock();
        loop {
            let mid = state.next_mid.to_string();
            state.next_mid = (state.next_mid + 1) % MIDS;
            let in_use = |consumer: &Consumer| consumer.rtp_parameters().mid.as_ref() == Some(&mid);
            if !state.consumers.values().any(in_use) {
                return mid;
            }
        }
    }

    /// SSRCs for a consumer's encodings that no other consumer of this transport uses.
    fn draw_consumer_ssrcs(&self, count: usize) -> ortc::ConsumerSsrcs {
        let state = self.state.lock();
        let mut used = state
            .consumers
            .values()
            .flat_map(|consumer| &consumer.rtp_parameters().encodings)
            .flat_map(|encoding| encoding.ssrc.into_iter().chain(encoding.rtx.and_then(|rtx| rtx.ssrc)))
            .collect::<Vec<_>>();
        let overlaps = |used: &[u32], first: u32, count: usize| {
            used.iter()
                .any(|ssrc| u64::from(ssrc.wrapping_sub(first)) < count as u64)
        };
        let media = draw_ssrc(|first| overlaps(&used, first, count + 1));
        if count == 1 {
            return ortc::ConsumerSsrcs { media, rtx: media + 1 };
        }
        used.extend((media..).take(count));
        let rtx = draw_ssrc(|first| overlaps(&used, first, count));
        ortc::ConsumerSsrcs { media, rtx }
    }

    fn on_message(&self, message: Message) {
        let event = match message {
            Message::Event(event) => event,
            Message::Payload(PayloadEvent::Rtcp, packet) => return self.events.emit(TransportEvent::Rtcp(packet)),
            Message::Payload(..) => return,
        };
        match (event.name(), &self.kind) {
            ("tuple", Kind::Plain(plain)) => {
                if let Some(RemoteTuple { tuple }) = event.data() {
                    plain.lock().tuple = tuple.clone();
                    self.events.emit(TransportEvent::Tuple(tuple));
                }
            }
            ("rtcptuple", Kind::Plain(plain)) => {
                if let Some(RemoteRtcpTuple { rtcp_tuple }) = event.data() {
                    plain.lock().rtcp_tuple = Some(rtcp_tuple.clone());
                    self.events.emit(TransportEvent::RtcpTuple(rtcp_tuple));
                }
            }
            (name, Kind::WebRtc(web_rtc)) if WebRtcState::knows(name) => {
                let told = web_rtc.lock().on_event(&event);
                told.into_iter().for_each(|told| self.events.emit(told));
            }
            ("sctpstatechange", _) => {
                if let Some(SctpStateChange { sctp_state }) = event.data() {
                    self.state.lock().sctp_state = Some(sctp_state);
                    self.events.emit(TransportEvent::SctpStateChange(sctp_state));
                }
            }
            ("trace", _) => event
                .data()
                .map(TransportEvent::Trace)
                .into_iter()
                .for_each(|e| self.events.emit(e)),
            _ => event.unknown("transport"),
        }
    }
}

/// A random SSRC of nine digits, drawn again while it is in use.
fn draw_ssrc(mut in_use: impl FnMut(u32) -> bool) -> u32 {
    loop {
        let ssrc = rand::random_range(100_000_000..999_999_000);
        if !in_use(ssrc) {
            return ssrc;
        }
    }
}
