//! The other side is OpenSSL: `s_client` and `s_server` over a real socket, since they have no other interface.

use std::io::{Read as _, Write as _};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

struct OpenSsl {
    process: Child,
    directory: tempfile::TempDir,
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(directory: &Path, arguments: &[&str]) {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("openssl is installed (make tools)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Starts OpenSSL with a certificate of this kind of key.
fn start(arguments: &[&str], key: &[&str]) -> OpenSsl {
    let directory = tempfile::tempdir().expect("a directory");
    let mut request = vec!["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=peer"];
    request.extend_from_slice(key);
    request.extend_from_slice(&["-keyout", "key.pem", "-out", "certificate.pem"]);
    run(directory.path(), &request);
    let process = Command::new("openssl")
        .args(arguments)
        .args(["-dtls1_2", "-cert", "certificate.pem", "-key", "key.pem"])
        .args(["-keymatexport", "EXTRACTOR-dtls_srtp", "-keymatexportlen", "60"])
        .current_dir(directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is installed (make tools)");
    OpenSsl { process, directory }
}

/// Drives our end over the socket until the condition holds.
fn drive(
    association: &mut Association,
    socket: &UdpSocket,
    peer: &mut Option<std::net::SocketAddr>,
    events: &mut Vec<Event>,
    done: impl Fn(&[Event]) -> bool,
) {
    let started = Instant::now();
    socket
        .set_read_timeout(Some(Duration::from_millis(20)))
        .expect("a time-out");
    let mut buffer = [0; 4096];
    while !done(events) {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "it takes too long; events: {events:?}"
        );
        while let (Some(to), Some(packet)) = (*peer, association.poll_output()) {
            // A server that is about to start refuses at first.
            let _ = socket.send_to(&packet, to);
        }
        let now = started.elapsed().as_micros() as u64;
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            *peer = Some(from);
            association.handle(&buffer[..length], now);
        }
        association.handle_timeout(started.elapsed().as_micros() as u64);
        events.extend(std::iter::from_fn(|| association.poll_event()));
    }
}

fn connected(events: &[Event]) -> bool {
    assert!(
        !events
            .iter()
            .any(|event| matches!(event, Event::Failed | Event::Closed)),
        "{events:?}"
    );
    events.iter().any(|event| matches!(event, Event::Connected(_)))
}

fn outcome(events: &mut Vec<Event>) -> Connected {
    match events.remove(0) {
        Event::Connected(connected) => *connected,
        other => panic!("{other:?}"),
    }
}

/// Reads the output of OpenSSL until its exported key material, 60 bytes, and compares.
fn assert_same_keys(openssl: &mut OpenSsl, client_key: &[u8], server_key: &[u8], suite: SrtpCryptoSuite) {
    let mut text = String::new();
    let mut byte = [0];
    let output = openssl.process.stdout.as_mut().expect("its output");
    let hex_of = |text: &str| {
        let (_, rest) = text.split_once("Keying material: ")?;
        rest.split_once('\n').map(|(line, _)| line.trim().to_owned())
    };
    while hex_of(&text).is_none() && output.read(&mut byte).expect("its output") > 0 {
        text.push(char::from(byte[0]));
    }
    let material = hex::decode(hex_of(&text).expect("key material")).expect("hexadecimal");
    let salt = if suite.master_length() == 30 { 14 } else { 12 };
    let key = suite.master_length() - salt;
    // They export 60 bytes: all of it for the suites of 30 bytes, the beginning of it for others.
    assert_eq!(material[..key.min(30)], client_key[..key.min(30)]);
    let end = (2 * key).min(60);
    assert_eq!(material[key..end], server_key[..end - key]);
}

const P256: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
const P384: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"];
const RSA: &[&str] = &["-newkey", "rsa:2048"];

fn own_certificate() -> Rc<Certificate> {
    Rc::new(Certificate::generate().expect("a certificate"))
}

fn serve_client(key: &[&str], profiles: &str, expected: SrtpCryptoSuite) {
    serve_client_with(key, profiles, expected, &[]);
}

fn serve_client_with(key: &[&str], profiles: &str, expected: SrtpCryptoSuite, options: &[&str]) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("an address").to_string();
    let mut arguments = vec!["s_client", "-connect", &address, "-use_srtp", profiles];
    arguments.extend_from_slice(options);
    let mut openssl = start(&arguments, key);
    let mut association = Association::new(own_certificate(), Role::Server, 0);
    let (mut peer, mut events) = (None, Vec::new());
    drive(&mut association, &socket, &mut peer, &mut events, connected);
    let outcome = outcome(&mut events);
    assert_eq!(outcome.suite, expected, "{profiles}");
    let shown = std::fs::read_to_string(openssl.directory.path().join("certificate.pem")).expect("it");
    assert_eq!(shown.trim(), outcome.peer_certificate.pem().trim());
    // The last messages of the handshake have to leave before it prints its keys.
    let mut input = openssl.process.stdin.take().expect("its input");
    input.write_all(b"hello\n").expect("it listens");
    let received = |events: &[Event]| events.iter().any(|event| matches!(event, Event::Data(_)));
    drive(&mut association, &socket, &mut peer, &mut events, received);
    assert_same_keys(
        &mut openssl,
        outcome.remote_key.as_ref(),
        outcome.local_key.as_ref(),
        outcome.suite,
    );
}

#[test]
fn openssl_clients_with_any_key_connect() {
    for key in [P256, P384, RSA] {
        serve_client(key, "SRTP_AEAD_AES_128_GCM", SrtpCryptoSuite::AeadAes128Gcm);
    }
}

#[test]
fn an_openssl_client_may_send_in_small_pieces() {
    for key in [P256, RSA] {
        serve_client_with(
            key,
            "SRTP_AEAD_AES_256_GCM",
            SrtpCryptoSuite::AeadAes256Gcm,
            &["-mtu", "512"],
        );
    }
}

#[test]
fn our_order_of_suites_wins_with_an_openssl_client() {
    let all = "SRTP_AES128_CM_SHA1_32:SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_128_GCM:SRTP_AEAD_AES_256_GCM";
    serve_client(P256, all, SrtpCryptoSuite::AeadAes256Gcm);
    let old = "SRTP_AES128_CM_SHA1_32:SRTP_AES128_CM_SHA1_80";
    serve_client(P256, old, SrtpCryptoSuite::AesCm128HmacSha1_80);
    serve_client(P256, "SRTP_AES128_CM_SHA1_32", SrtpCryptoSuite::AesCm128HmacSha1_32);
}

#[test]
fn openssl_servers_take_us() {
    for (key, profiles, expected) in [
        (P256, "SRTP_AEAD_AES_256_GCM", SrtpCryptoSuite::AeadAes256Gcm),
        (RSA, "SRTP_AES128_CM_SHA1_80", SrtpCryptoSuite::AesCm128HmacSha1_80),
    ] {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let port = UdpSocket::bind("127.0.0.1:0")
            .and_then(|socket| socket.local_addr())
            .expect("a port")
            .port();
        let port_text = port.to_string();
        let arguments = [
            "s_server",
            "-4",
            "-port",
            &port_text,
            "-Verify",
            "1",
            "-use_srtp",
            profiles,
        ];
        let mut openssl = start(&arguments, key);
        let mut association = Association::new(own_certificate(), Role::Client, 0);
        let mut peer = Some(std::net::SocketAddr::from(([127, 0, 0, 1], port)));
        let mut events = Vec::new();
        drive(&mut association, &socket, &mut peer, &mut events, connected);
        let outcome = outcome(&mut events);
        assert_eq!(outcome.suite, expected, "{profiles}");
        assert_same_keys(
            &mut openssl,
            outcome.local_key.as_ref(),
            outcome.remote_key.as_ref(),
            outcome.suite,
        );
    }
}

#[test]
fn an_openssl_client_without_srtp_is_refused() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("an address").to_string();
    let _openssl = start(&["s_client", "-connect", &address], P256);
    let mut association = Association::new(own_certificate(), Role::Server, 0);
    let (mut peer, mut events) = (None, Vec::new());
    let failed = |events: &[Event]| events.iter().any(|event| matches!(event, Event::Failed));
    drive(&mut association, &socket, &mut peer, &mut events, failed);
    assert!(association.poll_output().is_some(), "the peer is told");
}
