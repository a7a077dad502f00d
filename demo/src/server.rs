use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::extract::{ConnectInfo, FromRequestParts as _, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use protoo::ConnectionRequest;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::config::own_address;
use crate::listener::{Listener, Tls};
use crate::metrics::Metrics;
use crate::page::{self, Page};
use crate::rooms::Rooms;
use crate::signalling::connect;
use crate::token::bears;
use crate::workers::Workers;
use crate::{Config, broadcasters, certificate};

/// How often the log tells what goes on.
const REPORT: Duration = Duration::from_secs(120);

/// A running conference server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Shared {
    config: Arc<Config>,
    workers: Arc<Workers>,
    rooms: Arc<Rooms>,
    metrics: Metrics,
    page: Page,
    tls: Option<Arc<Tls>>,
}

impl Server {
    /// Starts the workers, then listens.
    ///
    /// # Errors
    /// A worker does not start, an address cannot be bound, or the certificate cannot be used.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let config = Arc::new(config);
        let tls = match config.insecure_http {
            true => None,
            false => Some(Arc::new(Tls::new(certificate::load(&config)?))),
        };
        let workers = Workers::start(&config).await?;
        let rooms = Arc::new(Rooms::new(Arc::clone(&config), Arc::clone(&workers)));
        let address = SocketAddr::new(config.listen_address(), config.listen_port);
        let socket = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        let address = socket.local_addr()?;
        let admission = Admission::new(config.max_connections, config.max_connections_per_host);
        let metrics = Metrics::new(&rooms, &workers, &admission);
        let page = Page::find(config.web_dir.as_deref());
        let shared = Arc::new(Shared {
            config,
            workers,
            rooms,
            metrics,
            page,
            tls,
        });
        let stop = CancellationToken::new();
        let listener = Listener {
            socket,
            tls: shared.tls.clone(),
            site: site(&shared),
            admission,
        };
        tokio::spawn(listener.run(stop.clone()));
        tokio::spawn(report(Arc::clone(&shared), stop.clone()));
        Ok(Self { address, shared, stop })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the page is: for browsers on this machine first, for others last.
    pub fn urls(&self) -> Vec<String> {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        let (ip, port) = (self.address.ip(), self.address.port());
        if !ip.is_unspecified() {
            return vec![format!("{scheme}://{}/", self.address)];
        }
        let other = SocketAddr::new(own_address(), port);
        vec![format!("{scheme}://localhost:{port}/"), format!("{scheme}://{other}/")]
    }

    /// Reads the certificate again. If it cannot be used, the old one stays.
    pub fn reload_certificate(&self) {
        if let Some(tls) = &self.shared.tls {
            match certificate::load(&self.shared.config) {
                Ok(acceptor) => tls.replace(acceptor),
                Err(error) => tracing::error!(error = format!("{error:#}"), "the certificate stays"),
            }
        }
    }

    /// How many rooms there are.
    pub fn rooms(&self) -> usize {
        self.shared.rooms.all().len()
    }

    /// The workers on which a room is.
    pub async fn spread(&self, room: &str) -> Vec<usize> {
        match self.shared.rooms.get(room) {
            Ok(room) => room.spread().await,
            Err(_) => Vec::new(),
        }
    }

    /// Returns once a worker ended by itself and is not replaced.
    pub async fn worker_died(&self) {
        self.shared.workers.died.notified().await;
    }

    /// Lets nobody in any more, gives rooms this time to end by themselves, ends the rest, and then everything. Pages are
    /// told that they may come back.
    pub async fn shut_down(&self, patience: Duration) {
        self.shared.rooms.close_doors();
        if timeout(patience, self.shared.rooms.emptied()).await.is_err() && !patience.is_zero() {
            tracing::warn!("rooms are ended");
        }
        self.shared.rooms.end().await;
        self.close();
    }

    /// Stops listening and ends the workers, and with them all rooms, at once.
    pub fn close(&self) {
        self.stop.cancel();
        self.shared.workers.close();
    }
}

fn site(shared: &Arc<Shared>) -> axum::Router {
    let site = axum::Router::new()
        .route("/", get(root))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .with_state(Arc::clone(shared))
        .merge(broadcasters::routes(&shared.rooms, &shared.config));
    let site = match shared.page.files() {
        Some(files) => site.fallback_service(files),
        None => site,
    };
    site.layer(axum::middleware::from_fn(page::add_headers))
}

/// The page, or a WebSocket if that is asked for.
async fn root(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if !request.headers().contains_key(header::UPGRADE) {
        return shared.page.index().await;
    }
    let (mut parts, _) = request.into_parts();
    let admitted = parts.extensions.get().cloned();
    match ConnectionRequest::from_request_parts(&mut parts, &()).await {
        Ok(mut request) => {
            request.set_secure(shared.tls.is_some());
            connect(Arc::clone(&shared.rooms), request, admitted)
        }
        Err(refusal) => refusal,
    }
}

/// Whether peers may come: for whoever sends them here.
async fn health(State(shared): State<Arc<Shared>>) -> (StatusCode, &'static str) {
    if shared.rooms.is_closing() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if shared.workers.slots().iter().all(|slot| slot.running().is_none()) {
        (StatusCode::SERVICE_UNAVAILABLE, "no workers")
    } else {
        (StatusCode::OK, "ok")
    }
}

async fn metrics(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let allowed = match &shared.config.metrics_token {
        Some(token) => bears(&headers, token),
        None => remote.ip().to_canonical().is_loopback(),
    };
    if !allowed {
        return StatusCode::FORBIDDEN.into_response();
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, shared.metrics.text().await).into_response()
}

/// Writes now and then into the log what goes on.
async fn report(shared: Arc<Shared>, stop: CancellationToken) {
    while timeout(REPORT, stop.cancelled()).await.is_err() {
        for slot in shared.workers.slots() {
            let Some(running) = slot.running() else { continue };
            if let Ok(usage) = running.worker.get_resource_usage().await {
                let (pid, index) = (running.worker.pid(), slot.index);
                let (user, system, memory) = (usage.ru_utime, usage.ru_stime, usage.ru_maxrss);
                tracing::info!(
                    worker = index,
                    pid,
                    user_ms = user,
                    system_ms = system,
                    memory_kib = memory,
                    "usage"
                );
            }
        }
        for room in shared.rooms.all() {
            tracing::info!(room = room.id, members = room.size(), "room");
        }
    }
}
