use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use client::{ListenInfo, Protocol, WebRtcServer, WebRtcServerOptions, Worker, WorkerSettings};
use protoo::ConnectionRequest;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify};

use crate::Config;
use crate::room::Room;

/// A running conference server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    workers: Vec<(Worker, WebRtcServer)>,
    rooms: Mutex<HashMap<String, Arc<Room>>>,
    died: Notify,
}

impl Server {
    /// Starts the workers, then listens.
    ///
    /// # Errors
    /// A worker does not start, or an address cannot be bound.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut workers = Vec::new();
        for index in 0..config.num_workers.unwrap_or(cores).max(1) {
            workers.push(start_worker(&config, index).await?);
        }
        let shared = Arc::new(Shared {
            workers,
            rooms: Mutex::default(),
            died: Notify::new(),
        });
        for (worker, _) in &shared.workers {
            let (worker, shared) = (worker.clone(), Arc::clone(&shared));
            tokio::spawn(async move {
                worker.wait().await;
                if worker.has_died() {
                    shared.died.notify_one();
                }
            });
        }
        let address = SocketAddr::new(config.listen_ip, config.listen_port);
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        let site = axum::Router::new()
            .route("/", get(connect))
            .route("/healthz", get(|| async { "ok" }))
            .with_state(Arc::clone(&shared))
            .into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, site).await {
                tracing::error!(%error, "the listener ended");
            }
        });
        Ok(Self { address, shared, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many rooms there are.
    pub async fn rooms(&self) -> usize {
        self.shared.rooms.lock().await.len()
    }

    /// Returns once a worker ended by itself.
    pub async fn worker_died(&self) {
        self.shared.died.notified().await;
    }

    /// Stops listening and ends the workers, and with them all rooms.
    pub fn close(&self) {
        self.task.abort();
        for (worker, _) in &self.shared.workers {
            worker.close();
        }
    }
}

async fn start_worker(config: &Config, index: usize) -> anyhow::Result<(Worker, WebRtcServer)> {
    let settings = WorkerSettings {
        binary: config.worker_bin.clone(),
        ..WorkerSettings::default()
    };
    let worker = Worker::new(settings).await.context("cannot start a worker")?;
    let offset = if config.media_port == 0 {
        0
    } else {
        u16::try_from(index)?
    };
    let port = config
        .media_port
        .checked_add(offset)
        .context("no port left for media")?;
    let info = |protocol| ListenInfo {
        protocol,
        ip: config.media_ip,
        announced_ip: config.announced_ip.clone(),
        port,
    };
    let options = WebRtcServerOptions::new(vec![info(Protocol::Udp), info(Protocol::Tcp)]);
    let server = worker.create_web_rtc_server(options).await;
    Ok((
        worker,
        server.with_context(|| format!("cannot use port {port} for media"))?,
    ))
}

async fn connect(State(shared): State<Arc<Shared>>, request: ConnectionRequest) -> Response {
    let valid = |name: &String| (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    let (Some(room_id), Some(peer_id)) = (
        request.query("roomId").filter(valid),
        request.query("peerId").filter(valid),
    ) else {
        return request.reject(400, "roomId and peerId must have 1 to 64 printable characters");
    };
    request.accept(move |connection| async move {
        let entered = {
            // Held until the peer is in, so that a room neither exists twice nor ends under a newcomer.
            let mut rooms = shared.rooms.lock().await;
            match find_or_create(&shared, &mut rooms, &room_id).await {
                Ok(room) => match room.enter(&peer_id, connection) {
                    Some((peer, events)) => Some((room, peer, events)),
                    None => {
                        // It left before it was in; a room made for it alone has no use.
                        if room.close_if_empty() {
                            rooms.remove(&room_id);
                        }
                        None
                    }
                },
                Err(error) => {
                    tracing::warn!(%error, room_id, "cannot create the room");
                    return;
                }
            }
        };
        let Some((room, peer, events)) = entered else { return };
        room.serve(&peer, events).await;
        let mut rooms = shared.rooms.lock().await;
        if room.leave(&peer) && rooms.get(&room_id).is_some_and(|entry| Arc::ptr_eq(entry, &room)) {
            rooms.remove(&room_id);
        }
    })
}

async fn find_or_create(
    shared: &Shared,
    rooms: &mut HashMap<String, Arc<Room>>,
    id: &str,
) -> anyhow::Result<Arc<Room>> {
    if let Some(room) = rooms.get(id) {
        return Ok(Arc::clone(room));
    }
    let least = shared.workers.iter().min_by_key(|(worker, _)| worker.routers().len());
    let (worker, server) = least.context("no workers")?;
    let room = Arc::new(Room::create(worker, server.clone()).await?);
    rooms.insert(id.to_owned(), Arc::clone(&room));
    Ok(room)
}
