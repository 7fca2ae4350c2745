//! Attestation: a YubiKey's own word that a key was generated in one of its slots and never leaves it, as a certificate chain
//! that ends at Yubico (<https://developers.yubico.com/PIV/Introduction/PIV_attestation.html>). Its owner makes the file
//! with `ykman piv keys attest 82 -` and `ykman piv certificates export f9 -`, one after the other.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pki_types::pem::PemObject;
use pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use touchseal_keyring::PivPublicKey;
use touchseal_token::{PinPolicy, Slot, TouchPolicy};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, ring};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::{Int, ObjectIdentifier};

use crate::card;
use crate::error::{Exit, Explain};
use crate::files::{self, FileError};

/// Trust anchors of the PIV application: those of Yubico's authorities that sign attestation keys of other applications as
/// well are left out.
const YUBICO: &str = include_str!("attestation/yubico.pem");

const MAX_BYTES: u64 = 64 * 1024;
const MAX_CERTIFICATES: usize = 8;
const SERIAL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.7");
const POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.8");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// YubiKeys sign with RSA-2048, newer ones can with curves; their authorities with RSA.
static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    ring::RSA_PKCS1_2048_8192_SHA256,
    ring::RSA_PKCS1_2048_8192_SHA384,
    ring::RSA_PKCS1_2048_8192_SHA512,
    ring::ECDSA_P256_SHA256,
    ring::ECDSA_P256_SHA384,
    ring::ECDSA_P384_SHA256,
    ring::ECDSA_P384_SHA384,
];

/// What a YubiKey says of a key in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    pub key: PivPublicKey,
    pub serial: u32,
    pub slot: Slot,
    pub pin_policy: Option<PinPolicy>,
    pub touch_policy: Option<TouchPolicy>,
}

/// Why a file attests nothing.
#[derive(Debug, thiserror::Error)]
pub enum AttestationError {
    /// It could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It holds no certificates in PEM form.
    #[error("read the certificates of {}", .0.display())]
    Pem(PathBuf),
    /// The chain does not end where it should.
    #[error("verify the attestation {}: {}", .path.display(), said(.problem))]
    Chain { path: PathBuf, problem: webpki::Error },
    /// It is a certificate of something else.
    #[error("verify the attestation {}: {missing}", .path.display())]
    NotOfASlot { path: PathBuf, missing: &'static str },
}

impl Explain for AttestationError {
    fn hint(&self) -> String {
        match self {
            Self::File(error) => error.hint(),
            Self::Chain { problem: webpki::Error::UnknownIssuer, .. } => {
                "the file needs the slot's attestation first, then the certificate of slot f9 (ykman piv certificates export \
                 f9 -); a YubiKey whose maker is not Yubico's PIV authority needs --attestation-root"
                    .to_owned()
            }
            _ => "have its owner make it again: ykman piv keys attest SLOT - and then ykman piv certificates export f9 -, \
                  both into one file"
                .to_owned(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Chain { .. } | Self::NotOfASlot { .. } => Exit::Refused,
            _ => Exit::Failed,
        }
    }
}

fn said(problem: &webpki::Error) -> &'static str {
    match problem {
        webpki::Error::UnknownIssuer => "its chain does not end at a known authority",
        webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => {
            "it is not valid at this time"
        }
        webpki::Error::InvalidSignatureForPublicKey => "a signature in its chain is wrong",
        webpki::Error::CaUsedAsEndEntity => "its first certificate is an authority's, not a slot's",
        _ => "its chain does not hold",
    }
}

/// Verifies a file: its first certificate is the slot's, the others lead from it to one of Yubico's authorities or, where
/// `root` is given, to one of that file's. `now` is the time since 1970.
pub fn verify(path: &Path, root: Option<&Path>, now: Duration) -> Result<Attested, AttestationError> {
    let chain = certificates(path, &files::read(path, MAX_BYTES)?)?;
    let roots = match root {
        Some(root) => certificates(root, &files::read(root, MAX_BYTES)?)?,
        None => certificates(Path::new("Yubico's authorities"), YUBICO.as_bytes())?,
    };
    let [slot, others @ ..] = chain.as_slice() else { return Err(AttestationError::Pem(path.to_owned())) };
    check_chain(slot, others, &roots, now)
        .map_err(|problem| AttestationError::Chain { path: path.to_owned(), problem })?;
    read(slot).map_err(|missing| AttestationError::NotOfASlot { path: path.to_owned(), missing })
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, AttestationError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(found) if (1..=MAX_CERTIFICATES).contains(&found.len()) => Ok(found),
        _ => Err(AttestationError::Pem(path.to_owned())),
    }
}

