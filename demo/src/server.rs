use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::header;
use axum::response::Response;
use axum::routing::get;
use client::{ListenInfo, Protocol, WebRtcServer, WebRtcServerOptions, Worker, WorkerSettings};
use protoo::ConnectionRequest;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

use crate::config::own_address;
use crate::listener::{Listener, Tls};
use crate::page::{self, Page};
use crate::room::Room;
use crate::{Config, certificate};

/// Most connections that speak HTTP at a time.
const MAX_HTTP_CONNECTIONS: usize = 1000;

/// A running conference server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    config: Config,
    shared: Arc<Shared>,
    tls: Option<Arc<Tls>>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Shared {
    workers: Vec<(Worker, WebRtcServer)>,
    rooms: Mutex<HashMap<String, Arc<Room>>>,
    died: Notify,
    page: Page,
    secure: bool,
}

impl Server {
    /// Starts the workers, then listens.
    ///
    /// # Errors
    /// A worker does not start, an address cannot be bound, or the certificate cannot be used.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let tls = match config.insecure_http {
            true => None,
            false => Some(Arc::new(Tls::new(certificate::load(&config)?))),
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut workers = Vec::new();
        for index in 0..config.num_workers.unwrap_or(cores).max(1) {
            workers.push(start_worker(&config, index).await?);
        }
        let shared = Arc::new(Shared {
            workers,
            rooms: Mutex::default(),
            died: Notify::new(),
            page: Page::find(config.web_dir.as_deref()),
            secure: tls.is_some(),
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
        let address = SocketAddr::new(config.listen_address(), config.listen_port);
        let socket = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        let address = socket.local_addr()?;
        let stop = CancellationToken::new();
        let listener = Listener {
            socket,
            tls: tls.clone(),
            site: site(&shared),
            max_connections: MAX_HTTP_CONNECTIONS,
        };
        tokio::spawn(listener.run(stop.clone()));
        Ok(Self {
            address,
            config,
            shared,
            tls,
            stop,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the page is: for browsers on this machine first, for others last.
    pub fn urls(&self) -> Vec<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let (ip, port) = (self.address.ip(), self.address.port());
        if !ip.is_unspecified() {
            return vec![format!("{scheme}://{}/", self.address)];
        }
        let other = SocketAddr::new(own_address(), port);
        vec![format!("{scheme}://localhost:{port}/"), format!("{scheme}://{other}/")]
    }

    /// Reads the certificate again. If it cannot be used, the old one stays.
    pub fn reload_certificate(&self) {
        if let Some(tls) = &self.tls {
            match certificate::load(&self.config) {
                Ok(acceptor) => tls.replace(acceptor),
                Err(error) => tracing::error!(error = format!("{error:#}"), "the certificate stays"),
            }
        }
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
        self.stop.cancel();
        for (worker, _) in &self.shared.workers {
            worker.close();
        }
    }
}

fn site(shared: &Arc<Shared>) -> axum::Router {
    let site = axum::Router::new()
        .route("/", get(root))
        .route("/healthz", get(|| async { "ok" }));
    let site = match shared.page.files() {
        Some(files) => site.fallback_service(files),
        None => site,
    };
    site.layer(axum::middleware::from_fn(page::add_headers))
        .with_state(Arc::clone(shared))
}

/// The page, or a WebSocket if that is asked for.
async fn root(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if !request.headers().contains_key(header::UPGRADE) {
        return shared.page.index().await;
    }
    let (mut parts, _) = request.into_parts();
    match ConnectionRequest::from_request_parts(&mut parts, &()).await {
        Ok(mut request) => {
            request.set_secure(shared.secure);
            connect(shared, request)
        }
        Err(refusal) => refusal,
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
        announced_ip: config.announced(),
        port,
    };
    let options = WebRtcServerOptions::new(vec![info(Protocol::Udp), info(Protocol::Tcp)]);
    let server = worker.create_web_rtc_server(options).await;
    Ok((
        worker,
        server.with_context(|| format!("cannot use port {port} for media"))?,
    ))
}

fn connect(shared: Arc<Shared>, request: ConnectionRequest) -> Response {
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
