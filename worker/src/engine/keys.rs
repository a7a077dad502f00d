//! Small keys of the engine's objects; packets are routed by them, ids of the parent are looked up for commands only.

slotmap::new_key_type! {
    /// A router of the worker.
    pub struct RouterKey;
    /// A WebRtcServer of the worker.
    pub struct ServerKey;
    /// A transport of a router.
    pub struct TransportKey;
    /// A producer of a router.
    pub struct ProducerKey;
    /// A consumer of a router.
    pub struct ConsumerKey;
    /// An RTP observer of a router.
    pub struct ObserverKey;
    /// A data producer of a router.
    pub struct DataProducerKey;
    /// A data consumer of a router.
    pub struct DataConsumerKey;
}
