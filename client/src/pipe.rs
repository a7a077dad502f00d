//! Pipes between routers: what a producer of one router sends becomes a producer of another one.
//!
//! Two routers share one pair of pipe transports, whatever is piped between them and in whichever direction. It is made
//! when it is first needed. Calls that need it at the same time wait for one of them to make it; if that one fails or is
//! given up, another one tries.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use channel_proto::transport_parameters::NumSctpStreams;
use tokio::sync::OnceCell;

use crate::error::{Error, Result};
use crate::events::CloseReason;
use crate::router::{Router, RouterInner};
use crate::sync::Lock;
use crate::transport::{PipeConnectOptions, PipeTransport, PipeTransportOptions, SctpOptions, Transport};
use crate::{
    Consumer, ConsumerOptions, DataConsumer, DataConsumerOptions, DataProducer, DataProducerOptions, Producer,
    ProducerOptions,
};

/// How two routers are connected. Only what the first call says counts, as later ones use the same connection.
#[derive(Debug, Clone)]
pub struct PipeToRouterOptions {
    /// Address on which both routers listen: this host's own by default.
    pub listen_ip: IpAddr,
    /// Whether data can be piped (the default).
    pub enable_sctp: bool,
    /// Numbers of streams for data (1024 each).
    pub num_sctp_streams: NumSctpStreams,
    /// Whether lost packets are sent again.
    pub enable_rtx: bool,
    /// Whether packets are encrypted.
    pub enable_srtp: bool,
}

impl Default for PipeToRouterOptions {
    fn default() -> Self {
        Self {
            listen_ip: [127, 0, 0, 1].into(),
            enable_sctp: true,
            num_sctp_streams: NumSctpStreams { os: 1024, mis: 1024 },
            enable_rtx: false,
            enable_srtp: false,
        }
    }
}

impl PipeToRouterOptions {
    fn transport(&self) -> PipeTransportOptions {
        PipeTransportOptions {
            sctp: self.enable_sctp.then(|| SctpOptions {
                num_streams: self.num_sctp_streams,
                ..SctpOptions::for_pipe()
            }),
            enable_rtx: self.enable_rtx,
            enable_srtp: self.enable_srtp,
            ..PipeTransportOptions::new(self.listen_ip)
        }
    }
}

/// Media that goes from one router to another. Both follow the original producer: they pause, resume and close with it.
#[derive(Debug, Clone)]
pub struct PipedProducer {
    /// Its way out of the router of the original.
    pub consumer: Consumer,
    /// Its way into the other router, with the id of the original.
    pub producer: Producer,
}

/// Data that goes from one router to another. Both are closed with the original data producer.
#[derive(Debug, Clone)]
pub struct PipedDataProducer {
    /// Its way out of the router of the original.
    pub consumer: DataConsumer,
    /// Its way into the other router, with the id of the original.
    pub producer: DataProducer,
}

/// Something that is made by whoever needs it first.
type Slot<T> = Arc<OnceCell<T>>;
/// By the router it comes from and the id of the original.
type Piped<T> = Lock<HashMap<(String, String), Slot<T>>>;

/// Everything between two routers.
pub(crate) struct Pipe {
    routers: [Weak<RouterInner>; 2],
    transports: OnceCell<Pair>,
    producers: Piped<PipedProducer>,
    data_producers: Piped<PipedDataProducer>,
}

/// A pipe transport in each router.
struct Pair {
    /// The id of the router that has the first one.
    first_router: String,
    first: PipeTransport,
    second: PipeTransport,
}

impl Pair {
    /// The transports, that of this router first.
    fn seen_from(&self, router_id: &str) -> (&PipeTransport, &PipeTransport) {
        if self.first_router == router_id {
            (&self.first, &self.second)
        } else {
            (&self.second, &self.first)
        }
    }
}

/// Something that is closed unless it is kept.
struct Tentative<T: Clone> {
    value: T,
    close: fn(&T),
    kept: bool,
}

