//! Flux and Argo CD see what is there: objects as a real operator leaves them, judged by kstatus itself and by our scripts
//! in Argo CD's Lua interpreter. The table of `docs/gitops.md` says what must come out, and has no row that is not seen here.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::apps::KEYRING;
use touchseal_suites::gitops::{Health, check_flux, health};
use touchseal_suites::world::{condition, repository};
use touchseal_suites::{DEADLINE, SoftHolder, World};

/// What was seen, by the words of the page.
struct Seen<'w> {
    world: &'w World,
    rows: BTreeMap<String, (String, String)>,
}

impl Seen<'_> {
    /// An EncryptedSecret in a state.
    fn secret(&mut self, state: &str, object: &Value) -> Health {
        self.note(&format!("EncryptedSecret: {state}"), object)
    }

    fn keyring(&mut self, state: &str, ready: &str, reason: &str) -> Health {
        let world = self.world;
        let what = format!("Keyring: {ready} {reason}");
        let object = eventually(DEADLINE, &what, || {
            let object = world.cluster.get(&["keyring", KEYRING]).unwrap();
            let (told, current) = (condition(&object, "Ready"), &object["metadata"]["generation"]);
            let right = told["status"] == ready && told["reason"] == reason;
            if right && object["status"]["observedGeneration"] == *current {
                Ok(object)
            } else {
                Err(object["status"].to_string())
            }
        });
        self.note(&format!("Keyring: {state}"), &object.unwrap())
    }

    fn note(&mut self, state: &str, object: &Value) -> Health {
        let health = health(object);
        println!("{state}: {health:?}");
        let before = self.rows.insert(state.to_owned(), (health.flux.clone(), health.argo.clone()));
        assert!(before.is_none(), "{state} twice");
        health
    }
}

