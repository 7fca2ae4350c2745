//! Files for themselves.

use super::*;
use touchseal_sops::{OsRng, Recipients, Selector};

/// No rules.
struct Nobody;

impl Rules for Nobody {
    fn of(&self, _: &Path) -> Option<(Chosen, bool)> {
        None
    }
}

/// One rule for everything.
struct One(Chosen);

impl Rules for One {
    fn of(&self, _: &Path) -> Option<(Chosen, bool)> {
        Some((self.0.clone(), true))
    }
}

fn rule(selector: Selector) -> One {
    One(Chosen {
        place: "rule 1 of .sops.yaml".to_owned(),
        groups: vec![vec!["age1x".to_owned()]],
        threshold: None,
        pgp: Vec::new(),
        rules: touchseal_sops::Rules { selector, ..touchseal_sops::Rules::default() },
        written_for: None,
    })
}

fn look(name: &str, text: &str, rules: &dyn Rules) -> Vec<(Rule, usize)> {
    let source = Source { path: Path::new("/tree").join(name), shown: name.to_owned(), chosen: true };
    let piece = of(&source, text.as_bytes(), &Words::default(), rules);
    let findings = piece.map(|piece| piece.findings).unwrap_or_default();
    for finding in &findings {
        assert!(!finding.message.contains("hunter2"), "{finding:?}");
    }
    findings.iter().map(|finding| (finding.rule, finding.line)).collect()
}

fn sealed(plain: &str, selector: Selector) -> String {
    let own = age::x25519::Identity::generate().to_public().to_string();
    let recipients = Recipients::new(vec![own.parse().unwrap()]).unwrap();
    let rules = touchseal_sops::Rules { selector, ..touchseal_sops::Rules::default() };
    let format = touchseal_sops::Format::Yaml;
    let made = touchseal_sops::Document::encrypt(
        plain.as_bytes(),
        format,
        &recipients,
        &rules,
        "2026-01-01T00:00:00Z",
        &mut OsRng,
    );
    String::from_utf8(made.unwrap().emit()).unwrap()
}

fn usual(plain: &str) -> String {
    sealed(plain, Selector::default())
}

#[test]
fn what_concerns_nobody_is_passed_over() {
    for (name, text) in [
        ("main.rs", "struct Secret { kind: Kind }"),
        ("values.yaml", "password: hunter2\n"),
        ("README.md", "kind: Secret\napiVersion: v1\nstringData: {a: hunter2}\n"),
        ("role.yaml", "kind: Role\napiVersion: v1\nrules: [{resources: [Secrets]}]\n"),
    ] {
        assert_eq!(look(name, text, &Nobody), [], "{name}");
    }
}

#[test]
fn plain_secrets_are_found_in_manifests_templates_and_generators() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData:\n  password: hunter2\n";
    assert_eq!(look("a.yaml", secret, &Nobody), [(Rule::PlaintextSecret, 5)]);
    assert_eq!(look("a.yaml", &format!("# c\n---\n{secret}"), &Nobody), [(Rule::PlaintextSecret, 7)]);
    let template = format!("{{{{- if .Values.on }}}}\n{secret}{{{{- end }}}}\n");
    assert_eq!(look("templates/a.yaml", &template, &Nobody), [(Rule::PlaintextSecret, 6)]);
    assert_eq!(look("a.yaml", &format!("{secret}x: [\n"), &Nobody)[0].0, Rule::Unreadable);
    let kustomization = "secretGenerator:\n- name: a\n  literals:\n  - password=hunter2\n";
    assert_eq!(look("kustomization.yaml", kustomization, &Nobody), [(Rule::PlaintextGenerator, 4)]);
}

