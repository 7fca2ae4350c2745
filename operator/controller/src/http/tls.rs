//! The certificate of /metrics: of files, read anew when they change, or one that this process makes for itself and keeps in
//! memory. The latter is nobody's to verify; it keeps tokens from being read on their way.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::EncodePrivateKey as _;
use pki_types::pem::PemObject as _;
use pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use x509_cert::der::Encode as _;
use x509_cert::der::asn1::{BitString, ObjectIdentifier, UtcTime};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};
use x509_cert::{Certificate as X509, TbsCertificate, Version};

const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const NAME: &str = "CN=touchseal-operator";
/// Longer than a process runs.
const VALID: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// What connections are accepted with.
pub enum Certificate {
    /// Made by this process.
    Made(TlsAcceptor),
    /// Of files.
    Files(Files),
}

/// A certificate and a key in files, as they were when they were last read.
pub struct Files {
    certificate: PathBuf,
    key: PathBuf,
    read: Mutex<(Stamp, TlsAcceptor)>,
}

/// Changes with the files.
type Stamp = [Option<(SystemTime, u64)>; 2];

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Certificate::Made(_) => "Made",
            Certificate::Files(_) => "Files",
        })
    }
}

impl Certificate {
    /// A new one, signed by itself.
    ///
    /// # Errors
    /// It cannot be made, which does not happen.
    pub fn made() -> Result<Certificate, String> {
        let failed = |what: &str| format!("no certificate can be made for /metrics: {what}");
        let (certificate, key) = self_signed().ok_or_else(|| failed("it cannot be encoded"))?;
        let acceptor = acceptor(vec![certificate], key.into()).map_err(|problem| failed(&problem))?;
        Ok(Certificate::Made(acceptor))
    }

    /// One of files.
    ///
    /// # Errors
    /// Says which of them cannot be used.
    pub fn of_files(certificate: &Path, key: &Path) -> Result<Certificate, String> {
        let stamp = stamp(certificate, key);
        let acceptor = read(certificate, key)?;
        let read = Mutex::new((stamp, acceptor));
        Ok(Certificate::Files(Files { certificate: certificate.to_owned(), key: key.to_owned(), read }))
    }

    /// What the next connection is accepted with.
    pub fn acceptor(&self) -> TlsAcceptor {
        match self {
            Certificate::Made(acceptor) => acceptor.clone(),
            Certificate::Files(files) => files.acceptor(),
        }
    }
}

impl Files {
    /// As the files are now; as they were, where they are being written or cannot be used.
    fn acceptor(&self) -> TlsAcceptor {
        let now = stamp(&self.certificate, &self.key);
        let mut read_before = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read_before.0 != now {
            match read(&self.certificate, &self.key) {
                Ok(acceptor) => *read_before = (now, acceptor),
                Err(problem) => {
                    read_before.0 = now;
                    tracing::warn!(
                        problem,
                        "the changed certificate of /metrics is not used; the one before is"
                    );
                }
            }
        }
        read_before.1.clone()
    }
}

fn stamp(certificate: &Path, key: &Path) -> Stamp {
    [certificate, key].map(|path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

fn read(certificate: &Path, key: &Path) -> Result<TlsAcceptor, String> {
    let unusable = |path: &Path, problem: &dyn fmt::Display| format!("{}: {problem}", path.display());
    let bytes = fs::read(certificate).map_err(|e| unusable(certificate, &e))?;
    let chain = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|_| unusable(certificate, &"not a PEM certificate"))?;
    let bytes = fs::read(key).map_err(|e| unusable(key, &e))?;
    // What is wrong with a key is not said: it could quote it.
    let secret =
        PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| unusable(key, &"not a PEM private key"))?;
    acceptor(chain, secret).map_err(|problem| unusable(certificate, &problem))
}

fn acceptor(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<TlsAcceptor, String> {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| format!("certificate and key cannot be used ({error})"))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn self_signed() -> Option<(CertificateDer<'static>, PrivatePkcs8KeyDer<'static>)> {
    let key = SigningKey::random(&mut rand::rngs::OsRng);
    let algorithm = AlgorithmIdentifierOwned { oid: ECDSA_SHA256, parameters: None };
    let name = Name::from_str(NAME).ok()?;
    let now = SystemTime::now();
    let time = |time| Some(Time::UtcTime(UtcTime::from_system_time(time).ok()?));
    let tbs_certificate = TbsCertificate {
        version: Version::V3,
        serial_number: SerialNumber::new(&rand::random::<[u8; 8]>().map(|byte| byte >> 1 | 1)).ok()?,
        signature: algorithm.clone(),
        issuer: name.clone(),
        validity: Validity { not_before: time(now)?, not_after: time(now.checked_add(VALID)?)? },
        subject: name,
        subject_public_key_info: SubjectPublicKeyInfoOwned::from_key(*key.verifying_key()).ok()?,
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: None,
    };
    let signature: DerSignature = key.try_sign(&tbs_certificate.to_der().ok()?).ok()?;
    let signature = BitString::from_bytes(signature.as_bytes()).ok()?;
    let certificate = X509 { tbs_certificate, signature_algorithm: algorithm, signature }.to_der().ok()?;
    let secret = key.to_pkcs8_der().ok()?;
    Some((certificate.into(), secret.as_bytes().to_vec().into()))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use p256::ecdsa::signature::Verifier as _;
    use x509_cert::der::Decode as _;

    use super::*;

    /// Writes a certificate and its key as PEM.
    fn write(folder: &Path) {
        let (certificate, key) = self_signed().unwrap();
        let pem = |label: &str, bytes: &[u8]| {
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(bytes))
        };
        fs::write(folder.join("tls.crt"), pem("CERTIFICATE", &certificate)).unwrap();
        fs::write(folder.join("tls.key"), pem("PRIVATE KEY", key.secret_pkcs8_der())).unwrap();
    }

    #[test]
    fn a_made_one_is_signed_by_itself_and_no_two_are_alike() {
        let (first, _) = self_signed().unwrap();
        let certificate = X509::from_der(&first).unwrap();
        let tbs = &certificate.tbs_certificate;
        let spki = tbs.subject_public_key_info.to_der().unwrap();
        let key =
            <p256::ecdsa::VerifyingKey as p256::pkcs8::DecodePublicKey>::from_public_key_der(&spki).unwrap();
        let signature = DerSignature::from_bytes(certificate.signature.raw_bytes()).unwrap();
        key.verify(&tbs.to_der().unwrap(), &signature).unwrap();
        assert_ne!(first, self_signed().unwrap().0);
        Certificate::made().unwrap();
    }

    #[test]
    fn changed_files_are_read_anew_and_unusable_ones_are_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        write(folder.path());
        let Ok(Certificate::Files(files)) = Certificate::of_files(&certificate, &key) else { panic!() };
        let config = || Arc::as_ptr(files.acceptor().config());
        let first = config();
        assert_eq!(config(), first);
        fs::write(&certificate, "half a certificate").unwrap();
        assert_eq!(config(), first);
        write(folder.path());
        assert_ne!(config(), first);
        fs::write(&key, "hunter2hunter2").unwrap();
        let Err(problem) = Certificate::of_files(&certificate, &key) else { panic!() };
        assert!(problem.contains("tls.key") && !problem.contains("hunter2"), "{problem}");
    }
}
