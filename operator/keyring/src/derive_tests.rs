//! Tests of the derivations that need no vectors.

use super::*;
use crate::testkit::{ID, master};

#[test]
fn every_label_and_namespace_yields_another_secret() {
    let key = master(1);
    let other_id = KeyringId::from_bytes([9; 16]);
    let recipients = [
        NamespaceIdentity::derive(&key, &ID, "shop").unwrap().recipient().to_owned(),
        NamespaceIdentity::derive(&key, &ID, "shop-2").unwrap().recipient().to_owned(),
        NamespaceIdentity::derive(&key, &other_id, "shop").unwrap().recipient().to_owned(),
        NamespaceIdentity::derive(&master(2), &ID, "shop").unwrap().recipient().to_owned(),
        wrapping_identity(&key, &ID).unwrap().to_public().to_string(),
    ];
    let distinct: std::collections::HashSet<_> = recipients.iter().collect();
    assert_eq!(distinct.len(), recipients.len());
}

#[test]
fn what_kubernetes_refuses_as_a_namespace_is_refused() {
    let long = "a".repeat(64);
    for name in ["", "Shop", "shop/admin", "shop.", "-shop", "shop-", "shöp", "a b", long.as_str()] {
        let error = NamespaceIdentity::derive(&master(1), &ID, name).map(|_| ()).unwrap_err();
        assert_eq!(error, DeriveError::Namespace(name.to_owned()));
        assert!(DigestKey::derive(&master(1), &ID, name).is_err(), "{name}");
    }
    assert!(NamespaceIdentity::derive(&master(1), &ID, &"a".repeat(63)).is_ok());
}

#[test]
fn a_document_opens_only_with_its_namespaces_identity() {
    let shop = NamespaceIdentity::derive(&master(1), &ID, "shop").unwrap();
    let blog = NamespaceIdentity::derive(&master(1), &ID, "blog").unwrap();
    let recipient: age::x25519::Recipient = shop.recipient().parse().unwrap();
    let file = age::encrypt(&recipient, b"data key").unwrap();
    assert_eq!(age::decrypt(shop.identity(), &file).unwrap(), b"data key");
    assert!(age::decrypt(blog.identity(), &file).is_err());
}

#[test]
fn digests_tell_lists_apart_that_concatenate_alike() {
    let key = DigestKey::derive(&master(1), &ID, "shop").unwrap();
    assert_ne!(key.digest(&[b"ab", b"c"]), key.digest(&[b"a", b"bc"]));
    assert_ne!(key.digest(&[b"abc"]), key.digest(&[b"abc", b""]));
    assert_eq!(key.digest(&[b"ab", b"c"]), key.digest(&[b"ab", b"c"]));
    assert_ne!(key.digest(&[b"abc"]), DigestKey::derive(&master(1), &ID, "blog").unwrap().digest(&[b"abc"]));
}

#[test]
fn digests_are_plain_hmac_sha256() {
    let key = DigestKey::derive(&master(1), &ID, "shop").unwrap();
    let secret = expand(&master(1), &ID, &[b"touchseal/v1/digest/shop"]).unwrap();
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.expose()).unwrap();
    mac.update(b"\0\0\0\x02ab\0\0\0\x01c");
    assert_eq!(key.digest(&[b"ab", b"c"]), <[u8; 32]>::from(mac.finalize().into_bytes()));
}

#[test]
fn debug_shows_no_secret() {
    let identity = NamespaceIdentity::derive(&master(1), &ID, "shop").unwrap();
    assert_eq!(format!("{identity:?}"), format!("NamespaceIdentity({})", identity.recipient()));
    assert_eq!(format!("{:?}", DigestKey::derive(&master(1), &ID, "shop").unwrap()), "DigestKey(..)");
}
