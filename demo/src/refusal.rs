//! Why the server does not do what it is asked for.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use client::ErrorKind;
use protoo::Rejection;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Why the server does not do what it is asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// What is asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Who asks may not.
    #[error("{0}")]
    Forbidden(String),
    /// It names something that is not there, or is not theirs.
    #[error("{0}")]
    NotFound(String),
    /// It is not the time for it.
    #[error("{0}")]
    Conflict(String),
    /// There are as many as there may be.
    #[error("{0}")]
    TooMany(String),
    /// It did not work.
    #[error("{0}")]
    Failed(String),
}

impl Refusal {
    pub(crate) fn not_found(what: &str, id: &str) -> Self {
        Self::NotFound(format!("{what} {id:?} not found"))
    }

    pub(crate) fn not_joined() -> Self {
        Self::Conflict("not joined".to_owned())
    }

    pub(crate) fn gone() -> Self {
        Self::Conflict("the peer has left".to_owned())
    }
}

impl From<client::Error> for Refusal {
    fn from(error: client::Error) -> Self {
        match error.kind() {
            ErrorKind::Type | ErrorKind::Unsupported => Self::Invalid(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Pages know 400 for what makes no sense, 403, 429, and 500 for everything else.
impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::Invalid(_) => 400,
            Refusal::Forbidden(_) => 403,
            Refusal::TooMany(_) => 429,
            Refusal::NotFound(_) | Refusal::Conflict(_) | Refusal::Failed(_) => 500,
        };
        Self::new(code, refusal.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, self.to_string()).into_response()
    }
}

/// Reads what came with a request.
pub(crate) fn parse<T: DeserializeOwned>(data: Value) -> Result<T, Refusal> {
    serde_json::from_value(data).map_err(|error| Refusal::Invalid(error.to_string()))
}

/// The text under a key.
pub(crate) fn text<'a>(data: &'a Value, key: &str) -> Result<&'a str, Refusal> {
    let value = data.get(key).and_then(Value::as_str);
    value.ok_or_else(|| Refusal::Invalid(format!("{key} is missing or no text")))
}