#[test]
fn what_a_rule_means_and_encrypt_would_encrypt_is_found() {
    let rule = rule(Selector::default());
    assert_eq!(look("shop/app.yaml", "password: hunter2\n", &rule), [(Rule::PlaintextDocument, 1)]);
    assert_eq!(look("shop/key.bin", "\u{0}hunter2", &rule), [(Rule::PlaintextDocument, 1)]);
    for (name, text) in [
        ("shop/deployment.yaml", "apiVersion: apps/v1\nkind: Deployment\n"),
        ("shop/kustomization.yaml", "resources: []\n"),
        ("shop/.sops.yaml", "creation_rules: []\n"),
        ("shop/empty.env", ""),
    ] {
        assert_eq!(look(name, text, &rule), [], "{name}");
    }
    let secret = "apiVersion: v1\nkind: Secret\nstringData:\n  a: hunter2\n";
    assert_eq!(look("shop/db.yaml", secret, &rule), [(Rule::PlaintextSecret, 4)], "once is enough");
    assert_eq!(look("shop/app.yaml", &usual("password: hunter2\n"), &rule), []);
}

#[test]
fn values_left_clear_are_told_unless_a_rule_says_so() {
    let plain = "user: hunter2\npassword: x\n";
    let some = || Selector::EncryptedRegex("^password$".to_owned());
    let document = sealed(plain, some());
    assert_eq!(look("app.yaml", &document, &Nobody), [(Rule::ClearValue, 1)]);
    assert_eq!(look("app.yaml", &document, &rule(Selector::default())), [(Rule::ClearValue, 1)]);
    assert_eq!(look("app.yaml", &document, &rule(some())), []);
    assert_eq!(look("app.yaml", &usual("user_unencrypted: hunter2\nb: x\n"), &Nobody), [], "sops by itself");
    let nothing = sealed(plain, Selector::EncryptedRegex("^pasword$".to_owned()));
    assert_eq!(look("app.yaml", &nothing, &Nobody), [(Rule::NothingEncrypted, 1)]);

    let secret =
        "apiVersion: v1\nkind: Secret\nmetadata:\n    name: a\nstringData:\n    a: hunter2\n    b: x\n";
    let data = || Selector::EncryptedRegex("^(data|stringData)$".to_owned());
    assert_eq!(look("a.yaml", &sealed(secret, data()), &Nobody), [], "as Flux has it");
    let half = || Selector::EncryptedRegex("^b$".to_owned());
    assert_eq!(look("a.yaml", &sealed(secret, half()), &rule(half())), [(Rule::PlaintextSecret, 6)]);
}

#[test]
fn the_form_of_documents_is_checked() {
    let good = usual("password: hunter2\nport: 1\n");
    assert_eq!(look("app.yaml", &good, &Nobody), []);
    let line =
        |starts: &str| good.lines().find(|line| line.trim_start().starts_with(starts)).unwrap().to_owned();
    for (rule, line_number, broken) in [
        (Rule::NotCiphertext, 1, good.replace(&line("password:"), "password: hunter2")),
        (Rule::NotCiphertext, 2, good.replace(&line("port:"), "port: 1")),
        (Rule::Mac, 1, good.replace(&format!("{}\n", line("mac:")), "")),
        (Rule::Mac, 1, good.replace(&line("mac:"), "    mac: hunter2")),
        (Rule::DataKey, 1, good.replace("-----BEGIN AGE ENCRYPTED FILE-----", "hunter2")),
        (Rule::DocumentMalformed, 1, good.replace("    lastmodified:", "    modified:")),
    ] {
        assert_eq!(look("app.yaml", &broken, &Nobody), [(rule, line_number)], "{broken}");
    }
}

fn esec(name: &str, document: &str) -> String {
    let document: String = document.lines().map(|line| format!("      {line}\n")).collect();
    format!(
        "apiVersion: touchseal.dev/v1alpha1\nkind: EncryptedSecret\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  documents:\n  - \
         name: app.yaml\n    sops: |\n{document}"
    )
}

