//! A server with one room, and a client.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::routing::get;
use futures_util::{SinkExt as _, StreamExt as _};
use protoo::{ConnectionRequest, Options, Peer, PeerEvents, Room};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Far more than anything takes here.
pub const LONG: Duration = Duration::from_secs(20);

/// A server whose connections become peers of one room; `peerId` in the query names them.
pub struct Server {
    pub address: SocketAddr,
    pub room: Room<()>,
    peers: mpsc::UnboundedReceiver<(Peer<()>, PeerEvents)>,
}

impl Server {
    pub async fn start(options: Options) -> Self {
        let room = Room::new();
        let (sender, peers) = mpsc::unbounded_channel();
        let shared = room.clone();
        let handler = move |request: ConnectionRequest| {
            let (room, sender, options) = (shared.clone(), sender.clone(), options.clone());
            async move {
                let id = request.query("peerId").unwrap_or_default();
                match id.as_str() {
                    "refused" => return request.reject(404, "no\r\nsuch room"),
                    "refused-late" => {
                        tokio::time::sleep(Duration::from_millis(200)).await;
                        return request.reject(400, "late");
                    }
                    _ => {}
                }
                request.with_options(options).accept(move |connection| async move {
                    match id.as_str() {
                        "forgotten" => drop(connection),
                        _ => {
                            // What the client sends in the meantime must not get lost.
                            tokio::time::sleep(Duration::from_millis(20)).await;
                            if let Ok(created) = room.create_peer(&id, (), connection) {
                                let _ = sender.send(created);
                            }
                        }
                    }
                })
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let site = Router::new().route("/", get(handler));
        let site = site.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, site).await });
        Self { address, room, peers }
    }

    pub async fn usual() -> Self {
        Self::start(Options::default()).await
    }

    /// Connects a client, and waits until it is a peer.
    pub async fn connect(&mut self, id: &str) -> (Client, Peer<()>, PeerEvents) {
        let client = Client::connect(self.address, id, Some("protoo")).await.unwrap();
        let (peer, events) = self.peer().await;
        (client, peer, events)
    }

    /// The next connection that became a peer.
    pub async fn peer(&mut self) -> (Peer<()>, PeerEvents) {
        within(self.peers.recv()).await.unwrap()
    }

    /// Connects a client whose requests are answered: `echo` gives back the data, everything else is refused.
    pub async fn connect_echo(&mut self, id: &str) -> (Client, Peer<()>) {
        let (client, peer, mut events) = self.connect(id).await;
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if let protoo::PeerEvent::Request(request, responder) = event {
                    match request.method.as_str() {
                        "echo" => responder.accept(request.data),
                        "panic" => {
                            tokio::spawn(async move {
                                let _responder = responder;
                                panic!("BOOM!!!");
                            });
                        }
                        _ => responder.reject(503, "WHO KNOWS!"),
                    }
                }
            }
        });
        (client, peer)
    }
}

/// Fails if it takes too long.
pub async fn within<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(LONG, future).await.expect("in time")
}

pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What a client sees next.
#[derive(Debug, PartialEq)]
pub enum Seen {
    Message(Value),
    Ping,
    /// With its code.
    Closed(Option<u16>),
}

impl Client {
    pub async fn connect(address: SocketAddr, id: &str, subprotocol: Option<&str>) -> anyhow::Result<Self> {
        let mut request = format!("ws://{address}/?roomId=r&peerId={id}").into_client_request()?;
        if let Some(subprotocol) = subprotocol {
            request
                .headers_mut()
                .insert("sec-websocket-protocol", subprotocol.parse()?);
        }
        let (socket, _) = within(connect_async(request)).await?;
        Ok(Self { socket })
    }

    pub async fn send(&mut self, value: Value) {
        self.send_text(&value.to_string()).await;
    }

    pub async fn send_text(&mut self, text: &str) {
        self.send_frame(Message::text(text)).await;
    }

    pub async fn send_frame(&mut self, frame: Message) {
        // A server that has closed takes nothing more.
        let _ = within(self.socket.send(frame)).await;
    }

    pub async fn see(&mut self) -> Seen {
        match within(self.socket.next()).await {
            Some(Ok(Message::Text(text))) => Seen::Message(serde_json::from_str(&text).unwrap()),
            Some(Ok(Message::Ping(_))) => Seen::Ping,
            Some(Ok(Message::Close(frame))) => Seen::Closed(frame.map(|CloseFrame { code, .. }| code.into())),
            Some(Ok(other)) => panic!("unexpected: {other:?}"),
            Some(Err(_)) | None => Seen::Closed(None),
        }
    }

    pub async fn message(&mut self) -> Value {
        match self.see().await {
            Seen::Message(value) => value,
            other => panic!("no message but {other:?}"),
        }
    }

    /// Asks and waits for the answer.
    pub async fn echo(&mut self, id: Value, data: Value) {
        self.send(json!({ "request": true, "id": id, "method": "echo", "data": data }))
            .await;
        let expected = json!({ "response": true, "id": id, "ok": true, "data": data });
        assert_eq!(self.message().await, expected);
    }

    pub async fn close(&mut self) {
        within(self.socket.close(None)).await.unwrap();
    }
}

/// A client that writes bytes.
pub struct RawClient(TcpStream);

impl RawClient {
    pub async fn connect(address: SocketAddr, id: &str) -> anyhow::Result<Self> {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = TcpStream::connect(address).await?;
        let request = format!(
            "GET /?peerId={id} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
             Sec-WebSocket-Protocol: protoo\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within(stream.read_u8()).await?);
        }
        let head = String::from_utf8(head)?;
        anyhow::ensure!(head.starts_with("HTTP/1.1 101"), "refused: {head}");
        Ok(Self(stream))
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        use tokio::io::AsyncWriteExt as _;
        self.0.write_all(bytes).await.unwrap();
    }

    /// Reads a short frame that is not fragmented: its first byte and its payload.
    pub async fn frame(&mut self) -> anyhow::Result<(u8, Vec<u8>)> {
        use tokio::io::AsyncReadExt as _;
        let first = within(self.0.read_u8()).await?;
        let length = usize::from(within(self.0.read_u8()).await?);
        anyhow::ensure!(length < 126, "a long frame");
        let mut payload = vec![0; length];
        within(self.0.read_exact(&mut payload)).await?;
        Ok((first, payload))
    }

    /// The code of the close frame that comes next.
    pub async fn close_code(&mut self) -> anyhow::Result<u16> {
        let (first, payload) = self.frame().await?;
        anyhow::ensure!(first == 0x88, "not a close frame: {first:#x}");
        let code = payload.first_chunk().context("no code")?;
        Ok(u16::from_be_bytes(*code))
    }
}

/// A frame of a client, masked with zeros.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}
