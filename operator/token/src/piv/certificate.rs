//! The certificate in a slot, laid out as age-plugin-yubikey does, so that its `--list` and `-i` take the key for one of theirs:
//! subject `O=age-plugin-yubikey, OU=<maker and version>, CN=<name>`, self-signed with ECDSA, and Yubico's policy extension
//! (1.3.6.1.4.1.41482.3.8: two raw bytes, PIN and touch policy), valid from now without end.

use std::time::SystemTime;

use p256::{
    PublicKey,
    elliptic_curve::{
        rand_core::{OsRng, RngCore},
        sec1::ToEncodedPoint,
    },
    pkcs8::{DecodePublicKey, EncodePublicKey},
};
use x509_cert::{
    Certificate, TbsCertificate, Version,
    attr::AttributeTypeAndValue,
    der::{
        self, Any, Decode, Encode, Tag,
        asn1::{BitString, ObjectIdentifier, OctetString, SetOfVec},
    },
    ext::Extension,
    name::{RdnSequence, RelativeDistinguishedName},
    serial_number::SerialNumber,
    spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned},
    time::{Time, Validity},
};

use super::tlv;
use crate::slot::{PinPolicy, TouchPolicy};

/// What age-plugin-yubikey puts, and looks for, in the subject's organisation.
const ORGANISATION: &str = "age-plugin-yubikey";
const MAKER: &str = concat!("touchseal ", env!("CARGO_PKG_VERSION"));

const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.8");
const O: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const OU: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");
const CN: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// What a slot's certificate tells.
pub struct Told {
    pub point: Option<[u8; 65]>,
    pub name: Option<String>,
    pub policies: (Option<PinPolicy>, Option<TouchPolicy>),
    pub listed_by_age: bool,
}

/// The part of a certificate that is signed: to be hashed with SHA-256.
pub fn to_sign(
    point: &PublicKey,
    name: &str,
    pin: PinPolicy,
    touch: TouchPolicy,
) -> der::Result<TbsCertificate> {
    let subject = RdnSequence(vec![attribute(O, ORGANISATION)?, attribute(OU, MAKER)?, attribute(CN, name)?]);
    let policies = Extension {
        extn_id: POLICIES,
        critical: false,
        extn_value: OctetString::new([pin.code(), touch.code()])?,
    };
    let mut serial = [0; 20];
    OsRng.fill_bytes(&mut serial);
    // Positive, and never shorter than its twenty bytes.
    serial[0] = serial[0] & 0x7f | 0x40;
    let own = point.to_public_key_der().map_err(|_| der::ErrorKind::Failed)?;
    Ok(TbsCertificate {
        version: Version::V3,
        serial_number: SerialNumber::new(&serial)?,
        signature: algorithm(),
        issuer: subject.clone(),
        validity: Validity { not_before: Time::try_from(SystemTime::now())?, not_after: Time::INFINITY },
        subject,
        subject_public_key_info: SubjectPublicKeyInfoOwned::from_der(own.as_bytes())?,
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(vec![policies]),
    })
}

/// The data object for a slot: the signed certificate, uncompressed (SP 800-73-4 part 1, appendix A).
pub fn object(tbs_certificate: TbsCertificate, signature: &[u8]) -> der::Result<Vec<u8>> {
    let signature = BitString::from_bytes(signature)?;
    let certificate =
        Certificate { tbs_certificate, signature_algorithm: algorithm(), signature }.to_der()?;
    Ok([tlv::element(0x70, &certificate).as_slice(), &[0x71, 1, 0, 0xfe, 0]].concat())
}

/// The DER certificate in a data object, unless it is compressed or malformed.
pub fn der_in_object(object: &[u8]) -> Option<&[u8]> {
    let compressed =
        tlv::find(object, 0x71).is_some_and(|info| info.first().is_some_and(|&info| info & 1 != 0));
    tlv::find(object, 0x70).filter(|_| !compressed)
}

/// Reads a certificate. `None` when it is none.
pub fn read(der: &[u8]) -> Option<Told> {
    let certificate = Certificate::from_der(der).ok()?.tbs_certificate;
    let listed_by_age = subject(&certificate, O).as_deref() == Some(ORGANISATION);
    let mut extensions =
        certificate.extensions.iter().flatten().filter(|extension| extension.extn_id == POLICIES);
    let policies =
        match (extensions.next().map(|extension| extension.extn_value.as_bytes()), extensions.next()) {
            (Some(&[pin, touch, ..]), None) => (PinPolicy::from_code(pin), TouchPolicy::from_code(touch)),
            _ => (None, None),
        };
    let point = certificate
        .subject_public_key_info
        .to_der()
        .ok()
        .and_then(|der| PublicKey::from_public_key_der(&der).ok())
        .and_then(|key| key.to_encoded_point(false).as_bytes().try_into().ok());
    Some(Told { point, name: subject(&certificate, CN), policies, listed_by_age })
}

fn algorithm() -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid: ECDSA_SHA256, parameters: None }
}

fn attribute(oid: ObjectIdentifier, value: &str) -> der::Result<RelativeDistinguishedName> {
    let value = Any::new(Tag::Utf8String, value.as_bytes())?;
    Ok(RelativeDistinguishedName(SetOfVec::try_from(vec![AttributeTypeAndValue { oid, value }])?))
}

fn subject(certificate: &TbsCertificate, wanted: ObjectIdentifier) -> Option<String> {
    let attributes = certificate.subject.0.iter().flat_map(|name| name.0.iter());
    let value = attributes.into_iter().find(|attribute| attribute.oid == wanted)?;
    String::from_utf8(value.value.value().to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let key = p256::SecretKey::random(&mut OsRng).public_key();
        let tbs = to_sign(&key, "key of Zoë", PinPolicy::Once, TouchPolicy::Cached).unwrap();
        let object = object(tbs, &[0x30, 0]).unwrap();
        let told = read(der_in_object(&object).unwrap()).unwrap();
        assert_eq!(told.name.as_deref(), Some("key of Zoë"));
        assert_eq!(told.policies, (Some(PinPolicy::Once), Some(TouchPolicy::Cached)));
        assert_eq!(told.point.unwrap().as_slice(), key.to_encoded_point(false).as_bytes());
        assert!(told.listed_by_age);
    }

    #[test]
    fn garbage_is_nothing() {
        assert!(read(&[0x30, 0x82, 1]).is_none());
        assert!(der_in_object(&[0x70, 2, 1]).is_none());
        assert!(der_in_object(&[0x70, 1, 5, 0x71, 1, 1]).is_none());
    }
}