#[test]
fn encrypted_secrets_are_checked_and_their_documents_too() {
    let good = usual("password: hunter2\n");
    assert_eq!(look("a.yaml", &esec("app", &good), &Nobody), []);
    assert_eq!(look("a.yaml", &esec("App", &good), &Nobody), [(Rule::ManifestInvalid, 1)]);
    let unknown = esec("app", &good).replace("spec:\n", "spec:\n  suspended: true\n");
    assert_eq!(look("a.yaml", &format!("# c\n{unknown}"), &Nobody), [(Rule::ManifestInvalid, 2)]);
    assert_eq!(look("a.yaml", &esec("app", "password: hunter2\n"), &Nobody), [(Rule::PlaintextDocument, 8)]);
    let hidden = sealed("a: hunter2\nb: x\n", Selector::EncryptedRegex("^b$".to_owned()));
    assert_eq!(
        look("a.yaml", &esec("app", &hidden), &rule(Selector::EncryptedRegex("^b$".to_owned()))),
        [(Rule::ClearValue, 8)],
        "the rule of a manifest is not about its documents"
    );
}

#[test]
fn a_keyring_that_does_not_verify_is_found() {
    let (mut spec, _) =
        manifest::create(vec![crate::card::testing::holder("anna", 1)], "2026-01-01T00:00:00Z").unwrap();
    let text = |spec: &KeyringSpec| crate::manifest_file::render("main", spec).unwrap();
    assert_eq!(look("main.keyring.yaml", &text(&spec), &Nobody), []);
    assert_eq!(look("all.yaml", &format!("a: 1\n---\n{}", text(&spec)), &Nobody), []);
    spec.revision += 1;
    assert_eq!(look("main.keyring.yaml", &text(&spec), &Nobody), [(Rule::KeyringInvalid, 1)]);
    assert_eq!(
        look("all.yaml", &format!("a: 1\n---\n{}", text(&spec)), &Nobody),
        [(Rule::KeyringInvalid, 3)]
    );
    let shapeless = text(&spec).replace("revision: 2", "revision: hunter2");
    assert_eq!(look("main.keyring.yaml", &shapeless, &Nobody), [(Rule::KeyringInvalid, 1)]);
}

#[test]
fn rules_that_nobody_can_follow_are_found_where_they_stand() {
    let text = "creation_rules:\n  - path_regex: a\n    age: age1x\n  - path_regex: '['\n    age: age1x\n  - pgp: ABCD\n  - path_regex: b\n";
    assert_eq!(look(".sops.yaml", text, &Nobody), [(Rule::CreationRules, 4), (Rule::CreationRules, 7)]);
    assert_eq!(look(".sops.yaml", "creation_rules: [", &Nobody), [(Rule::CreationRules, 1)]);
}

#[test]
fn comments_say_what_is_meant() {
    let text = "a\n# touchseal-lint: allow plaintext-secret, mac\nb # touchseal-lint: allow nothing\ntouchseal-lint: allow mac\n";
    assert_eq!(allowed(text), [(2, vec![Rule::PlaintextSecret, Rule::Mac]), (3, vec![])]);
}

/// However hostile, it costs no more than the limits.
#[test]
fn hostile_files_end_soon() {
    let head = "apiVersion: v1\nkind: Secret\n";
    for text in [
        format!("{head}{}", "[".repeat(1_000_000)),
        format!("{head}a: {}", "{".repeat(1_000_000)),
        format!("{head}{}", "- ".repeat(200_000)),
        format!("{head}a: &a [x]\n{}", "b: [*a,*a,*a,*a]\n".repeat(50_000)),
        format!("{head}{}", "{{".repeat(500_000)),
        format!("{head}{}", "? ".repeat(200_000)),
        format!("{head}a: \"{}", "\\x".repeat(500_000)),
        format!("touchseal.dev/ kind: Keyring\n{head}{}", "a:\n ".repeat(100_000)),
    ] {
        let started = std::time::Instant::now();
        look("a.yaml", &text, &Nobody);
        let took = started.elapsed();
        assert!(took.as_secs() < 20, "{:?} for {}", took, &text[..60.min(text.len())]);
    }
}
