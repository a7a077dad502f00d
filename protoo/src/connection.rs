//! The handshake: a request to connect, and what an accepted one becomes.

use std::fmt;
use std::net::SocketAddr;

use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};

use crate::{CloseCode, Options, SUBPROTOCOL, pump};

/// Header that tells the reason of a refusal.
const REJECT_REASON: HeaderName = HeaderName::from_static("x-websocket-reject-reason");

/// Bytes that each connection reads at once, and holds for that as long as it lives. Messages are mostly smaller; the
/// library's 128 KiB would be most of what an idle connection takes.
const READ_BUFFER: usize = 4096;

/// A request to connect: an extractor for handlers of axum. The handler answers it with what
/// [`accept`](Self::accept) or [`reject`](Self::reject) returns, in its own time.
#[derive(Debug)]
pub struct ConnectionRequest {
    upgrade: WebSocketUpgrade,
    uri: Uri,
    headers: HeaderMap,
    remote: Option<SocketAddr>,
    secure: bool,
    options: Options,
}

impl<S: Send + Sync> FromRequestParts<S> for ConnectionRequest {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let offered = parts.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
        let mut offered = offered.iter().filter_map(|value| value.to_str().ok());
        if !offered.any(|value| {
            value
                .split(',')
                .any(|protocol| protocol.trim().eq_ignore_ascii_case(SUBPROTOCOL))
        }) {
            return Err(refusal(403, "invalid/missing Sec-WebSocket-Protocol"));
        }
        let upgrade = WebSocketUpgrade::from_request_parts(parts, state)
            .await
            .map_err(axum::response::IntoResponse::into_response)?;
        let remote = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Self {
            upgrade,
            remote: remote.map(|ConnectInfo(address)| *address),
            secure: parts.uri.scheme_str() == Some("https"),
            uri: parts.uri.clone(),
            headers: parts.headers.clone(),
            options: Options::default(),
        })
    }
}

impl ConnectionRequest {
    /// Path and query as requested.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// A value of the query, decoded; the first of several.
    pub fn query(&self, name: &str) -> Option<String> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&self.uri).ok()?;
        pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Headers of the request.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Origin of the page, as the browser tells it. Any is accepted unless the application refuses.
    pub fn origin(&self) -> Option<&str> {
        self.headers.get(header::ORIGIN)?.to_str().ok()
    }

    /// Where it comes from, if the site is served `with_connect_info::<SocketAddr>`.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// Says that the connection is encrypted, where this process cannot see that. For logs only.
    pub fn set_secure(&mut self, secure: bool) {
        self.secure = secure;
    }

    /// Sets limits and times of the connection.
    #[must_use]
    pub fn with_options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Lets it connect. `connected` runs in a task of its own once the connection stands.
    pub fn accept<F, T>(self, connected: F) -> Response
    where
        F: FnOnce(Connection) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let Self {
            upgrade,
            remote,
            secure,
            options,
            ..
        } = self;
        let scheme = if secure { "WSS" } else { "WS" };
        let address = match remote {
            Some(remote) => format!("{scheme}:[{}]:{}", remote.ip(), remote.port()),
            None => format!("{scheme}:[unknown]"),
        };
        // Twice what is allowed, so that a message of a little more can be read and answered properly.
        let limit = options.max_message_size.saturating_mul(2);
        let mut response = upgrade
            .max_message_size(limit)
            .max_frame_size(limit)
            .read_buffer_size(READ_BUFFER)
            .on_failed_upgrade(|error| tracing::debug!(%error, "the connection failed"))
            .on_upgrade(move |socket| {
                connected(Connection {
                    parts: Some((socket, address, options)),
                })
            });
        response
            .headers_mut()
            .insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        response
    }

    /// Refuses with an HTTP status (403 if `code` is not that of a refusal) and a reason in the header
    /// `X-WebSocket-Reject-Reason`. Pages cannot read either, other programs can.
    pub fn reject(self, code: u16, reason: &str) -> Response {
        refusal(code, reason)
    }
}

fn refusal(code: u16, reason: &str) -> Response {
    let status = StatusCode::from_u16(code)
        .ok()
        .filter(|status| status.as_u16() >= 300)
        .unwrap_or(StatusCode::FORBIDDEN);
    let printable: String = reason.chars().filter(|c| matches!(c, ' '..='~')).collect();
    let mut response = status.into_response();
    let headers = response.headers_mut();
    if let Ok(reason) = HeaderValue::from_str(&printable) {
        headers.insert(REJECT_REASON, reason);
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A connection that was accepted and is nobody's yet. Nothing is read from it until it becomes a peer by
/// [`Room::create_peer`](crate::Room::create_peer). Dropped before that, it is closed (1011).
pub struct Connection {
    parts: Option<(WebSocket, String, Options)>,
}

impl Connection {
    /// Its socket, where the other side is, and limits.
    pub(crate) fn into_parts(mut self) -> Option<(WebSocket, String, Options)> {
        self.parts.take()
    }

    /// Sends the other side away (4000).
    pub fn close(mut self) {
        self.end(CloseCode::DELIBERATE);
    }

    fn end(&mut self, code: CloseCode) {
        if let Some((socket, _, options)) = self.parts.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(pump::close(socket, code, options));
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.end(CloseCode::INTERNAL_ERROR);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.parts.as_ref().map(|(_, address, _)| address);
        f.debug_struct("Connection").field("address", &address).finish()
    }
}