impl<T: Clone> Tentative<T> {
    fn new(value: T, close: fn(&T)) -> Self {
        Self {
            value,
            close,
            kept: false,
        }
    }

    fn keep(mut self) -> T {
        self.kept = true;
        self.value.clone()
    }
}

impl<T: Clone> Drop for Tentative<T> {
    fn drop(&mut self) {
        if !self.kept {
            (self.close)(&self.value);
        }
    }
}

impl Pipe {
    pub(crate) fn new(routers: [&Arc<RouterInner>; 2]) -> Arc<Self> {
        Arc::new(Self {
            routers: routers.map(Arc::downgrade),
            transports: OnceCell::new(),
            producers: Lock::default(),
            data_producers: Lock::default(),
        })
    }

    /// One of the routers ended, or the transports between them.
    pub(crate) fn detach(self: &Arc<Self>) {
        for router in &self.routers {
            if let Some(router) = router.upgrade() {
                router.forget_pipe(self);
            }
        }
    }

    async fn transports(self: &Arc<Self>, from: &Router, to: &Router, options: &PipeToRouterOptions) -> Result<&Pair> {
        self.transports
            .get_or_try_init(|| async {
                let create = async |router: &Router| {
                    let transport = router.create_pipe_transport(options.transport()).await?;
                    Ok::<_, Error>(Tentative::new(transport, Transport::close))
                };
                let (first, second) = tokio::try_join!(create(from), create(to))?;
                let connect = |here: &Tentative<PipeTransport>, there: &Tentative<PipeTransport>| {
                    let (here, there) = (here.value.clone(), there.value.clone());
                    async move { here.connect(address(&there)?).await }
                };
                tokio::try_join!(connect(&first, &second), connect(&second, &first))?;
                let (first, second) = (first.keep(), second.keep());
                self.tie(&first, &second);
                self.tie(&second, &first);
                Ok(Pair {
                    first_router: from.id().to_owned(),
                    first,
                    second,
                })
            })
            .await
    }

    /// With one transport, the other one ends, and with them the pipe.
    fn tie(self: &Arc<Self>, one: &PipeTransport, other: &PipeTransport) {
        let (pipe, other) = (Arc::downgrade(self), Arc::downgrade(other.core()));
        one.core().on_end(move || {
            if let Some(pipe) = pipe.upgrade() {
                pipe.detach();
            }
            if let Some(other) = other.upgrade() {
                other.end(CloseReason::Requested);
            }
        });
    }
}

/// Where a pipe transport is to be found by the other one.
fn address(transport: &PipeTransport) -> Result<PipeConnectOptions> {
    let tuple = transport.tuple();
    let ip = tuple.local_ip.parse().map_err(|_| Error::Protocol {
        method: "router.createPipeTransport",
        reason: format!("{:?} is not an address", tuple.local_ip),
    })?;
    Ok(PipeConnectOptions {
        ip,
        port: tuple.local_port,
        srtp_parameters: transport.srtp_parameters(),
    })
}

/// What is piped under a key. If it is not there yet, it is made.
async fn piped<T, F>(slots: &Piped<T>, key: (String, String), make: impl FnOnce() -> F) -> Result<T>
where
    T: Clone,
    F: Future<Output = Result<T>>,
{
    let slot = Arc::clone(slots.lock().entry(key.clone()).or_default());
    let result = slot.get_or_try_init(make).await.cloned();
    if result.is_err() {
        // Nobody else is about to try.
        let mut slots = slots.lock();
        if let Some(found) = slots.get(&key)
            && Arc::ptr_eq(found, &slot)
            && !found.initialized()
            && Arc::strong_count(found) == 2
        {
            slots.remove(&key);
        }
    }
    result
}

fn vanished(what: &str, id: &str) -> Error {
    Error::InvalidState(format!("{what} {id:?} was closed while it was being piped"))
}

