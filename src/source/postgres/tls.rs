//! Whom we believe: TLS settings of both kinds of connection.
//!
//! The crypto provider is named, never taken from the process, so that two libraries with a provider each
//! cannot stop us at start.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_cert::der::Decode;

use super::{Error, Options, SslMode};

const OPERATION: &str = "prepare TLS";

/// The TLS settings that the options ask for; nothing when they ask for none. A unix socket has no TLS.
///
/// # Errors
/// `source-tls` when there is no CA to believe.
pub fn client_config(options: &Options) -> Result<Option<ClientConfig>, Error> {
    if options.ssl_mode == SslMode::Disable || is_unix(&options.host) {
        return Ok(None);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string(), "report this as a defect"))?;
    let config = match options.ssl_mode {
        SslMode::VerifyFull => builder.with_root_certificates(roots(options.ssl_ca.as_deref())?),
        SslMode::VerifyCa => {
            let roots = Some(roots(options.ssl_ca.as_deref())?);
            builder.dangerous().with_custom_certificate_verifier(Arc::new(WithoutName { roots, provider }))
        }
        SslMode::Require | SslMode::Disable => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(WithoutName { roots: None, provider })),
    };
    Ok(Some(config.with_no_client_auth()))
}

/// Whether the host is the folder of a unix socket.
pub(super) fn is_unix(host: &str) -> bool {
    host.starts_with('/')
}

fn roots(own: Option<&Path>) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    let Some(path) = own else {
        let found = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(found.certs);
        if store.is_empty() {
            return Err(refused("the system has no CA certificates".to_owned(), "name a PEM file in ssl_ca"));
        }
        return Ok(store);
    };
    let unreadable = |reason: String| {
        refused(
            format!("{}: {reason}", path.display()),
            "ssl_ca must be a readable PEM file of CA certificates",
        )
    };
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))? {
        let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
        store.add(certificate).map_err(|error| unreadable(error.to_string()))?;
    }
    if store.is_empty() {
        return Err(unreadable("no certificate in it".to_owned()));
    }
    Ok(store)
}

fn refused(reason: String, hint: &str) -> Error {
    Error::Refused { code: "source-tls", operation: OPERATION, reason, hint: hint.to_owned() }
}

/// Believes a certificate whatever name it holds: signed by one of `roots`, or without any by anyone.
#[derive(Debug)]
struct WithoutName {
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for WithoutName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    // That the other side holds the certificate's key is checked in every mode.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The `tls-server-end-point` of a certificate (RFC 5929, section 4.1): its hash by the function that its
/// own signature uses, SHA-256 for the weaker ones. Nothing where the signature has no hash of its own
/// (Ed25519): then there is no channel binding.
pub(super) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let parsed = x509_cert::Certificate::from_der(certificate).ok()?;
    let algorithm = parsed.signature_algorithm.oid.to_string();
    Some(match algorithm.as_str() {
        // md5, sha1 and sha256 with RSA; sha1 and sha256 with ECDSA.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => Sha256::digest(certificate).to_vec(),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Sha384::digest(certificate).to_vec(),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Sha512::digest(certificate).to_vec(),
        _ => return None,
    })
}
