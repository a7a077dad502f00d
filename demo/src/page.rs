//! The page: static files that were built before.

use std::path::{Path, PathBuf};

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse as _, Response};
use tower_http::services::ServeDir;

/// Where `npm run build` puts it, seen from the top of the sources and from `demo`.
const BUILT: [&str; 2] = ["demo/web/dist", "web/dist"];

/// What the page may do. Its scripts and styles are its own files; media come from objects in memory.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; connect-src 'self' wss: ws:; img-src 'self' data: blob:; media-src 'self' blob:; \
             object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(self), microphone=(self), display-capture=(self)"),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// The folder with the page, or none if it is not built.
#[derive(Debug, Clone)]
pub(crate) struct Page(Option<PathBuf>);

impl Page {
    /// Looks for it in `wanted`, or else below the current folder and those above this program.
    pub(crate) fn find(wanted: Option<&Path>) -> Self {
        let found = match wanted {
            Some(folder) => Some(folder.to_owned()),
            None => candidates().into_iter().find(|folder| has_index(folder)),
        };
        let found = found.filter(|folder| has_index(folder));
        match &found {
            Some(folder) => tracing::info!(folder = %folder.display(), "page"),
            None => tracing::warn!(
                "there is no index.html in {}: only signalling and broadcasters are served",
                wanted.map_or(BUILT[0].into(), |folder| folder.display().to_string())
            ),
        }
        Self(found)
    }

    /// What is asked for with `/`.
    pub(crate) async fn index(&self) -> Response {
        let Some(folder) = &self.0 else {
            let text = "The page is not built. `make run` builds it; or name its folder with --web-dir.\n";
            return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
        };
        match tokio::fs::read(folder.join("index.html")).await {
            // Names in it change with each build.
            Ok(text) => ([(header::CACHE_CONTROL, "no-cache")], Html(text)).into_response(),
            Err(error) => {
                tracing::error!(%error, "cannot read the page");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }

    /// Its other files; without a page there is nothing.
    pub(crate) fn files(&self) -> Option<ServeDir> {
        self.0.as_ref().map(ServeDir::new)
    }
}

fn candidates() -> Vec<PathBuf> {
    let program = std::env::current_exe().unwrap_or_default();
    let folders = std::iter::once(Path::new("")).chain(program.ancestors().skip(1).take(4));
    folders
        .flat_map(|folder| BUILT.map(|built| folder.join(built)))
        .collect()
}

fn has_index(folder: &Path) -> bool {
    folder.join("index.html").is_file()
}

/// Adds what browsers are to be told with every answer.
pub(crate) async fn add_headers(request: Request, next: Next) -> Response {
    // Built files carry a hash of their content in their names.
    let immutable = request.uri().path().starts_with("/assets/");
    let mut response = next.run(request).await;
    let found = response.status().is_success();
    let headers = response.headers_mut();
    headers.extend(HEADERS);
    if immutable && found {
        let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
        headers.insert(header::CACHE_CONTROL, forever);
    }
    response
}