#[test]
fn every_state_is_seen_as_the_page_says() {
    let mut world = World::new("gitops-health");
    let (spec, open) = SoftHolder::generate("alice", 1).create_keyring();
    let recipient = open.recipient_spec(&world.apps).unwrap().recipient;
    let strangers = open.recipient_spec("elsewhere").unwrap().recipient;
    let document = world.sops.encrypt("app.yaml", "password: first\n", &recipient);
    let changed = world.sops.encrypt("app.yaml", "password: second\n", &recipient);
    let foreign = world.sops.encrypt("app.yaml", "password: first\n", &strangers);
    let of = |document: &str| json!({ "documents": [{ "sops": document }] });

    // Nobody has looked at anything yet.
    world.apply_keyring(KEYRING, &spec);
    world.apply_secret("app", of(&document));
    let incident = json!({
        "apiVersion": "touchseal.dev/v1alpha1", "kind": "Incident", "metadata": { "name": "leak" },
        "spec": { "exposedAt": "2026-05-26T13:30:00Z" },
    });
    world.cluster.apply(&incident.to_string()).unwrap();
    let made = world.encrypted_secret("app");
    let new_keyring = world.cluster.get(&["keyring", KEYRING]).unwrap();
    let new_incident = world.cluster.get(&["incident", "leak"]).unwrap();

    // Sealed: what is new waits, the keyring itself is well.
    let operator = world.operator();
    let sealed = world.wait_for("app", "False", "Sealed");
    let seen = &mut Seen { world: &world, rows: BTreeMap::new() };
    seen.secret("just made", &made);
    seen.note("Keyring: just made", &new_keyring);
    seen.note("Incident: just made", &new_incident);
    let health = seen.secret("new, or changed, while sealed (`Sealed`)", &sealed);
    assert!(health.message.contains("touchseal unseal"), "{}", health.message);
    let health = seen.keyring("sealed", "True", "Sealed");
    assert!(health.message.contains("touchseal unseal"), "{}", health.message);

    // Unsealed.
    world.unseal(KEYRING, &open, 1);
    seen.secret("served", &world.wait_for("app", "True", "Materialised"));
    seen.keyring("unsealed", "True", "Unsealed");
    world.apply_secret("still", of(&document));
    world.wait_for("still", "True", "Materialised");
    world.recipient(&world.apps, KEYRING);
    seen.note("Recipient", &world.cluster.get(&["recipient", KEYRING, "-n", &world.apps]).unwrap());
    let judged = eventually(DEADLINE, "the incident to be judged", || {
        let incident = world.cluster.get(&["incident", "leak"]).unwrap();
        if condition(&incident, "Closed").is_null() {
            Err(incident["status"].to_string())
        } else {
            Ok(incident)
        }
    });
    seen.note("Incident: open", &judged.unwrap());
    let closed = r#"{"spec":{"closed":true}}"#;
    world.cluster.kubectl_stdout(&["patch", "incident", "leak", "--type=merge", "-p", closed]).unwrap();
    let over = eventually(DEADLINE, "the incident to be closed", || {
        let incident = world.cluster.get(&["incident", "leak"]).unwrap();
        (condition(&incident, "Closed")["status"] == "True").then_some(incident)
    });
    seen.note("Incident: closed", &over.unwrap());

    // What only a person can put right.
    world.apply_secret("foreign", of(&foreign));
    let health = seen.secret(
        "stalled (`InvalidDocument`, `DocumentTampered`, ...)",
        &world.wait_for("foreign", "False", "NoMatchingRecipient"),
    );
    assert!(health.message.contains("sops updatekeys"), "{}", health.message);
    world.cluster.kubectl_stdout(&["create", "secret", "generic", "taken", "-n", &world.apps]).unwrap();
    world.apply_secret("taken", of(&document));
    seen.secret("in conflict (`Conflict`)", &world.wait_for("taken", "False", "Conflict"));
    let later = json!({ "documents": [{ "configMapKeyRef": { "name": "later", "key": "app.yaml" } }] });
    world.apply_secret("later", later);
    seen.secret(
        "ConfigMap not there yet (`SourceNotFound`)",
        &world.wait_for("later", "False", "SourceNotFound"),
    );

    // Suspended, before and after a change.
    let suspended = |document: &str| json!({ "documents": [{ "sops": document }], "suspend": true });
    world.apply_secret("app", suspended(&document));
    seen.secret("suspended, nothing changed", &world.wait_for("app", "True", "Materialised"));
    world.apply_secret("app", suspended(&changed));
    seen.secret("suspended, and changed (`Suspended`)", &world.wait_for("app", "False", "Suspended"));
    world.apply_secret("app", of(&changed));
    world.wait_for("app", "True", "Materialised");

    // Sealed again: what is served and unchanged stays as it is.
    world.seal(KEYRING, "again");
    let app = world.encrypted_secret("app");
    seen.secret("served and unchanged, while sealed", &app);
    world.apply_secret("app", of(&document));
    seen.rows.remove("EncryptedSecret: new, or changed, while sealed (`Sealed`)").unwrap();
    let waits = world.wait_for("app", "False", "Sealed");
    let health = seen.secret("new, or changed, while sealed (`Sealed`)", &waits);
    assert!(health.message.contains("keeps generation 2"), "{}", health.message);

    // Somebody else's keyring in the place of ours.
    let (other, _) = SoftHolder::generate("mallory", 2).create_keyring();
    world.apply_keyring(KEYRING, &other);
    seen.keyring(
        "tampered with (`ManifestInvalid`, `FingerprintChanged`, ...)",
        "False",
        "FingerprintChanged",
    );
    let waits = world.wait_for("app", "False", "KeyringRefused");
    let changed_while = "new, or changed, while its Keyring is refused (`KeyringRefused`)";
    assert!(seen.secret(changed_while, &waits).message.contains("keyring prod, whose manifest is refused"));
    let still = world.encrypted_secret("still");
    seen.secret("served and unchanged, while its Keyring is refused", &still);
    world.apply_keyring(KEYRING, &spec);

    // Changed, and nobody has looked yet.
    drop(operator);
    world.apply_secret("app", of(&changed));
    seen.secret("changed a moment ago", &world.encrypted_secret("app"));

    // Going, and held by somebody else's finalizer.
    let hold = r#"{"metadata":{"finalizers":["example.com/hold"]}}"#;
    let app = |arguments: &[&str]| {
        world.cluster.kubectl_stdout(&[arguments, &["-n", &world.apps]].concat()).unwrap();
    };
    app(&["patch", "encryptedsecret", "app", "--type=merge", "-p", hold]);
    app(&["delete", "encryptedsecret", "app", "--wait=false"]);
    seen.secret("being deleted", &world.encrypted_secret("app"));

    assert_eq!(seen.rows, documented());
}

