//! Whose keys open what, with a keyring that is open already: no card is needed to decide it.

use super::*;
use crate::card::testing::holder;
use crate::error::Exit;
use touchseal_keyring::{OpenKeyring, manifest};
use touchseal_sops::Format;

const TIME: &str = "2026-01-01T00:00:00Z";

/// Keyring `main` of two generations.
fn open() -> OpenKeyring {
    let (spec, open) = manifest::create(vec![holder("anna", 1)], TIME).unwrap();
    manifest::rotate(&manifest::verify(&spec).unwrap(), &open, TIME).unwrap().1
}

fn identities(keyring: Option<OpenKeyring>, stock: &str) -> Identities {
    let mut keys = Identities::new(&KeyArgs::default(), &Global::default(), &[]);
    keys.keyring =
        keyring.map_or(Looked::Nothing, |open| Looked::Found(Box::new(FoundKeyring::opened(open))));
    keys.stock = Some(Rc::new(Stock::of_text(stock)));
    keys.remembered = Some(Remembered::nowhere());
    keys
}

/// A document of which nothing but its recipients matters here.
fn document(recipients: &[&str]) -> Document {
    let keys: String =
        recipients.iter().map(|one| format!("    - recipient: {one}\n      enc: x\n")).collect();
    let text =
        format!("a: b\nsops:\n  age:\n{keys}  lastmodified: \"{TIME}\"\n  mac: x\n  version: 3.11.0\n");
    Document::parse(text.as_bytes(), Format::Yaml).unwrap()
}

fn recipient(keyring: &OpenKeyring, namespace: &str, generation: usize) -> String {
    keyring.recipient_spec(namespace).unwrap().generations[generation].recipient.clone()
}

#[test]
fn a_namespaces_keys_are_its_own_of_every_generation() {
    let keyring = open();
    let expected = [recipient(&keyring, "shop", 0), recipient(&keyring, "shop", 1)];
    let mut keys = identities(Some(keyring), "");
    let opener = keys.for_namespace("shop").unwrap();
    assert_eq!(opener.recipients().collect::<Vec<_>>(), expected);
    assert!(Rc::ptr_eq(&opener, &keys.for_namespace("shop").unwrap()), "derived once");
    assert!(keys.for_namespace("no namespace").is_err());
}

#[test]
fn identities_of_sops_come_before_the_keyring() {
    let own = age::x25519::Identity::generate();
    let (text, public) = (stock::tests::text_of(&own), own.to_public().to_string());
    let keyring = open();
    let shop = recipient(&keyring, "shop", 0);
    let mut keys = identities(Some(keyring), &text);
    let both = document(&[&shop, &public]);
    let opener = keys.for_document(&both, Scope::Namespace("shop")).unwrap();
    assert_eq!(opener.recipients().collect::<Vec<_>>(), [public.as_str()]);
    let opener = keys.for_document(&document(&[&shop]), Scope::Namespace("shop")).unwrap();
    assert!(opener.recipients().any(|one| one == shop) && opener.recipients().any(|one| one == public));
}

#[test]
fn a_file_is_of_the_namespace_its_folders_hint_at_if_the_keys_agree() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shop/app.yaml");
    std::fs::create_dir_all(dir.path().join("shop")).unwrap();
    std::fs::create_dir_all(dir.path().join(".git")).unwrap();
    std::fs::write(&path, "").unwrap();
    let keyring = open();
    let (shop, chat) = (recipient(&keyring, "shop", 1), recipient(&keyring, "chat", 0));
    let mut keys = identities(Some(keyring), "");
    let opener = keys.for_document(&document(&[&shop]), Scope::File(&path)).unwrap();
    assert!(opener.recipients().any(|one| one == shop) && !opener.recipients().any(|one| one == chat));
    let refused = keys.for_document(&document(&[&chat]), Scope::File(&path)).unwrap_err();
    assert!(refused.what().contains("not encrypted for namespace shop"), "{refused}");
    assert!(refused.hint().contains("--namespace"));
    // Seen once, it is known without a hint.
    keys.recipients("chat").unwrap();
    let opener = keys.for_document(&document(&[&chat]), Scope::File(&path)).unwrap();
    assert!(opener.recipients().any(|one| one == chat));
}

#[test]
fn without_a_keyring_it_is_said_what_was_looked_at() {
    let refused =
        identities(None, "").for_document(&document(&["age1x"]), Scope::Namespace("shop")).unwrap_err();
    assert!(refused.what().contains("no age identity is at hand"), "{refused}");
    assert!(refused.hint().contains("SOPS_AGE_KEY_FILE") && refused.hint().contains("--keyring"));
    let refused = identities(None, "").for_namespace("shop").unwrap_err();
    assert!(refused.what().contains("find the keyring"), "{refused}");
}

#[test]
fn a_yubikey_that_failed_is_not_asked_again() {
    let mut keys = identities(None, "");
    let keyring = FoundKeyring::failed(open().manifest(), Failure::new(Exit::Refused, "last try", "careful"));
    keys.keyring = Looked::Found(Box::new(keyring));
    for _ in 0..2 {
        let failure = keys.for_namespace("shop").unwrap_err();
        assert_eq!((failure.exit(), failure.what(), failure.hint()), (Exit::Refused, "last try", "careful"));
    }
}
