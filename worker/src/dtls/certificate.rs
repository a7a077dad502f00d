//! The certificate that a worker shows to all peers, and those that peers show.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use channel_proto::transport_parameters::{DtlsFingerprint, FingerprintAlgorithm};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rtc_dtls::crypto::CryptoPrivateKey;
use subtle::ConstantTimeEq as _;

/// Seconds of a year on average.
const YEAR: u64 = 31_556_952;
/// Years before and after now in which a generated certificate is valid.
const VALIDITY: i32 = 10;
const ALGORITHMS: [FingerprintAlgorithm; 5] = [
    FingerprintAlgorithm::Sha1,
    FingerprintAlgorithm::Sha224,
    FingerprintAlgorithm::Sha256,
    FingerprintAlgorithm::Sha384,
    FingerprintAlgorithm::Sha512,
];

/// Why there is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The cryptographic library refuses.
    #[error("cannot generate a DTLS certificate: {0}")]
    Generate(String),
    /// The certificate file has no PEM certificate, or not of a kind that is known.
    #[error("the DTLS certificate file holds no PEM certificate: {0}")]
    NoCertificate(String),
    /// The key file has no PEM private key, or not of a kind that is known.
    #[error("the DTLS private key file holds no usable PEM key (ECDSA P-256, Ed25519 or RSA): {0}")]
    NoKey(String),
    /// They belong to different pairs.
    #[error("the DTLS private key is not that of the certificate")]
    KeyOfAnother,
}

/// A certificate with its private key.
#[derive(Debug)]
pub struct Certificate {
    pub(super) inner: rtc_dtls::crypto::Certificate,
    fingerprints: Vec<DtlsFingerprint>,
}

impl Certificate {
    /// Generates a self-signed one with an ECDSA P-256 key.
    ///
    /// # Errors
    /// The cryptographic library refuses.
    pub fn generate() -> Result<Self, CertificateError> {
        let failed = |error: &dyn std::fmt::Display| CertificateError::Generate(error.to_string());
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| failed(&error))?;
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        let number = rand::random_range(100_000..1_000_000);
        name.push(DnType::OrganizationName, format!("sluice{number}"));
        name.push(DnType::CommonName, format!("sluice{number}"));
        params.distinguished_name = name;
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let year = 1970 + (seconds / YEAR) as i32;
        params.not_before = rcgen::date_time_ymd(year - VALIDITY, 1, 1);
        params.not_after = rcgen::date_time_ymd(year + VALIDITY, 1, 1);
        let certificate = params.self_signed(&key).map_err(|error| failed(&error))?;
        Self::new(vec![certificate.der().to_vec()], &key)
    }

    /// Reads a certificate (or chain, own certificate first) and its private key.
    ///
    /// # Errors
    /// One of them is missing, of an unknown kind, or they do not belong together.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, CertificateError> {
        let chain: Vec<Vec<u8>> = x509_parser::pem::Pem::iter_from_buffer(certificate.as_bytes())
            .filter_map(Result::ok)
            .filter(|block| block.label == "CERTIFICATE")
            .map(|block| block.contents)
            .collect();
        let none = || CertificateError::NoCertificate("no such block".to_owned());
        let first = chain.first().ok_or_else(none)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(first)
            .map_err(|error| CertificateError::NoCertificate(error.to_string()))?;
        let key = KeyPair::from_pem(key).map_err(|error| CertificateError::NoKey(error.to_string()))?;
        if parsed.public_key().raw != rcgen::PublicKeyData::subject_public_key_info(&key) {
            return Err(CertificateError::KeyOfAnother);
        }
        Self::new(chain, &key)
    }

    fn new(chain: Vec<Vec<u8>>, key: &KeyPair) -> Result<Self, CertificateError> {
        let provider = rtc_crypto::default_provider().map_err(|error| CertificateError::Generate(error.to_string()))?;
        let private_key = CryptoPrivateKey::from_key_pair(key, provider.crypto())
            .map_err(|error| CertificateError::NoKey(error.to_string()))?;
        let own = chain.first().map(Vec::as_slice).unwrap_or_default();
        let fingerprints = ALGORITHMS.map(|algorithm| DtlsFingerprint {
            algorithm,
            value: spell(hash(algorithm, own).as_ref()),
        });
        Ok(Self {
            fingerprints: fingerprints.to_vec(),
            inner: rtc_dtls::crypto::Certificate {
                certificate: chain.into_iter().map(Into::into).collect(),
                private_key,
            },
        })
    }

    /// One of each algorithm.
    pub fn fingerprints(&self) -> &[DtlsFingerprint] {
        &self.fingerprints
    }
}

/// The certificate that a peer has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    der: Vec<u8>,
}

impl PeerCertificate {
    /// A certificate in DER form.
    pub fn new(der: Vec<u8>) -> Self {
        Self { der }
    }

    /// Whether it is the one that was announced. The case of the digits does not matter.
    pub fn matches(&self, announced: &DtlsFingerprint) -> bool {
        let digits: Result<Vec<u8>, _> = announced
            .value
            .split(':')
            .map(|pair| match pair.len() {
                2 => u8::from_str_radix(pair, 16).map_err(drop),
                _ => Err(()),
            })
            .collect();
        let digest = hash(announced.algorithm, &self.der);
        digits.is_ok_and(|digits| digits.ct_eq(digest.as_ref()).into())
    }

    /// In PEM form, each line ended by a newline.
    pub fn pem(&self) -> String {
        let text = STANDARD.encode(&self.der);
        let mut pem = String::with_capacity(text.len() + text.len() / 64 + 64);
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, more) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = more;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }
}

fn hash(algorithm: FingerprintAlgorithm, bytes: &[u8]) -> digest::Digest {
    let algorithm = match algorithm {
        FingerprintAlgorithm::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        FingerprintAlgorithm::Sha224 => &digest::SHA224,
        FingerprintAlgorithm::Sha256 => &digest::SHA256,
        FingerprintAlgorithm::Sha384 => &digest::SHA384,
        FingerprintAlgorithm::Sha512 => &digest::SHA512,
    };
    digest::digest(algorithm, bytes)
}

/// As in SDP (RFC 8122): upper-case bytes joined by colons.
fn spell(digest: &[u8]) -> String {
    let pairs: Vec<_> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}
