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
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::admission::{Admission, Admitted};

/// How long the handshake of TLS, and then each head of a request, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A listening socket, what encrypts it, and what it serves.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) site: axum::Router,
    /// Those that may not come in are closed at once.
    pub(crate) admission: Arc<Admission>,
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
            let Some(admitted) = self.admission.admit(remote.ip()) else {
                tracing::debug!(%remote, "too many connections");
                continue;
            };
            let tls = self.tls.as_ref().map(|tls| tls.current());
            let guest = Guest {
                remote,
                admitted,
                site: self.site.clone(),
                stop: stop.clone(),
            };
            tokio::spawn(guest.serve(stream, tls));
        }
    }
}

/// Who is connected, and what they get.
struct Guest {
    remote: SocketAddr,
    /// A connection that becomes a WebSocket takes a copy along.
    admitted: Arc<Admitted>,
    site: axum::Router,
    stop: CancellationToken,
}

impl Guest {
    async fn serve(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        let remote = self.remote;
        // Signalling is small messages.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %remote, "no TCP_NODELAY");
        }
        match tls {
            None => self.serve_http(stream).await,
            Some(tls) => match timeout(PATIENCE, tls.accept(stream)).await {
                Ok(Ok(stream)) => self.serve_http(stream).await,
                Ok(Err(error)) => tracing::debug!(%error, %remote, "no TLS"),
                Err(_) => tracing::debug!(%remote, "no TLS in time"),
            },
        }
    }

    async fn serve_http<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (remote, admitted) = (self.remote, self.admitted);
        let site = TowerToHyperService::new(self.site);
        let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            let extensions = request.extensions_mut();
            extensions.insert(ConnectInfo(remote));
            extensions.insert(Arc::clone(&admitted));
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
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, %remote, "the connection ended");
        }
    }
}
