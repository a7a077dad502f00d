//! The one error type of this crate.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use channel_proto::reply::FailureKind;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument was refused before anything was sent.
    #[error("{0}")]
    Type(String),
    /// Codecs that nobody shares, or an operation that this kind of object does not have.
    #[error("{0}")]
    Unsupported(String),
    /// The object, or the worker behind it, is closed.
    #[error("{0}")]
    InvalidState(String),
    /// The worker refused a request.
    #[error("{method}: {reason}")]
    Worker {
        /// Method of the request.
        method: &'static str,
        /// Whose mistake it was.
        kind: FailureKind,
        /// What the worker said, verbatim.
        reason: String,
    },
    /// An id that names nothing in this router.
    #[error("no {what} with id {id:?}")]
    NotFound {
        /// Kind of object.
        what: &'static str,
        /// The id.
        id: String,
    },
    /// A pool of numbers is used up.
    #[error("{0}")]
    Exhausted(String),
    /// The worker did not answer in time.
    #[error("{method}: no answer within {after:?}")]
    Timeout {
        /// Method of the request.
        method: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// A message does not fit into a frame, or is larger than its transport allows.
    #[error("message of {length} bytes is larger than the {limit} that may be sent")]
    TooBig {
        /// Bytes of the message.
        length: usize,
        /// Bytes that may be sent.
        limit: usize,
    },
    /// The worker answered with something that makes no sense.
    #[error("{method}: answer not understood: {reason}")]
    Protocol {
        /// Method of the request.
        method: &'static str,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The worker binary could not be found.
    #[error("no worker binary: neither MEDIASOUP_WORKER_BIN nor a file named `worker` next to {0}")]
    NoBinary(PathBuf),
    /// The worker process could not be started.
    #[error("cannot start {binary}: {source}")]
    Spawn {
        /// What was to be started.
        binary: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The worker found its settings wrong and ended.
    #[error("the worker refused its settings: {0}")]
    Settings(String),
    /// The worker ended before it was up.
    #[error("the worker did not come up: {exit}{}{stderr}", if stderr.is_empty() { "" } else { "; it said: " })]
    Start {
        /// How it ended.
        exit: Exit,
        /// The last lines of its standard error.
        stderr: String,
    },
    /// The worker was not up in time, and was killed.
    #[error("the worker was not up within {0:?}")]
    StartTimeout(Duration),
    /// The system refused something.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The classes that applications tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// An argument is wrong: the caller's mistake.
    Type,
    /// What was asked for is not supported.
    Unsupported,
    /// The object is closed.
    InvalidState,
    /// Everything else.
    Other,
}

impl Error {
    /// The class of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Type(_)
            | Self::Settings(_)
            | Self::Worker {
                kind: FailureKind::TypeError,
                ..
            } => ErrorKind::Type,
            Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::InvalidState(_) => ErrorKind::InvalidState,
            _ => ErrorKind::Other,
        }
    }

    pub(crate) fn closed(what: &str) -> Self {
        Self::InvalidState(format!("{what} is closed"))
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Type => "TypeError",
            Self::Unsupported => "UnsupportedError",
            Self::InvalidState => "InvalidStateError",
            Self::Other => "Error",
        })
    }
}

/// How a worker process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Its process id.
    pub pid: u32,
    /// Exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "worker process {} ended with code {code}", self.pid),
            (None, Some(signal)) => write!(f, "worker process {} was ended by signal {signal}", self.pid),
            (None, None) => write!(f, "worker process {} ended", self.pid),
        }
    }
}

impl std::error::Error for Exit {}
