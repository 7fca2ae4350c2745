//! A certificate and its key: whether they are one another's is asked of the library that TLS is done with.

use pki_types::pem::PemObject;
use pki_types::{CertificateDer, PrivateKeyDer};
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::kind::is_pem;

/// How a certificate and a key stand to one another.
#[derive(Debug, PartialEq, Eq)]
pub enum Pair {
    Fits,
    /// The key is of another certificate.
    Differs,
    /// The key is of an algorithm that the library does not know.
    Unknown,
}

/// Holds them against one another.
pub fn pair(certificate: &[u8], key: &[u8]) -> Result<Pair, String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|_| "its certificate is not PEM throughout".to_owned())?;
    if chain.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    if is_pem(key, "ENCRYPTED PRIVATE KEY") || is_legacy_encrypted(key) {
        return Err("its key is under a passphrase, which nobody in the cluster has".to_owned());
    }
    let der =
        PrivateKeyDer::from_pem_slice(key).map_err(|_| "its private key is not PEM throughout".to_owned())?;
    let Ok(key) = ring::sign::any_supported_type(&der) else { return Ok(Pair::Unknown) };
    match CertifiedKey::new(chain, key).keys_match() {
        Ok(()) => Ok(Pair::Fits),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Ok(Pair::Differs),
        Err(Error::InconsistentKeys(_)) => Ok(Pair::Unknown),
        Err(_) => Err("its first certificate cannot be read".to_owned()),
    }
}

/// The way of old OpenSSL: a header inside the block.
fn is_legacy_encrypted(key: &[u8]) -> bool {
    memchr::memmem::find(key, b"Proc-Type: 4,ENCRYPTED").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SignatureAlgorithm};

    fn made(algorithm: &'static SignatureAlgorithm) -> (String, String) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate =
            CertificateParams::new(vec!["shop.example".to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn said(certificate: &str, key: &str) -> Result<Pair, String> {
        pair(certificate.as_bytes(), key.as_bytes())
    }

    #[test]
    fn a_key_is_of_its_certificate_or_of_another() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
            let (one, other) = (made(algorithm), made(algorithm));
            assert_eq!(said(&one.0, &one.1), Ok(Pair::Fits));
            assert_eq!(said(&format!("Subject: x\n{}{}", one.0, other.0), &one.1), Ok(Pair::Fits), "a chain");
            assert_eq!(
                said(&format!("{}{}", other.0, one.0), &one.1),
                Ok(Pair::Differs),
                "a chain in the wrong order"
            );
            assert_eq!(said(&other.0, &one.1), Ok(Pair::Differs));
        }
        assert_eq!(said(&made(&PKCS_ED25519).0, &made(&PKCS_ECDSA_P384_SHA384).1), Ok(Pair::Differs));
    }

    #[test]
    fn what_is_none_is_told_without_its_text() {
        let (certificate, key) = made(&PKCS_ED25519);
        let begin = "-----BEGIN CERTIFICATE-----\n";
        for (certificate, key, words) in [
            ("", key.as_str(), "no certificate"),
            (&certificate, "", "not PEM"),
            (&certificate.replacen('M', "!", 1), &key, "not PEM"),
            (&format!("{begin}aHVudGVyMg==\n-----END CERTIFICATE-----\n"), &key, "cannot be read"),
            (&certificate, &key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), "passphrase"),
            (&certificate, &key.replace("KEY-----\nM", "KEY-----\nProc-Type: 4,ENCRYPTED\nM"), "passphrase"),
        ] {
            let error = said(certificate, key).unwrap_err();
            assert!(error.contains(words) && !error.contains("aHVu"), "{words}: {error}");
        }
    }
}
