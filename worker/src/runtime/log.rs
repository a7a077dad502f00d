//! Log lines as frames of the Channel: a `tracing` layer with the parent's levels and tags.
//!
//! The target of an event is its tag (`info`, `ice`, `rtp`, ...); lines without a known tag need only the level.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use channel_proto::command::LogLevel;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Writes a line to standard error, for what cannot go to the parent. Who would read it may be gone with the parent:
/// that must not matter, while `eprintln!` would panic.
pub fn complain(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Tags that a parent can choose.
const TAGS: [&str; 13] = [
    "info",
    "ice",
    "dtls",
    "rtp",
    "srtp",
    "rtcp",
    "rtx",
    "bwe",
    "score",
    "simulcast",
    "svc",
    "sctp",
    "message",
];
/// Longest line in bytes.
const MAX_LINE: usize = 50_000;

/// Level and tags in force, and lines that wait to be sent.
#[derive(Debug, Clone, Default)]
pub struct ChannelLog(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    level: LogLevel,
    tags: HashSet<String>,
    lines: Vec<Vec<u8>>,
}

impl ChannelLog {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the level.
    pub fn set_level(&self, level: LogLevel) {
        self.state().level = level;
    }

    /// Replaces the tags; unknown ones are skipped.
    pub fn set_tags(&self, tags: &[String]) {
        self.state().tags = tags
            .iter()
            .filter(|tag| TAGS.contains(&tag.as_str()))
            .cloned()
            .collect();
    }

    /// Takes the frames of lines since the last call.
    pub fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.state().lines)
    }
}

impl<S: Subscriber> Layer<S> for ChannelLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let (first, needed) = match *event.metadata().level() {
            Level::ERROR => (b'E', LogLevel::Error),
            Level::WARN => (b'W', LogLevel::Warn),
            _ => (b'D', LogLevel::Debug),
        };
        let mut state = self.state();
        let rank = |level: LogLevel| match level {
            LogLevel::None => 0,
            LogLevel::Error => 1,
            LogLevel::Warn => 2,
            LogLevel::Debug => 3,
        };
        let tag = event.metadata().target();
        let tagged_out = needed != LogLevel::Error && TAGS.contains(&tag) && !state.tags.contains(tag);
        if rank(state.level) < rank(needed) || tagged_out {
            return;
        }
        let mut line = Line(String::from(char::from(first)));
        line.0.push_str(tag);
        line.0.push_str(" |");
        event.record(&mut line);
        let mut line = line.0.replace('\n', " ").into_bytes();
        line.truncate(MAX_LINE);
        state.lines.push(line);
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = if field.name() == "message" {
            write!(self.0, " {value:?}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }
}
