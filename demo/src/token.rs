//! Bearer tokens (RFC 6750), compared in constant time.

use axum::http::{HeaderMap, header};
use subtle::ConstantTimeEq as _;

/// Whether a request comes with this token.
pub(crate) fn bears(headers: &HeaderMap, token: &str) -> bool {
    let expected = format!("Bearer {token}");
    let given = headers.get(header::AUTHORIZATION);
    given.is_some_and(|given| bool::from(given.as_bytes().ct_eq(expected.as_bytes())))
}
