//! What waits to be sent on a connection.

use std::collections::VecDeque;

use tokio::sync::Notify;

use crate::options::Options;
use crate::peer::lock;
use crate::{CloseCode, TransportClosed};

/// One thing to send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    Ping,
    Close(CloseCode),
}

/// Why a message was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Closed,
    Full,
}

impl From<Refused> for TransportClosed {
    fn from(_: Refused) -> Self {
        Self
    }
}

/// A bounded queue with one reader.
#[derive(Debug)]
pub(crate) struct Outgoing {
    state: std::sync::Mutex<State>,
    wake: Notify,
    max_messages: usize,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    texts: VecDeque<String>,
    bytes: usize,
    ping: bool,
    closed: bool,
    close: Option<CloseCode>,
}

impl Outgoing {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            state: std::sync::Mutex::default(),
            wake: Notify::new(),
            max_messages: options.max_queued_messages,
            max_bytes: options.max_queued_bytes,
        }
    }

    /// Queues a message.
    pub(crate) fn text(&self, text: String) -> Result<(), Refused> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.texts.len() >= self.max_messages || state.bytes.saturating_add(text.len()) > self.max_bytes {
            return Err(Refused::Full);
        }
        state.bytes += text.len();
        state.texts.push_back(text);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Asks for a sign of life.
    pub(crate) fn ping(&self) {
        lock(&self.state).ping = true;
        self.wake.notify_one();
    }

    /// Takes no more; `close` follows what is queued. Of several the first counts.
    pub(crate) fn close(&self, close: Option<CloseCode>) {
        let mut state = lock(&self.state);
        if !state.closed {
            state.closed = true;
            state.close = close;
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Throws away what is queued.
    pub(crate) fn clear(&self) {
        let mut state = lock(&self.state);
        state.texts = VecDeque::new();
        state.bytes = 0;
    }

    /// What is to be sent next; nothing once it is closed and empty.
    pub(crate) async fn next(&self) -> Option<Frame> {
        loop {
            let woken = self.wake.notified();
            {
                let mut state = lock(&self.state);
                if std::mem::take(&mut state.ping) && !state.closed {
                    return Some(Frame::Ping);
                }
                if let Some(text) = state.texts.pop_front() {
                    state.bytes -= text.len();
                    return Some(Frame::Text(text));
                }
                if state.closed {
                    return state.close.take().map(Frame::Close);
                }
            }
            woken.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_queued_goes_before_the_end() {
        let outgoing = Outgoing::new(&Options::default());
        outgoing.text("1".to_owned()).unwrap();
        outgoing.text("2".to_owned()).unwrap();
        outgoing.close(Some(CloseCode::DELIBERATE));
        outgoing.close(Some(CloseCode::GOING_AWAY));
        assert_eq!(outgoing.text("3".to_owned()), Err(Refused::Closed));
        assert_eq!(outgoing.next().await, Some(Frame::Text("1".to_owned())));
        assert_eq!(outgoing.next().await, Some(Frame::Text("2".to_owned())));
        assert_eq!(outgoing.next().await, Some(Frame::Close(CloseCode::DELIBERATE)));
        assert_eq!(outgoing.next().await, None);
    }

    #[tokio::test]
    async fn it_is_bounded_by_number_and_size() {
        let options = Options {
            max_queued_messages: 3,
            max_queued_bytes: 100,
            ..Options::default()
        };
        let outgoing = Outgoing::new(&options);
        assert_eq!(outgoing.text("x".repeat(101)), Err(Refused::Full));
        for _ in 0..3 {
            outgoing.text("x".repeat(20)).unwrap();
        }
        assert_eq!(outgoing.text(String::new()), Err(Refused::Full));
        outgoing.next().await.unwrap();
        assert_eq!(outgoing.text("x".repeat(61)), Err(Refused::Full));
        assert_eq!(outgoing.text("x".repeat(60)), Ok(()));
    }
}
