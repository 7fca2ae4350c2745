//! ATTEST: a certificate for a key generated on the card, signed by the card's own P-256 authority key (slot F9).
//!
//! The names in it say that this is test equipment; no chain leads to Yubico.

use std::{str::FromStr, time::Duration};

use p256::{
    ecdsa::{DerSignature, SigningKey, signature::Signer},
    elliptic_curve::rand_core::OsRng,
    pkcs8::{DecodePublicKey, EncodePublicKey},
};
use x509_cert::{
    Certificate, TbsCertificate, Version,
    der::{
        Decode, Encode,
        asn1::{BitString, ObjectIdentifier, OctetString},
    },
    ext::Extension,
    name::Name,
    serial_number::SerialNumber,
    spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned},
    time::Validity,
};

use super::{
    Answer, Card,
    apdu::{Command, REFERENCE_NOT_FOUND, WRONG_P1P2},
    tlv,
};

const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const FIRMWARE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.3");
const SERIAL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.7");
const POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.8");
const CA_TRUE: [u8; 5] = [0x30, 0x03, 0x01, 0x01, 0xff];
const MAKER: &str = "CN=touchseal-softkey attestation,O=Touchseal test equipment";

/// The card's attestation key and its self-signed certificate.
pub struct Authority {
    key: SigningKey,
    certificate: Vec<u8>,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    pub fn new() -> Self {
        let key = SigningKey::random(&mut OsRng);
        let own = key.verifying_key().to_public_key_der().ok();
        let certificate = own.and_then(|own| {
            certify(&key, MAKER, own.as_bytes(), vec![(BASIC_CONSTRAINTS, CA_TRUE.to_vec())])
        });
        Self { key, certificate: certificate.unwrap_or_default() }
    }

    /// The certificate's DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The certificate as the card stores it in its data object.
    pub fn stored_certificate(&self) -> Vec<u8> {
        let mut object = tlv::element(0x70, &self.certificate);
        tlv::put(&mut object, 0x71, &[0]);
        tlv::put(&mut object, 0xfe, &[]);
        object
    }
}

impl Card {
    pub(super) fn attest(&self, command: &Command) -> Answer {
        if command.p2 != 0 {
            return WRONG_P1P2.into();
        }
        let attested = self.slots.get(&command.p1).filter(|key| key.generated).and_then(|key| {
            let subject_key = key.secret.public_key().to_public_key_der().ok()?;
            let (major, minor, patch) = self.firmware;
            let facts = vec![
                (FIRMWARE, vec![major, minor, patch]),
                (SERIAL, self.serial.to_der().ok()?),
                (POLICIES, vec![key.pin_policy, key.touch_policy]),
            ];
            let subject =
                format!("CN=touchseal-softkey attestation {:02x},O=Touchseal test equipment", command.p1);
            certify(&self.authority.key, &subject, subject_key.as_bytes(), facts)
        });
        attested.map_or_else(|| REFERENCE_NOT_FOUND.into(), Answer::data)
    }
}

/// A certificate over `subject_key` (SubjectPublicKeyInfo, DER) with raw extension values.
fn certify(
    key: &SigningKey,
    subject: &str,
    subject_key: &[u8],
    facts: Vec<(ObjectIdentifier, Vec<u8>)>,
) -> Option<Vec<u8>> {
    p256::PublicKey::from_public_key_der(subject_key).ok()?;
    let algorithm = AlgorithmIdentifierOwned { oid: ECDSA_SHA256, parameters: None };
    let extension = |(extn_id, value): (ObjectIdentifier, Vec<u8>)| {
        Some(Extension { extn_id, critical: false, extn_value: OctetString::new(value).ok()? })
    };
    let tbs_certificate = TbsCertificate {
        version: Version::V3,
        serial_number: SerialNumber::from(1u32),
        signature: algorithm.clone(),
        issuer: Name::from_str(MAKER).ok()?,
        validity: Validity::from_now(Duration::from_secs(3650 * 86_400)).ok()?,
        subject: Name::from_str(subject).ok()?,
        subject_public_key_info: SubjectPublicKeyInfoOwned::from_der(subject_key).ok()?,
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(facts.into_iter().map(extension).collect::<Option<Vec<_>>>()?),
    };
    let signature: DerSignature = key.sign(&tbs_certificate.to_der().ok()?);
    let certificate = Certificate {
        tbs_certificate,
        signature_algorithm: algorithm,
        signature: BitString::from_bytes(signature.as_bytes()).ok()?,
    };
    certificate.to_der().ok()
}
