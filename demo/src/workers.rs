//! The workers, and which of them takes a room.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use anyhow::Context as _;
use client::{ListenInfo, ListenIp, Protocol, WebRtcListen, WebRtcServer, WebRtcServerOptions, Worker, WorkerSettings};
use tokio::sync::Notify;

use crate::Config;
use crate::tally::Tally;

/// Longest pause between two attempts to replace a worker.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// All workers.
#[derive(Debug)]
pub(crate) struct Workers {
    slots: Vec<Arc<Slot>>,
    /// Told when a worker died that is not replaced.
    pub(crate) died: Notify,
}

/// The place of a worker: one after the other may have it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) index: usize,
    running: RwLock<Option<Running>>,
    /// Parts of rooms that are here, or about to be.
    pub(crate) branches: Tally,
    /// Those whose transports are here.
    pub(crate) members: Tally,
    /// What is sent to them.
    pub(crate) consumers: Tally,
    /// Workers that died here.
    pub(crate) deaths: AtomicUsize,
}

/// A worker that runs.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub(crate) worker: Worker,
    /// Where its WebRTC transports listen.
    pub(crate) listen: WebRtcListen,
}

impl Slot {
    /// Its worker, unless that died and is not replaced yet.
    pub(crate) fn running(&self) -> Option<Running> {
        self.running.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, running: Option<Running>) {
        *self.running.write().unwrap_or_else(PoisonError::into_inner) = running;
    }
}

impl Workers {
    /// Starts them, one after the other.
    pub(crate) async fn start(config: &Arc<Config>) -> anyhow::Result<Arc<Self>> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut slots = Vec::new();
        for index in 0..config.num_workers.unwrap_or(cores).max(1) {
            let running = start_worker(config, index).await?;
            slots.push(Arc::new(Slot {
                index,
                running: RwLock::new(Some(running)),
                branches: Tally::default(),
                members: Tally::default(),
                consumers: Tally::default(),
                deaths: AtomicUsize::new(0),
            }));
        }
        let workers = Arc::new(Self {
            slots,
            died: Notify::new(),
        });
        for slot in &workers.slots {
            tokio::spawn(watch(Arc::downgrade(&workers), Arc::clone(slot), Arc::clone(config)));
        }
        Ok(workers)
    }

    pub(crate) fn slots(&self) -> &[Arc<Slot>] {
        &self.slots
    }

    /// The one that sends least, among those that `may` take more.
    pub(crate) fn least_loaded(&self, may: impl Fn(&Slot) -> bool) -> Option<(&Arc<Slot>, Running)> {
        let running = self.slots.iter().filter_map(|slot| Some((slot, slot.running()?)));
        running
            .filter(|(slot, _)| may(slot))
            .min_by_key(|(slot, _)| (slot.consumers.get(), slot.members.get() + slot.branches.get()))
    }

    /// Ends them, and with them all rooms.
    pub(crate) fn close(&self) {
        for running in self.slots.iter().filter_map(|slot| slot.running()) {
            running.worker.close();
        }
    }
}

/// Waits for the end of each worker of a slot. If it ends by itself, another one takes its place, or all is told.
async fn watch(workers: Weak<Workers>, slot: Arc<Slot>, config: Arc<Config>) {
    while let Some(running) = slot.running() {
        let exit = running.worker.wait().await;
        if !running.worker.has_died() {
            return;
        }
        tracing::error!(%exit, slot = slot.index, "a worker died");
        slot.deaths.fetch_add(1, Ordering::Relaxed);
        slot.put(None);
        drop(running);
        if !config.restart_worker {
            if let Some(workers) = workers.upgrade() {
                workers.died.notify_one();
            }
            return;
        }
        let mut pause = Duration::from_secs(1);
        loop {
            // Nobody is left who needs it.
            if workers.strong_count() == 0 {
                return;
            }
            match start_worker(&config, slot.index).await {
                Ok(running) => {
                    tracing::info!(
                        pid = running.worker.pid(),
                        slot = slot.index,
                        "a worker takes its place"
                    );
                    slot.put(Some(running));
                    break;
                }
                Err(error) => tracing::error!(error = format!("{error:#}"), "cannot replace the worker"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }
}

async fn start_worker(config: &Config, index: usize) -> anyhow::Result<Running> {
    let settings = WorkerSettings {
        binary: config.worker_bin.clone(),
        rtc_min_port: config.rtc_min_port,
        rtc_max_port: config.rtc_max_port,
        max_pacing_delay: Some(Duration::from_millis(config.max_pacing_delay.into())),
        ..WorkerSettings::default()
    };
    let worker = Worker::new(settings).await.context("cannot start a worker")?;
    let listen = if config.use_web_rtc_server {
        WebRtcListen::Server(web_rtc_server(&worker, config, index).await?)
    } else {
        WebRtcListen::Ips {
            ips: vec![media_ip(config)],
            port: None,
        }
    };
    Ok(Running { worker, listen })
}

/// Where media come to.
pub(crate) fn media_ip(config: &Config) -> ListenIp {
    ListenIp {
        ip: config.media_ip,
        announced_ip: config.announced(),
    }
}

async fn web_rtc_server(worker: &Worker, config: &Config, index: usize) -> anyhow::Result<WebRtcServer> {
    let offset = if config.media_port == 0 {
        0
    } else {
        u16::try_from(index)?
    };
    let port = config
        .media_port
        .checked_add(offset)
        .context("no port left for media")?;
    let ListenIp { ip, announced_ip } = media_ip(config);
    let info = |protocol| ListenInfo {
        protocol,
        ip,
        announced_ip: announced_ip.clone(),
        port,
    };
    let options = WebRtcServerOptions::new(vec![info(Protocol::Udp), info(Protocol::Tcp)]);
    let server = worker.create_web_rtc_server(options).await;
    server.with_context(|| format!("cannot use port {port} of {ip} for media"))
}
