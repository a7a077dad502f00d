//! What browsers get: the page and its files, over HTTPS, and WebSockets at the same address.

use std::sync::Arc;

use demo::Server;
use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::client::start;

/// A folder with a page, and the place of a certificate that is not there yet.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("assets")).expect("a folder");
        std::fs::write(folder.path().join("index.html"), "<!doctype html><title>page</title>").expect("a file");
        std::fs::write(folder.path().join("assets/app-1.js"), "export {}").expect("a file");
        std::fs::write(folder.path().with_extension("secret"), "secret").expect("a file");
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    async fn server(&self) -> Server {
        let certificate = format!("--tls-cert={}", self.path("tls/cert.pem"));
        let key = format!("--tls-key={}", self.path("tls/key.pem"));
        let page = format!("--web-dir={}", self.path(""));
        start(&["--listen-ip=127.0.0.1", "--num-workers=1", &certificate, &key, &page]).await
    }

    /// Connects as a browser does that trusts this certificate alone.
    async fn connect(&self, server: &Server, name: &'static str) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(self.path("tls/cert.pem")).expect("a certificate");
        roots.add(certificate).expect("a root");
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(server.address()).await.expect("a connection");
        let name = ServerName::try_from(name).expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await.expect("TLS")
    }

    async fn get(&self, server: &Server, path: &str) -> String {
        let mut stream = self.connect(server, "localhost").await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("a connection");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer.to_ascii_lowercase()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0.path().with_extension("secret"));
    }
}

#[tokio::test]
async fn the_page_comes_with_a_certificate_of_its_own() {
    let files = Files::new();
    let server = files.server().await;
    assert!(
        server.urls()[0].starts_with("https://127.0.0.1:"),
        "{:?}",
        server.urls()
    );
    for path in ["/", "/?roomId=some&info=true"] {
        let page = files.get(&server, path).await;
        assert!(
            page.starts_with("http/1.1 200") && page.contains("<title>page</title>"),
            "{page}"
        );
        assert!(page.contains("content-security-policy: default-src 'self'"), "{page}");
        assert!(
            page.contains("content-type: text/html") && page.contains("no-cache"),
            "{page}"
        );
    }
    let script = files.get(&server, "/assets/app-1.js").await;
    assert!(
        script.contains("text/javascript") && script.contains("immutable"),
        "{script}"
    );
    for path in ["/assets/app-2.js", "/nothing", "/..%2f", "/../", "/%2e%2e/"] {
        let answer = files.get(&server, path).await;
        assert!(
            answer.starts_with("http/1.1 404") && !answer.contains("immutable"),
            "{path}: {answer}"
        );
    }
    let secret = files.0.path().with_extension("secret");
    let name = secret.file_name().expect("a name").to_string_lossy();
    let answer = files.get(&server, &format!("/%2e%2e/{name}")).await;
    assert!(!answer.contains("secret"), "{answer}");
    server.close();
}

#[tokio::test]
async fn the_certificate_that_was_made_is_used_again_and_its_key_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let files = Files::new();
    let read = || std::fs::read(files.path("tls/cert.pem")).expect("a certificate");
    files.server().await.close();
    let first = read();
    let mode = std::fs::metadata(files.path("tls/key.pem"))
        .expect("a key")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let server = files.server().await;
    assert_eq!(read(), first);
    // Another one, as whoever renews it does: with half of it nothing changes.
    std::fs::remove_file(files.path("tls/cert.pem")).expect("a file");
    server.reload_certificate();
    std::fs::remove_file(files.path("tls/key.pem")).expect("a file");
    server.reload_certificate();
    assert_ne!(read(), first);
    assert!(files.get(&server, "/healthz").await.ends_with("ok"));
    server.close();
}

#[tokio::test]
async fn signalling_is_at_the_address_of_the_page() {
    let files = Files::new();
    let server = files.server().await;
    let stream = files.connect(&server, "127.0.0.1").await;
    let mut request = format!("wss://{}/?roomId=r&peerId=p", server.address())
        .into_client_request()
        .expect("a request");
    let protocol = "protoo".parse().expect("a header");
    request.headers_mut().insert("sec-websocket-protocol", protocol);
    let (mut socket, response) = tokio_tungstenite::client_async(request, stream)
        .await
        .expect("a WebSocket");
    assert_eq!(response.status(), 101);
    let first = socket.next().await.expect("a message").expect("a connection");
    assert!(first.to_text().expect("text").contains("mediasoup-version"));
    assert_eq!(server.rooms(), 1);
    server.close();
}

#[tokio::test]
async fn without_a_page_there_is_a_message() {
    let files = Files::new();
    std::fs::remove_file(files.path("index.html")).expect("a file");
    let server = files.server().await;
    let answer = files.get(&server, "/").await;
    assert!(
        answer.starts_with("http/1.1 503") && answer.contains("--web-dir"),
        "{answer}"
    );
    assert!(files.get(&server, "/healthz").await.ends_with("ok"));
    server.close();
}
