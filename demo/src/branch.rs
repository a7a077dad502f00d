//! A room's router on one worker. A room has one; if it outgrows its worker, others on other workers, with pipes between.

use std::sync::Arc;

use client::{
    DataProducer, PipeToRouterOptions, PlainTransport, PlainTransportOptions, Producer, Router, RouterOptions,
    RtpCodecCapability, SctpOptions, WebRtcListen, WebRtcTransport, WebRtcTransportOptions,
};

use crate::Config;
use crate::tally::{Counted, Tally};
use crate::workers::{Running, Slot, media_ip};

/// A room's router on one worker.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) router: Router,
    pub(crate) slot: Arc<Slot>,
    /// Members whose transports are here.
    pub(crate) members: Tally,
    listen: WebRtcListen,
    _counted: Counted,
}

impl Branch {
    pub(crate) async fn open(slot: &Arc<Slot>, running: Running) -> client::Result<Arc<Self>> {
        // At once, so that the next room goes elsewhere although this one is not there yet.
        let counted = slot.branches.add();
        let router = running.worker.create_router(RouterOptions::new(codecs())).await?;
        Ok(Arc::new(Self {
            router,
            slot: Arc::clone(slot),
            members: Tally::default(),
            listen: running.listen,
            _counted: counted,
        }))
    }

    pub(crate) async fn transport(
        &self,
        force_tcp: bool,
        bitrate: u32,
        sctp: Option<SctpOptions>,
    ) -> client::Result<WebRtcTransport> {
        let options = WebRtcTransportOptions {
            enable_udp: !force_tcp,
            enable_tcp: true,
            prefer_udp: !force_tcp,
            initial_available_outgoing_bitrate: bitrate,
            sctp,
            ..WebRtcTransportOptions::listening(self.listen.clone())
        };
        self.router.create_web_rtc_transport(options).await
    }

    /// A transport for RTP without encryption.
    pub(crate) async fn plain_transport(
        &self,
        config: &Config,
        rtcp_mux: bool,
        comedia: bool,
    ) -> client::Result<PlainTransport> {
        let options = PlainTransportOptions {
            rtcp_mux,
            comedia,
            listen_ip: media_ip(config),
            ..PlainTransportOptions::new(config.media_ip)
        };
        self.router.create_plain_transport(options).await
    }

    /// Makes a producer of another branch available here, under its id.
    pub(crate) async fn bring(&self, from: &Self, producer: &Producer) -> client::Result<()> {
        if from.router.id() != self.router.id() {
            let (options, router) = (pipe_options(), &from.router);
            router
                .pipe_producer_to_router(producer.id(), &self.router, &options)
                .await?;
        }
        Ok(())
    }

    /// Makes a data producer of another branch available here, under its id.
    pub(crate) async fn bring_data(&self, from: &Self, producer: &DataProducer) -> client::Result<()> {
        if from.router.id() != self.router.id() {
            let (options, router) = (pipe_options(), &from.router);
            router
                .pipe_data_producer_to_router(producer.id(), &self.router, &options)
                .await?;
        }
        Ok(())
    }
}

/// Loopback loses packets when a burst finds the socket full.
fn pipe_options() -> PipeToRouterOptions {
    PipeToRouterOptions {
        enable_rtx: true,
        ..PipeToRouterOptions::default()
    }
}

fn codecs() -> Vec<RtpCodecCapability> {
    let video = |name: &str| RtpCodecCapability::video(name).with_parameter("x-google-start-bitrate", 1000);
    let h264 = |profile: &str| {
        video("video/H264")
            .with_parameter("packetization-mode", 1)
            .with_parameter("profile-level-id", profile)
            .with_parameter("level-asymmetry-allowed", 1)
    };
    vec![
        RtpCodecCapability::audio("audio/opus", 48_000, 2),
        video("video/VP8"),
        video("video/VP9").with_parameter("profile-id", 2),
        h264("4d0032"),
        h264("42e01f"),
        // What browsers send. Last, so that payload types of the others are those that clients know.
        video("video/VP9").with_parameter("profile-id", 0),
    ]
}
