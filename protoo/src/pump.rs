//! Moves frames between a WebSocket and a peer, until one of them ends.

use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message as Frame, Utf8Bytes, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Error as WebSocketError;

use crate::message::Message;
use crate::outgoing::Frame as Outgoing;
use crate::peer::{Link, PeerEvent, PeerEvents, Queued, Responder};
use crate::{CloseCode, Options};

/// What each message counts beside its bytes: an event takes memory even if it is empty.
const OVERHEAD: usize = 256;

/// Starts to read and write in a task of its own.
pub(crate) fn start(socket: WebSocket, link: Arc<Link>) -> PeerEvents {
    let (sender, receiver) = mpsc::unbounded_channel();
    let events = PeerEvents::new(receiver, Arc::clone(&link));
    tokio::spawn(run(socket, link, sender));
    events
}

/// Sends a close frame and waits for the other side to do so.
pub(crate) async fn close(mut socket: WebSocket, code: CloseCode, options: Options) {
    let goodbye = async {
        if socket.send(close_frame(code)).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    let _ = timeout(options.close_within, goodbye).await;
}

fn close_frame(CloseCode { code, reason }: CloseCode) -> Frame {
    Frame::Close(Some(CloseFrame {
        code,
        reason: Utf8Bytes::from_static(reason),
    }))
}

async fn run(socket: WebSocket, link: Arc<Link>, events: mpsc::UnboundedSender<Queued>) {
    let _gone = link.gone().clone().drop_guard();
    let (sink, stream) = socket.split();
    let close_within = link.options.close_within;
    let talk = async {
        let mut reader = Reader::new(stream, Arc::clone(&link), events);
        let writing = write(sink, &link);
        tokio::pin!(writing);
        tokio::select! {
            () = reader.run() => {
                // What is queued, and the close frame if it is for us to send one.
                writing.await;
            }
            () = &mut writing => {}
        }
        link.end(None, false);
        // Until the other side has closed too; what it says before is ignored. Closed with bytes unread, a connection
        // is reset, and the close frame might be lost.
        reader.drain().await;
    };
    let give_up = async {
        link.ended().cancelled().await;
        sleep(close_within).await;
    };
    tokio::select! {
        () = talk => {}
        () = give_up => tracing::debug!("the other side does not close"),
    }
}

/// Sends what is queued. Ends with the queue, or when nothing can be sent.
async fn write(mut sink: SplitSink<WebSocket, Frame>, link: &Link) {
    while let Some(frame) = link.outgoing.next().await {
        let frame = match frame {
            Outgoing::Text(text) => Frame::Text(text.into()),
            Outgoing::Ping => Frame::Ping(Vec::new().into()),
            Outgoing::Close(code) => close_frame(code),
        };
        if let Err(error) = sink.send(frame).await {
            tracing::debug!(%error, "cannot send");
            return;
        }
    }
}

struct Reader {
    stream: SplitStream<WebSocket>,
    link: Arc<Link>,
    /// None when nothing more comes for the application.
    events: Option<mpsc::UnboundedSender<Queued>>,
    /// Room for messages that wait to be handled, in bytes.
    room: Arc<Semaphore>,
    malformed: usize,
}

impl Reader {
    fn new(stream: SplitStream<WebSocket>, link: Arc<Link>, events: mpsc::UnboundedSender<Queued>) -> Self {
        let options = &link.options;
        let bytes = options
            .max_queued_messages
            .saturating_mul(OVERHEAD)
            .saturating_add(options.max_queued_bytes);
        Self {
            room: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))),
            stream,
            link,
            events: Some(events),
            malformed: 0,
        }
    }

    /// Takes what comes, until either side ends the connection.
    async fn run(&mut self) {
        self.take_all().await;
        self.events = None;
    }

    async fn take_all(&mut self) {
        loop {
            let Some(frame) = self.next_frame().await else {
                return self.link.end(None, false);
            };
            let ending = match frame {
                _ if self.link.is_closed() => return,
                Ok(Frame::Text(text)) => self.take(&text).err(),
                Ok(Frame::Binary(_)) => {
                    tracing::warn!("binary message ignored");
                    None
                }
                Ok(Frame::Ping(_) | Frame::Pong(_)) => None,
                Ok(Frame::Close(_)) => return self.link.end(None, false),
                Err(error) => return self.link.end(code_of(error), false),
            };
            if let Some(code) = ending {
                return self.link.end(Some(code), false);
            }
        }
    }

    /// The next frame; none if there is no more, or no sign of life.
    async fn next_frame(&mut self) -> Option<Result<Frame, axum::Error>> {
        let options = &self.link.options;
        if let Ok(frame) = timeout(options.ping_after, self.stream.next()).await {
            return frame;
        }
        self.link.outgoing.ping();
        let frame = timeout(options.pong_within, self.stream.next()).await;
        frame.unwrap_or_else(|_| {
            tracing::debug!("no sign of life");
            None
        })
    }

    fn take(&mut self, text: &str) -> Result<(), CloseCode> {
        if text.len() > self.link.options.max_message_size {
            return Err(CloseCode::TOO_LARGE);
        }
        let message = match Message::parse(text) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(%error, "message dropped");
                self.malformed += 1;
                return if self.malformed > self.link.options.max_malformed {
                    Err(CloseCode::TOO_MANY_MALFORMED)
                } else {
                    Ok(())
                };
            }
        };
        let event = match message {
            Message::Response { id, result } => {
                self.link.answered(&id, result);
                return Ok(());
            }
            Message::Request(request) => {
                let responder = Responder::new(request.id.clone(), Arc::clone(&self.link));
                PeerEvent::Request(request, responder)
            }
            Message::Notification(notification) => PeerEvent::Notification(notification),
        };
        let size = u32::try_from(text.len().saturating_add(OVERHEAD)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(size);
        let _room = room.map_err(|_| CloseCode::TOO_MANY_WAITING)?;
        // Nobody listens: a request is answered by its responder being dropped.
        if let Some(events) = &self.events {
            let _ = events.send(Queued { event, _room });
        }
        Ok(())
    }

    async fn drain(mut self) {
        self.events = None;
        while let Some(Ok(_)) = self.stream.next().await {}
    }
}

/// What to tell the other side about an error of its frames; nothing if it cannot hear us.
fn code_of(error: axum::Error) -> Option<CloseCode> {
    let error = error.into_inner().downcast::<WebSocketError>().ok()?;
    match *error {
        WebSocketError::Capacity(_) => Some(CloseCode::TOO_LARGE),
        WebSocketError::Utf8(_) => Some(CloseCode::NOT_UTF8),
        WebSocketError::Protocol(
            tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        ) => None,
        WebSocketError::Protocol(_) => Some(CloseCode::PROTOCOL_ERROR),
        _ => None,
    }
}
