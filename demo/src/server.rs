use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::header;
use axum::response::Response;
use axum::routing::get;
use protoo::ConnectionRequest;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::own_address;
use crate::listener::{Listener, Tls};
use crate::page::{self, Page};
use crate::rooms::Rooms;
use crate::signalling::connect;
use crate::workers::Workers;
use crate::{Config, broadcasters, certificate};

/// Most connections that speak HTTP at a time.
const MAX_HTTP_CONNECTIONS: usize = 1000;

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
        let page = Page::find(config.web_dir.as_deref());
        let shared = Arc::new(Shared {
            config,
            workers,
            rooms,
            page,
            tls,
        });
        let stop = CancellationToken::new();
        let listener = Listener {
            socket,
            tls: shared.tls.clone(),
            site: site(&shared),
            max_connections: MAX_HTTP_CONNECTIONS,
        };
        tokio::spawn(listener.run(stop.clone()));
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

    /// Stops listening and ends the workers, and with them all rooms.
    pub fn close(&self) {
        self.stop.cancel();
        self.shared.workers.close();
    }
}

fn site(shared: &Arc<Shared>) -> axum::Router {
    let site = axum::Router::new()
        .route("/", get(root))
        .route("/healthz", get(|| async { "ok" }))
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
    match ConnectionRequest::from_request_parts(&mut parts, &()).await {
        Ok(mut request) => {
            request.set_secure(shared.tls.is_some());
            connect(Arc::clone(&shared.rooms), request)
        }
        Err(refusal) => refusal,
    }
}
