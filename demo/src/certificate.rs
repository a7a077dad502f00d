//! What HTTPS needs: a certificate with its key, made if there is none.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::Config;
use crate::config::own_address;

/// Some browsers take no certificate that is valid for longer.
const VALIDITY: Duration = Duration::from_secs(825 * 24 * 3600);

/// Reads certificate and key, after making them if neither is there.
pub(crate) fn load(config: &Config) -> anyhow::Result<TlsAcceptor> {
    let (certificate, key) = (&config.tls_cert, &config.tls_key);
    if !certificate.exists() && !key.exists() {
        make(config).with_context(|| format!("cannot make a certificate in {}", certificate.display()))?;
    }
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .with_context(|| format!("cannot read certificates from {}", certificate.display()))?;
    let first = chain
        .first()
        .with_context(|| format!("no certificate in {}", certificate.display()))?;
    tracing::info!(sha256 = fingerprint(first), file = %certificate.display(), "certificate");
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("cannot read a key from {}", key.display()))?;
    let mut tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("certificate and key do not fit")?;
    // WebSockets need HTTP/1.1.
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

/// As browsers show it.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let hash = digest(&SHA256, certificate);
    let bytes: Vec<_> = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

/// Writes a certificate that signs itself, for the names and addresses of this machine.
fn make(config: &Config) -> anyhow::Result<()> {
    let mut names = vec!["localhost".to_owned()];
    let mut add = |name: String| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    let addresses: [IpAddr; 3] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), own_address()];
    addresses.iter().for_each(|address| add(address.to_string()));
    config.announced_ip.iter().for_each(|name| add(name.clone()));
    if let Some(ip) = config.listen_ip.filter(|ip| !ip.is_unspecified()) {
        add(ip.to_string());
    }
    let mut parameters = CertificateParams::new(names)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "Sluice demo");
    parameters.distinguished_name = name;
    let now = SystemTime::now();
    parameters.not_before = (now - Duration::from_secs(24 * 3600)).into();
    parameters.not_after = (now + VALIDITY).into();
    let key = KeyPair::generate()?;
    let certificate = parameters.self_signed(&key)?;
    write(&config.tls_key, &key.serialize_pem(), 0o600)?;
    write(&config.tls_cert, &certificate.pem(), 0o644)
}

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
