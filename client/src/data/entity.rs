//! What data producers and data consumers have in common.

use std::sync::Weak;

use bytes::Bytes;
use channel_proto::command::{Command, Target};

use super::DataMessage;
use crate::app_data::AppData;
use crate::channel::{Link, Reply};
use crate::error::{Error, Result};
use crate::events::{CloseReason, Emitter};
use crate::hooks::EndHooks;
use crate::sync::Lock;
use crate::transport::Core;

/// What is fixed when one is created.
pub(crate) struct Parts<D> {
    pub(crate) dump: D,
    pub(crate) app_data: AppData,
    pub(crate) target: Target,
    pub(crate) transport: Weak<Core>,
}

/// A data producer or data consumer of a worker, with its dump and its events.
pub(super) struct Entity<D, E> {
    pub(super) parts: Parts<D>,
    pub(super) link: Link,
    pub(super) events: Emitter<E>,
    what: &'static str,
    end: EndHooks,
    closed: Lock<bool>,
}

impl<D, E: Clone> Entity<D, E> {
    pub(super) fn new(what: &'static str, parts: Parts<D>, link: Link) -> Self {
        Self {
            parts,
            link,
            events: Emitter::new(),
            what,
            end: EndHooks::new(),
            closed: Lock::new(false),
        }
    }

    pub(super) fn on_end(&self, hook: impl FnOnce() + Send + 'static) {
        self.end.add(hook);
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.closed.lock()
    }

    /// Ends it, unless it has ended: the worker hears of it by `close` if it does not know, the transport by `forget`,
    /// and the application by `last`.
    pub(super) fn end(&self, id: &str, reason: CloseReason, close: Command, forget: fn(&Core, &str), last: E) {
        if std::mem::replace(&mut *self.closed.lock(), true) {
            return;
        }
        self.link.unsubscribe(&self.parts.target);
        if reason == CloseReason::Requested {
            self.link.post(self.parts.target.clone(), close);
        }
        if let Some(transport) = self.parts.transport.upgrade() {
            forget(&transport, id);
        }
        self.events.close(last);
        self.end.run();
    }

    pub(super) async fn request<T: Send + 'static>(
        &self,
        command: Command,
        apply: impl FnOnce(Reply) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.check_open()?;
        self.link.request(self.parts.target.clone(), command, apply).await
    }

    /// PPID and bytes of a message, if it can be sent now.
    pub(super) fn outgoing(&self, message: DataMessage) -> Result<(u32, Bytes)> {
        self.check_open()?;
        let (ppid, payload) = message.into_wire()?;
        if let Some(transport) = self.parts.transport.upgrade() {
            transport.check_message_size(payload.len())?;
        }
        Ok((ppid, payload))
    }

    fn check_open(&self) -> Result<()> {
        if self.is_closed() {
            return Err(Error::closed(self.what));
        }
        Ok(())
    }
}
