//! Accepts connections, encrypted or not, and serves HTTP on each.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::ConnectInfo;
use hyper::service::Service as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How long the handshake of TLS, and then each head of a request, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A listening socket, what encrypts it, and what it serves.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) site: axum::Router,
    /// Most connections at a time; the next ones are closed at once. Those that became WebSockets do not count here.
    pub(crate) max_connections: usize,
}

/// What encrypts; it may be replaced while the server runs.
pub(crate) struct Tls(RwLock<TlsAcceptor>);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    pub(crate) fn new(acceptor: TlsAcceptor) -> Self {
        Self(RwLock::new(acceptor))
    }

    pub(crate) fn replace(&self, acceptor: TlsAcceptor) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
    }

    fn current(&self) -> TlsAcceptor {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Listener {
    /// Accepts until `stop` is cancelled; then connections end after what they are answering.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let free = Arc::new(Semaphore::new(self.max_connections));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            let (stream, remote) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: others must end before the next one can begin.
                    tracing::warn!(%error, "cannot accept");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&free).try_acquire_owned() else {
                tracing::warn!(%remote, "too many connections");
                continue;
            };
            let (tls, site, stop) = (
                self.tls.as_ref().map(|tls| tls.current()),
                self.site.clone(),
                stop.clone(),
            );
            tokio::spawn(async move {
                serve(stream, remote, tls, site, stop).await;
                drop(permit);
            });
        }
    }
}

async fn serve(
    stream: TcpStream,
    remote: SocketAddr,
    tls: Option<TlsAcceptor>,
    site: axum::Router,
    stop: CancellationToken,
) {
    // Signalling is small messages.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %remote, "no TCP_NODELAY");
    }
    match tls {
        None => serve_http(stream, remote, site, stop).await,
        Some(tls) => match timeout(PATIENCE, tls.accept(stream)).await {
            Ok(Ok(stream)) => serve_http(stream, remote, site, stop).await,
            Ok(Err(error)) => tracing::debug!(%error, %remote, "no TLS"),
            Err(_) => tracing::debug!(%remote, "no TLS in time"),
        },
    }
}

async fn serve_http<S>(stream: S, remote: SocketAddr, site: axum::Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let site = TowerToHyperService::new(site);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(remote));
        site.call(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, %remote, "the connection ended");
    }
}