/// The table of the page: state, Flux, Argo CD.
fn documented() -> BTreeMap<String, (String, String)> {
    let page = fs::read_to_string(repository().join("docs/gitops.md")).unwrap();
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
        let (state, flux, argo) = (cells.next()?, cells.next()?, cells.next()?);
        let kinds = ["EncryptedSecret", "Keyring", "Recipient", "Incident"];
        kinds.iter().any(|kind| state.starts_with(kind)).then(|| {
            let argo = if argo == "not judged" { "" } else { argo };
            (state.to_owned(), (flux.to_owned(), argo.to_owned()))
        })
    });
    rows.collect()
}

/// A script that does not look at what it must would be told: statuses as no operator of ours writes them.
#[test]
fn a_health_script_believes_nothing_but_the_present_generation() {
    let object = |kind: &str, observed: Option<i64>, conditions: Value| {
        let mut object = json!({
            "apiVersion": "touchseal.dev/v1alpha1", "kind": kind,
            "metadata": { "name": "app", "generation": 2 }, "status": { "conditions": conditions },
        });
        if let Some(observed) = observed {
            object["status"]["observedGeneration"] = json!(observed);
        }
        object
    };
    let condition = |type_: &str, status: &str| json!({ "type": type_, "status": status, "reason": "Any", "message": "the message" });
    for kind in ["EncryptedSecret", "Keyring"] {
        let ready = json!([condition("Ready", "True")]);
        let argo = |observed, conditions: &Value| health(&object(kind, observed, conditions.clone())).argo;
        assert_eq!(argo(Some(2), &ready), "Healthy");
        for stale in [Some(1), Some(-1), None] {
            assert_eq!(argo(stale, &ready), "Progressing", "{kind}");
        }
        assert_eq!(argo(Some(2), &json!([])), "Progressing");
        assert_eq!(argo(Some(2), &json!([condition("Ready", "False")])), "Progressing");
        assert_eq!(
            argo(Some(2), &json!([condition("Stalled", "False"), condition("Ready", "True")])),
            "Healthy"
        );
        // The order of conditions is nobody's promise.
        for stalled in [
            json!([condition("Ready", "False"), condition("Stalled", "True")]),
            json!([condition("Stalled", "True"), condition("Ready", "False")]),
        ] {
            let health = health(&object(kind, Some(2), stalled));
            assert_eq!((health.argo.as_str(), health.message.as_str()), ("Degraded", "the message"));
        }
        let no_status = json!({
            "apiVersion": "touchseal.dev/v1alpha1", "kind": kind, "metadata": { "name": "app", "generation": 1 },
        });
        assert_eq!(health(&no_status).argo, "Progressing");
    }
}

#[test]
fn flux_knows_every_field_of_the_examples() {
    let mut checked = 0;
    for entry in fs::read_dir(repository().join("docs/examples/flux")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for manifest in text.split("\n---\n").filter(|part| part.contains("kind: Kustomization")) {
            check_flux(manifest).unwrap();
            checked += 1;
        }
    }
    assert!(checked >= 3, "hardly any Kustomization was found");
    let slip = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nspec: { dependOn: [] }\n";
    assert!(check_flux(slip).unwrap_err().contains("dependOn"));
}