fn check_chain(
    slot: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    roots: &[CertificateDer<'_>],
    now: Duration,
) -> Result<(), webpki::Error> {
    let anchors: Vec<TrustAnchor<'_>> =
        roots.iter().map(anchor_from_trusted_cert).collect::<Result<_, _>>()?;
    let now = UnixTime::since_unix_epoch(now);
    // Attestations name no purpose; one that did would have to be this one.
    let usage = KeyUsage::client_auth();
    EndEntityCert::try_from(slot)?.verify_for_usage(ALGORITHMS, &anchors, others, now, usage, None, None)?;
    Ok(())
}

/// The words of a slot's certificate, once its chain holds.
fn read(der: &CertificateDer<'_>) -> Result<Attested, &'static str> {
    let certificate = Certificate::from_der(der).map_err(|_| "it is no certificate")?.tbs_certificate;
    let extension = |oid: ObjectIdentifier| {
        let mut all = certificate.extensions.iter().flatten();
        all.find(|one| one.extn_id == oid).map(|one| one.extn_value.as_bytes())
    };
    let serial = extension(SERIAL).and_then(serial).ok_or("it tells no serial number of a YubiKey")?;
    let slot = certificate
        .subject
        .0
        .iter()
        .flat_map(|part| part.0.iter())
        .filter(|one| one.oid == COMMON_NAME)
        .find_map(|one| slot(one.value.value()))
        .ok_or("it is not about a retired slot, 82 to 95")?;
    let info = &certificate.subject_public_key_info;
    let point = info.subject_public_key.as_bytes().filter(|_| info.algorithm.oid == EC_PUBLIC_KEY);
    let key = point.and_then(|point| PivPublicKey::from_sec1(point).ok()).ok_or("its key is not on P-256")?;
    let (pin_policy, touch_policy) = extension(POLICIES).map_or((None, None), policies);
    Ok(Attested { key, serial, slot, pin_policy, touch_policy })
}

/// An INTEGER of at most four bytes.
fn serial(value: &[u8]) -> Option<u32> {
    let int = Int::from_der(value).ok()?;
    let bytes = int.as_bytes();
    let bytes = bytes.strip_prefix(&[0]).unwrap_or(bytes);
    let mut all = [0; 4];
    all.get_mut(4usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(u32::from_be_bytes(all))
}

/// The slot at the end of `YubiKey PIV Attestation 82`.
fn slot(common_name: &[u8]) -> Option<Slot> {
    let words = std::str::from_utf8(common_name).ok()?;
    let (before, slot) = words.rsplit_once(' ')?;
    if before.to_ascii_lowercase().ends_with("attestation") { card::slot(slot) } else { None }
}

const fn policies(value: &[u8]) -> (Option<PinPolicy>, Option<TouchPolicy>) {
    let pin = match value {
        [1, ..] => Some(PinPolicy::Never),
        [2, ..] => Some(PinPolicy::Once),
        [3, ..] => Some(PinPolicy::Always),
        _ => None,
    };
    let touch = match value {
        [_, 1, ..] => Some(TouchPolicy::Never),
        [_, 2, ..] => Some(TouchPolicy::Always),
        [_, 3, ..] => Some(TouchPolicy::Cached),
        _ => None,
    };
    (pin, touch)
}

#[cfg(test)]
mod tests;
