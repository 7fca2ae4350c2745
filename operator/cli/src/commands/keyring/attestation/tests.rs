//! The chain of a real YubiKey against the authorities built in; the words of certificates. Suites on a software YubiKey
//! attest a retired slot.

use super::*;

/// 2026-01-01.
const NOW: Duration = Duration::from_secs(1_767_225_600);
const REAL: &str = include_str!("yubikey4.pem");

fn check(pem: &str, root: Option<&str>, now: Duration) -> Result<Attested, AttestationError> {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let root = root.map(|text| file("root.pem", text));
    verify(&file("attestation.pem", pem), root.as_deref(), now)
}

fn problem(pem: &str, root: Option<&str>, now: Duration) -> String {
    check(pem, root, now).unwrap_err().to_string().rsplit_once(": ").unwrap().1.to_owned()
}

/// The certificates of a file in another order.
fn certificate(number: usize) -> String {
    let end = "-----END CERTIFICATE-----\n";
    REAL.split_inclusive(end).nth(number).unwrap().to_owned()
}

#[test]
fn the_chain_of_a_real_yubikey_ends_at_yubico_and_is_of_no_retired_slot() {
    assert_eq!(problem(REAL, None, NOW), "it is not about a retired slot, 82 to 95");
}

#[test]
fn a_chain_that_does_not_hold_is_refused() {
    let unknown = "its chain does not end at a known authority";
    assert_eq!(problem(&certificate(0), None, NOW), unknown, "without the certificate of slot f9");
    let other = YUBICO.split_inclusive("-----END CERTIFICATE-----\n").nth(1).unwrap();
    assert_eq!(problem(REAL, Some(other), NOW), unknown);
    assert_eq!(problem(&certificate(1), None, NOW), "its first certificate is an authority's, not a slot's");
    assert_eq!(problem(REAL, None, Duration::from_secs(4_000_000_000)), "it is not valid at this time");
    let (der, intermediate) = {
        let all = certificates(Path::new("x"), REAL.as_bytes()).unwrap();
        (all[0].to_vec(), all[1].clone())
    };
    let roots = certificates(Path::new("x"), YUBICO.as_bytes()).unwrap();
    for at in [der.len() / 2, der.len() - 1] {
        let mut changed = der.clone();
        changed[at] ^= 1;
        let checked = check_chain(&changed.into(), std::slice::from_ref(&intermediate), &roots, NOW);
        assert!(checked.is_err(), "byte {at}");
    }
    assert!(check_chain(&der.into(), &[intermediate], &roots, NOW).is_ok());
}

#[test]
fn what_is_no_certificate_is_told() {
    assert!(matches!(check("hello", None, NOW), Err(AttestationError::Pem(_))));
    assert!(matches!(check(&REAL.repeat(5), None, NOW), Err(AttestationError::Pem(_))), "ten certificates");
}

#[test]
fn the_words_of_a_certificate() {
    assert_eq!(slot(b"YubiKey PIV Attestation 82"), Slot::new(0x82));
    for bad in ["YubiKey PIV Attestation 9a", "YubiKey 82", "82", "Attestation", "my Attestation of 82"] {
        assert_eq!(slot(bad.as_bytes()), None, "{bad}");
    }
    assert_eq!(serial(&[2, 3, 0x12, 0xd6, 0x87]), Some(1_234_567));
    assert_eq!(serial(&[2, 5, 0, 0xff, 0, 0, 1]), Some(0xff00_0001));
    for bad in [&[2, 5, 1, 2, 3, 4, 5][..], &[4, 1, 1], &[2, 1], b""] {
        assert_eq!(serial(bad), None);
    }
    assert_eq!(policies(&[2, 3]), (Some(PinPolicy::Once), Some(TouchPolicy::Cached)));
    assert_eq!(policies(&[9]), (None, None));
}
