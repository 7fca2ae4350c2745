//! Prompts in a real terminal, on real pcscd and software YubiKeys (test equipment).

use touchseal_softkey::SoftKey;
use touchseal_suites::cli::PIN;
use touchseal_suites::{Laptop, World};

const PUK: &str = "86420975";

/// A YubiKey as it comes from the factory: its PIN and PUK are known to everybody and are replaced in the same flow.
#[test]
fn a_factory_key_is_enrolled_only_with_a_pin_and_puk_of_its_own() {
    for firmware in [(5, 4, 3), (5, 7, 1)] {
        let laptop = Laptop::new(std::path::Path::new("/dev/null"));
        let key = SoftKey::builder(12_345).firmware(firmware.0, firmware.1, firmware.2).build().unwrap();
        laptop.reader.insert(0, &key).unwrap();
        let create = ["keyring", "create", "prod", "--holder", "alice"];

        // A script cannot choose one: refused, nothing is written, nothing is tried.
        laptop.run(&create, "123456").refused(1, &["PIN"]);
        assert_eq!(key.counters().pin_attempts, 0);
        assert!(!laptop.home.path().join("prod.keyring.yaml").exists());

        // The factory's PIN is no new PIN.
        let said = laptop.in_terminal(&create, &[("new PIN", "123456"), ("again", "123456")]);
        assert_ne!(said.code, 0, "{}", said.out);
        assert!(!laptop.home.path().join("prod.keyring.yaml").exists());

        let answers = [("new PIN", PIN), ("again", PIN), ("new PUK", PUK), ("again", PUK)];
        let said = laptop.in_terminal(&create, &answers).ok();
        assert!(said.out.contains("fingerprint SHA256:"), "{}", said.out);
        assert!(
            !said.out.contains(PIN) && !said.out.contains(PUK),
            "typed secrets are not shown:\n{}",
            said.out
        );
        let verified = touchseal_keyring::manifest::verify(&laptop.manifest("prod")).unwrap();
        assert_eq!(verified.holders().next().unwrap().0.serial, 12_345);
    }
}

/// The fingerprint is shown and confirmed the first time, the PIN is typed, the key is touched.
#[test]
fn unseal_asks_what_a_person_has_to_answer() {
    let mut world = World::new("terminal-unseal");
    let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
    let _key = laptop.key(0, 4_711);
    let spec = laptop.create_keyring("prod", "alice");
    let fingerprint = touchseal_keyring::manifest::verify(&spec).unwrap().fingerprint().to_string();
    laptop.forget_keyrings();
    world.apply_keyring("prod", &spec);
    let _operator = world.operator();
    world.requests(1);
    let unseal = ["unseal", "--operator-namespace", &world.system];

    let said = laptop.in_terminal(&unseal, &[(&fingerprint, "no")]);
    assert_ne!(said.code, 0, "{}", said.out);
    world.requests(1);

    let said = laptop.in_terminal(&unseal, &[(&fingerprint, "yes"), ("PIN", PIN)]).ok();
    assert!(said.out.contains("touch YubiKey 4711 now"), "{}", said.out);
    assert!(!said.out.contains(PIN), "{}", said.out);
    world.wait_for_replicas("prod", 1);

    // Known from now on: only the PIN is asked for.
    world.seal("prod", "again");
    world.requests(1);
    laptop.in_terminal(&unseal, &[("PIN", PIN)]).ok();
    world.wait_for_replicas("prod", 1);
}
