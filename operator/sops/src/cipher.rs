//! One encrypted value: `ENC[AES256_GCM,data:...,iv:...,tag:...,type:...]` in base64, AES-256-GCM with a 32-byte nonce
//! and the value's path as additional data (sops, `aes/cipher.go`). Stricter than sops: nothing may follow the closing
//! bracket, base64 is canonical, the nonce has 32 bytes and the tag 16.

use aes_gcm::aead::generic_array::typenum::U32;
use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Nonce, Tag};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::data_key::DataKey;
use crate::text::Text;
use crate::tree::{Kind, Scalar};

/// The data key, expanded once per document.
pub(crate) struct Cipher(AesGcm<Aes256, U32>);

/// What an encrypted value was before: a scalar or a comment.
pub(crate) enum Opened {
    Scalar(Scalar),
    Comment(Text),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CipherError {
    /// Not of the form above.
    NotCiphertext,
    /// Of that form, but not made with this key for this place.
    Damaged,
    /// Authentic, but of an unknown type or not a value of its type.
    Type,
}

impl Cipher {
    pub(crate) fn new(key: &DataKey) -> Cipher {
        Cipher(AesGcm::new(key.expose().into()))
    }

    /// Opens `sealed`, which must have been sealed for the place `additional` names.
    pub(crate) fn open(&self, sealed: &[u8], additional: &[u8]) -> Result<Opened, CipherError> {
        let Parts { data, iv, tag, kind } = split(sealed).ok_or(CipherError::NotCiphertext)?;
        let iv = decode::<32>(iv).ok_or(CipherError::NotCiphertext)?;
        let tag = decode::<16>(tag).ok_or(CipherError::NotCiphertext)?;
        let mut buffer = Zeroizing::new(STANDARD.decode(data).map_err(|_| CipherError::NotCiphertext)?);
        self.0
            .decrypt_in_place_detached(
                Nonce::<U32>::from_slice(&iv),
                additional,
                &mut buffer,
                Tag::from_slice(&tag),
            )
            .map_err(|_| CipherError::Damaged)?;
        typed(std::mem::take(&mut *buffer), kind).ok_or(CipherError::Type)
    }
}

impl Cipher {
    /// Seals `plain` for the place `additional` names. `None` without randomness.
    pub(crate) fn seal(
        &self,
        plain: &[u8],
        kind: &str,
        additional: &[u8],
        random: &mut dyn CryptoRngCore,
    ) -> Option<Text> {
        let mut iv = [0; 32];
        random.try_fill_bytes(&mut iv).ok()?;
        let mut buffer = Zeroizing::new(plain.to_vec());
        let tag =
            self.0.encrypt_in_place_detached(Nonce::<U32>::from_slice(&iv), additional, &mut buffer).ok()?;
        let (data, iv, tag) = (STANDARD.encode(&*buffer), STANDARD.encode(iv), STANDARD.encode(tag));
        Some(format!("ENC[AES256_GCM,data:{data},iv:{iv},tag:{tag},type:{kind}]").into())
    }
}

/// Whether a text is of the form of an encrypted value, whatever it was encrypted with.
pub(crate) fn is_ciphertext(text: &[u8]) -> bool {
    split(text).is_some_and(|parts| {
        decode::<32>(parts.iv).is_some()
            && decode::<16>(parts.tag).is_some()
            && STANDARD.decode(parts.data).is_ok()
    })
}

/// The word for a scalar's type.
pub(crate) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Str => "str",
        Kind::Int => "int",
        Kind::Float => "float",
        Kind::Bool => "bool",
        Kind::Time => "time",
        Kind::Bytes => "bytes",
    }
}

/// The word for comments.
pub(crate) const COMMENT: &str = "comment";

struct Parts<'a> {
    data: &'a [u8],
    iv: &'a [u8],
    tag: &'a [u8],
    kind: &'a [u8],
}

fn split(sealed: &[u8]) -> Option<Parts<'_>> {
    let inner = sealed.strip_prefix(b"ENC[AES256_GCM,")?.strip_suffix(b"]")?;
    // From the end, so that long data is not searched for commas: one in it is no base64.
    let mut fields = inner.rsplitn(4, |&b| b == b',');
    let mut field = |name: &[u8]| fields.next()?.strip_prefix(name).filter(|value| !value.is_empty());
    Some(Parts { kind: field(b"type:")?, tag: field(b"tag:")?, iv: field(b"iv:")?, data: field(b"data:")? })
}

fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut buffer = [0; 64];
    if text.len() != N.div_ceil(3) * 4 {
        return None;
    }
    let length = STANDARD.decode_slice(text, &mut buffer).ok()?;
    buffer.get(..length)?.try_into().ok()
}

fn typed(plain: Vec<u8>, kind: &[u8]) -> Option<Opened> {
    let text = Text::from(plain);
    let kind = match kind {
        b"comment" => return Some(Opened::Comment(text)),
        b"str" => Kind::Str,
        b"bytes" => Kind::Bytes,
        b"int" => {
            let number: i64 = text.as_str()?.parse().ok()?;
            return Some(Opened::Scalar(Scalar { kind: Kind::Int, text: number.to_string().into() }));
        }
        b"float" => {
            let number: f64 = text.as_str()?.parse().ok()?;
            return Some(Opened::Scalar(Scalar {
                kind: Kind::Float,
                text: crate::number::decimal(number).into(),
            }));
        }
        b"bool" => {
            let word = match text.as_bytes() {
                b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => "True",
                b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => "False",
                _ => return None,
            };
            return Some(Opened::Scalar(Scalar { kind: Kind::Bool, text: word.into() }));
        }
        b"time" => {
            text.as_str().filter(|t| crate::time::is_rfc3339(t))?;
            Kind::Time
        }
        _ => return None,
    };
    Some(Opened::Scalar(Scalar { kind, text }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_once_in_one_order() {
        let cipher = Cipher(AesGcm::new(&[0; 32].into()));
        let (iv, tag) = (STANDARD.encode([0; 32]), STANDARD.encode([0; 16]));
        let refusal = |fields: String| cipher.open(format!("ENC[AES256_GCM,{fields}]").as_bytes(), b"").err();
        let right = format!("data:AAAA,iv:{iv},tag:{tag},type:str");
        assert_eq!(refusal(right), Some(CipherError::Damaged), "of the right form");
        for fields in [
            format!("data:AAAA,AAAA,iv:{iv},tag:{tag},type:str"),
            format!("data:AAAA,data:AAAA,iv:{iv},tag:{tag},type:str"),
            format!("data:AAAA,iv:{iv},iv:{iv},tag:{tag},type:str"),
            format!("more:AAAA,data:AAAA,iv:{iv},tag:{tag},type:str"),
            format!("data:AAAA,iv:{iv},tag:{tag},type:str,more:AAAA"),
            format!("data:AAAA,tag:{tag},iv:{iv},type:str"),
            format!("iv:{iv},tag:{tag},type:str"),
            format!("data:,iv:{iv},tag:{tag},type:str"),
        ] {
            assert_eq!(refusal(fields.clone()), Some(CipherError::NotCiphertext), "{fields}");
        }
    }
}