/// See [`Router::pipe_producer_to_router`].
pub(crate) async fn pipe_producer(
    from: &Router,
    producer_id: &str,
    to: &Router,
    options: &PipeToRouterOptions,
) -> Result<PipedProducer> {
    let Some(source) = from.producer(producer_id) else {
        return Err(Error::Type(format!("no producer with id {producer_id:?}")));
    };
    let pipe = from.pipe_to(to)?;
    let key = (from.id().to_owned(), producer_id.to_owned());
    piped(&pipe.producers, key.clone(), || async {
        let pair = pipe.transports(from, to, options).await?;
        let (here, there) = pair.seen_from(from.id());
        let consumer = here.consume(ConsumerOptions::for_pipe(producer_id)).await?;
        let consumer = Tentative::new(consumer, Consumer::close);
        let options = ProducerOptions {
            id: Some(producer_id.to_owned()),
            paused: consumer.value.is_producer_paused(),
            app_data: source.app_data().clone(),
            ..ProducerOptions::new(source.kind(), consumer.value.rtp_parameters().clone())
        };
        let producer = there.produce(options).await?;
        let producer = Tentative::new(producer, Producer::close);
        if source.is_closed() || consumer.value.is_closed() || producer.value.is_closed() {
            return Err(vanished("producer", producer_id));
        }
        let (consumer, producer) = (consumer.keep(), producer.keep());
        consumer.mirror(&producer);
        let (weak, key) = (Arc::downgrade(&pipe), key.clone());
        let peer = producer.clone();
        consumer.on_end(move || {
            forget(&weak, |pipe| &pipe.producers, &key);
            peer.close();
        });
        let peer = consumer.clone();
        producer.on_end(move || peer.close());
        Ok(PipedProducer { consumer, producer })
    })
    .await
}

/// See [`Router::pipe_data_producer_to_router`].
pub(crate) async fn pipe_data_producer(
    from: &Router,
    data_producer_id: &str,
    to: &Router,
    options: &PipeToRouterOptions,
) -> Result<PipedDataProducer> {
    let Some(source) = from.data_producer(data_producer_id) else {
        return Err(Error::Type(format!("no data producer with id {data_producer_id:?}")));
    };
    let pipe = from.pipe_to(to)?;
    let key = (from.id().to_owned(), data_producer_id.to_owned());
    piped(&pipe.data_producers, key.clone(), || async {
        let pair = pipe.transports(from, to, options).await?;
        let (here, there) = pair.seen_from(from.id());
        let consumer = here.consume_data(DataConsumerOptions::new(data_producer_id)).await?;
        let consumer = Tentative::new(consumer, DataConsumer::close);
        let options = DataProducerOptions {
            id: Some(data_producer_id.to_owned()),
            sctp_stream_parameters: consumer.value.sctp_stream_parameters(),
            label: consumer.value.label().to_owned(),
            protocol: consumer.value.protocol().to_owned(),
            app_data: source.app_data().clone(),
        };
        let producer = there.produce_data(options).await?;
        let producer = Tentative::new(producer, DataProducer::close);
        if source.is_closed() || consumer.value.is_closed() || producer.value.is_closed() {
            return Err(vanished("data producer", data_producer_id));
        }
        let (consumer, producer) = (consumer.keep(), producer.keep());
        let (weak, key) = (Arc::downgrade(&pipe), key.clone());
        let peer = producer.clone();
        consumer.on_end(move || {
            forget(&weak, |pipe| &pipe.data_producers, &key);
            peer.close();
        });
        let peer = consumer.clone();
        producer.on_end(move || peer.close());
        Ok(PipedDataProducer { consumer, producer })
    })
    .await
}

fn forget<T>(pipe: &Weak<Pipe>, slots: impl FnOnce(&Pipe) -> &Piped<T>, key: &(String, String)) {
    if let Some(pipe) = pipe.upgrade() {
        let gone = slots(&pipe).lock().remove(key);
        drop(gone);
    }
}
