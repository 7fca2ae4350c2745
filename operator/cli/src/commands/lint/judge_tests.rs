//! Files held against each other.

use super::*;
use crate::card::testing::holder;
use crate::commands::lint::piece::Published;
use crate::commands::lint::tree;
use crate::creation_rules::Chosen;
use touchseal_crds::RecipientSpec;
use touchseal_crds::recipient::GenerationRecipient;
use touchseal_keyring::{VerifiedManifest, manifest};

const TIME: &str = "2026-01-01T00:00:00Z";

fn piece(path: &str) -> Piece {
    let source = tree::Source { path: Path::new("/tree").join(path), shown: path.to_owned(), chosen: true };
    Piece::of(&source)
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// A document in the manifest of a namespace.
fn document(path: &str, namespace: &str, recipients: &[&str]) -> Piece {
    let doc = Doc {
        place: Place::FIRST,
        start: 0,
        label: String::new(),
        namespace: Some(namespace.to_owned()),
        keyring: None,
        recipients: texts(recipients),
        named: None,
        in_manifest: true,
    };
    Piece { documents: vec![doc], ..piece(path) }
}

/// A document on its own, under a rule.
fn file(path: &str, recipients: &[&str], named: &[&str]) -> Piece {
    let mut piece = document(path, "", recipients);
    let doc = &mut piece.documents[0];
    (doc.namespace, doc.in_manifest) = (None, false);
    doc.named = Some(("rule 1".to_owned(), texts(named)));
    piece
}

fn rules(written: &[(&str, &[&str])]) -> Piece {
    let rule = |(namespace, recipients): &(&str, &[&str])| OfRules {
        place: Place::FIRST,
        chosen: Chosen {
            place: "rule".to_owned(),
            groups: vec![texts(recipients)],
            threshold: None,
            pgp: Vec::new(),
            rules: touchseal_sops::Rules::default(),
            written_for: Some(("main".to_owned(), (*namespace).to_owned())),
        },
    };
    Piece { rules: written.iter().map(rule).collect(), ..piece(".sops.yaml") }
}

fn published(namespace: &str, recipients: &[(u32, GenerationState, &str)]) -> Piece {
    let generations: Vec<GenerationRecipient> = recipients
        .iter()
        .map(|(generation, state, recipient)| GenerationRecipient {
            generation: *generation,
            state: *state,
            recipient: (*recipient).to_owned(),
        })
        .collect();
    let (recipient, key_generation) = (generations[0].recipient.clone(), generations[0].generation);
    let one = Published {
        keyring: "main".to_owned(),
        namespace: namespace.to_owned(),
        spec: RecipientSpec { recipient, key_generation, generations },
    };
    Piece { recipients: vec![one], ..piece("recipients.yaml") }
}

fn found_with(pieces: &[Piece], memory: crate::commands::lint::facts::Memory<'_>) -> Vec<(String, Rule)> {
    let judged = judge(pieces, &Facts::of(pieces, memory));
    judged.findings.into_iter().map(|finding| (finding.file, finding.rule)).collect()
}

fn found(pieces: &[Piece]) -> Vec<(String, Rule)> {
    found_with(pieces, &|_| Vec::new())
}

fn one(file: &str, rule: Rule) -> Vec<(String, Rule)> {
    vec![(file.to_owned(), rule)]
}

#[test]
fn without_anything_to_compare_with_nothing_is_claimed() {
    let pieces = [document("a.yaml", "shop", &["age1shop"])];
    let judged = judge(&pieces, &Facts::of(&pieces, &|_| Vec::new()));
    assert!(judged.findings.is_empty());
    assert_eq!((judged.unchecked, judged.namespaces.len()), (texts(&["a.yaml"]), 1));
}

#[test]
fn a_recipient_of_another_namespace_is_found_by_rules_alone() {
    let rules = || rules(&[("shop", &["age1shop"]), ("chat", &["age1chat"])]);
    let of = |namespace, recipients: &[&str]| found(&[rules(), document("a.yaml", namespace, recipients)]);
    assert_eq!(of("shop", &["age1shop"]), []);
    assert_eq!(of("shop", &["age1chat"]), one("a.yaml", Rule::WrongNamespace));
    assert_eq!(of("shop", &["age1other"]), one("a.yaml", Rule::WrongNamespace));
    assert_eq!(of("shop", &["age1shop", "age1other"]), one("a.yaml", Rule::ForeignRecipient));
    assert_eq!(of("shop", &["age1shop", "age1chat"]), one("a.yaml", Rule::ForeignRecipient));
    assert_eq!(of("else", &["age1other"]), [], "nothing is known of that namespace");
    assert_eq!(of("else", &["age1chat"]), one("a.yaml", Rule::WrongNamespace));
}

#[test]
fn a_persons_own_key_in_every_rule_makes_nothing_right() {
    let rules = || rules(&[("shop", &["age1shop", "age1me"]), ("chat", &["age1chat", "age1me"])]);
    let pieces = [rules(), document("a.yaml", "shop", &["age1me"])];
    assert!(found(&pieces).contains(&("a.yaml".to_owned(), Rule::WrongNamespace)), "{:?}", found(&pieces));
    let both = vec![(".sops.yaml".to_owned(), Rule::ForeignRecipient); 2];
    assert_eq!(found(&[rules()]), both, "each rule says so");
}

#[test]
fn a_rule_is_no_witness_of_itself() {
    let rule = rules(&[("shop", &["age1shop", "age1me"])]);
    let pieces = [rule, published("shop", &[(1, GenerationState::Active, "age1shop")])];
    let judged = judge(&pieces, &Facts::of(&pieces, &|_| Vec::new()));
    let told = "rule for namespace shop: age1me will read what it encrypts, and is nobody known here";
    assert!(judged.findings.iter().any(|finding| finding.message == told), "{:?}", judged.findings);
}

#[test]
fn files_on_their_own_are_held_against_their_rule() {
    assert_eq!(found(&[file("a.yaml", &["age1x"], &["age1x"])]), []);
    assert_eq!(
        found(&[file("a.yaml", &["age1x", "age1y"], &["age1x"])]),
        one("a.yaml", Rule::ForeignRecipient)
    );
    let other = vec![("a.yaml".to_owned(), Rule::OutOfStep), ("a.yaml".to_owned(), Rule::ForeignRecipient)];
    assert_eq!(found(&[file("a.yaml", &["age1y"], &["age1x"])]), other);
}

#[test]
fn generations_are_told_by_recipient_objects() {
    let states = [
        (3, GenerationState::Active, "age1three"),
        (2, GenerationState::Retiring, "age1two"),
        (1, GenerationState::Retired, "age1one"),
    ];
    let of =
        |recipients: &[&str]| found(&[published("shop", &states), document("a.yaml", "shop", recipients)]);
    assert_eq!(of(&["age1three"]), []);
    assert_eq!(of(&["age1two"]), one("a.yaml", Rule::OlderGeneration));
    assert_eq!(of(&["age1one"]), one("a.yaml", Rule::RetiredGeneration));
    assert_eq!(of(&["age1one", "age1three"]), []);
    let ruled = |recipient: &str| found(&[published("shop", &states), rules(&[("shop", &[recipient])])]);
    assert_eq!(ruled("age1three"), []);
    assert_eq!(ruled("age1one"), one(".sops.yaml", Rule::RetiredGeneration));
    assert_eq!(ruled("age1chat"), one(".sops.yaml", Rule::WrongNamespace));
    let swapped = [published("shop", &states), rules(&[("chat", &["age1three"])])];
    assert_eq!(found(&swapped), one(".sops.yaml", Rule::WrongNamespace));
}

/// The memory counts for keyrings of the tree only, and their signed manifest says which generation is what.
#[test]
fn what_this_laptop_remembers_counts_with_the_signed_states() {
    let (spec, open) = manifest::create(vec![holder("anna", 1)], TIME).unwrap();
    let first = manifest::verify(&spec).unwrap();
    let (spec, open) = manifest::rotate(&first, &open, TIME).unwrap();
    let second = manifest::verify(&spec).unwrap();
    let retired = manifest::verify(&manifest::retire(&second, &open, 1).unwrap()).unwrap();
    let told = |_: &VerifiedManifest| {
        let line = |generation, recipient: &str| ("shop".to_owned(), generation, recipient.to_owned());
        vec![line(1, "age1one"), line(2, "age1two")]
    };
    let of = |manifest: &VerifiedManifest, recipient: &str| {
        let keyring = (Place::FIRST, "main".to_owned(), manifest.clone());
        let ring = Piece { keyrings: vec![keyring], ..piece("main.keyring.yaml") };
        found_with(&[ring, document("a.yaml", "shop", &[recipient])], &told)
    };
    assert_eq!(of(&first, "age1one"), []);
    assert_eq!(of(&second, "age1one"), one("a.yaml", Rule::OlderGeneration));
    assert_eq!(of(&second, "age1two"), []);
    assert_eq!(of(&retired, "age1one"), one("a.yaml", Rule::RetiredGeneration));
    assert_eq!(found_with(&[document("a.yaml", "shop", &["age1one"])], &told), [], "no keyring in the tree");
}

fn object(path: &str, name: &str, namespace: Option<&str>, target: &str, recipients: &[&str]) -> Piece {
    let object = Object {
        place: Place::FIRST,
        name: name.to_owned(),
        namespace: namespace.map(str::to_owned),
        target: target.to_owned(),
        recipients: texts(recipients),
    };
    Piece { objects: vec![object], ..piece(path) }
}

#[test]
fn names_and_targets_collide_in_one_cluster() {
    let shop = Some("shop");
    let of = |other: Piece| found(&[object("a/x.yaml", "app", shop, "app", &["age1x"]), other]);
    let collides = |file: &str| one(file, Rule::NameCollision);
    assert_eq!(of(object("b/y.yaml", "app", shop, "app", &["age1x"])), collides("b/y.yaml"));
    assert_eq!(of(object("b/y.yaml", "other", shop, "app", &["age1x"])), collides("b/y.yaml"));
    assert_eq!(of(object("a/y.yaml", "app", shop, "app", &[])), collides("a/y.yaml"), "one folder");
    assert_eq!(of(object("b/y.yaml", "app", shop, "app", &["age1y"])), [], "another cluster's keyring");
    assert_eq!(of(object("b/y.yaml", "app", Some("chat"), "app", &["age1x"])), []);
    assert_eq!(of(object("b/y.yaml", "other", shop, "other", &["age1x"])), []);
    let bare = |path| object(path, "app", None, "app", &["age1x"]);
    assert_eq!(
        found(&[bare("base/a.yaml"), bare("other/a.yaml")]),
        [],
        "kustomize gives them their namespaces"
    );
    assert_eq!(found(&[bare("base/a.yaml"), bare("base/b.yaml")]), collides("base/b.yaml"));
}

#[test]
fn a_generator_may_be_fed_with_documents_only() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("plain.env"), "A=b").unwrap();
    std::fs::write(dir.path().join("sealed.env"), "A=b").unwrap();
    let mut kustomization = piece("kustomization.yaml");
    for name in ["plain.env", "sealed.env", "made-later.env"] {
        kustomization.fed.push((Place::FIRST, dir.path().join("x/..").join(name)));
    }
    let mut sealed = document("sealed.env", "shop", &["age1x"]);
    sealed.source.path = dir.path().join("sealed.env");
    let found = found(&[kustomization, sealed]);
    assert_eq!(found, one("kustomization.yaml", Rule::PlaintextGenerator));
}
