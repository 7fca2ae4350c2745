//! Making a key: on both firmwares, seen by the real age-plugin-yubikey, refused where it must be, and without a PIN in any log.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod scene;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use bech32::{Bech32, Hrp};
use scene::{NEW, OLD, PIN, pin, ready, scene};
use touchseal_softkey::SoftKey;
use touchseal_token::{
    Card, GenerateOptions, LastTry, ManagementKey, PinPolicy, Slot, SlotKey, TokenError, TouchPolicy, Which,
};

const FACTORY: [u8; 24] = [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8];

fn slot(reference: u8) -> Slot {
    Slot::new(reference).unwrap()
}

fn generate(card: &mut Card, options: &GenerateOptions) -> Result<SlotKey, TokenError> {
    card.generate(options, &pin(PIN), &mut || ())
}

fn enrols(firmware: (u8, u8, u8)) {
    scene(
        || vec![ready(1, firmware)],
        |hands| {
            let mut card = Card::open(Which::Only).unwrap();
            assert_eq!(card.keys().unwrap(), []);
            let (mut touched, before) = (0, hands.management_key(0));
            let made =
                card.generate(&GenerateOptions::new("first"), &pin(PIN), &mut || touched += 1).unwrap();
            assert_eq!((made.slot, touched), (slot(0x82), 1));
            assert_eq!(made.name.as_deref(), Some("first"));
            assert_eq!(made.pin_policy, Some(PinPolicy::Once));
            assert_eq!(made.touch_policy, Some(TouchPolicy::Always));
            assert!(made.listed_by_age);

            // The default management key is gone, its algorithm stays, and the next key needs no help.
            let after = hands.management_key(0);
            assert!(before[1..] == FACTORY && after[1..] != FACTORY && after[0] == before[0]);
            let options = GenerateOptions { pin_policy: PinPolicy::Always, ..GenerateOptions::new("second") };
            let second = generate(&mut card, &options).unwrap();
            assert_eq!(second.slot, slot(0x83));
            assert_eq!(hands.management_key(0), after);
            assert_eq!(card.keys().unwrap(), [made.clone(), second]);

            // Slots are not overwritten unless asked.
            let mut options = GenerateOptions { slot: Some(slot(0x82)), ..GenerateOptions::new("third") };
            let refused = generate(&mut card, &options).unwrap_err();
            assert_eq!(refused, TokenError::SlotOccupied { serial: 1, slot: slot(0x82) });
            assert_eq!(card.key(slot(0x82)).unwrap(), Some(made.clone()));
            options.replace = true;
            assert_ne!(generate(&mut card, &options).unwrap().public_key, made.public_key);

            let attestation = card.attestation(slot(0x82)).unwrap().unwrap();
            assert!(attestation.key.starts_with(&[0x30]) && attestation.card.unwrap().starts_with(&[0x30]));
            assert_eq!(card.attestation(slot(0x95)).unwrap(), None);
        },
    );
}

#[test]
fn enrols_firmware_5_4() {
    enrols(OLD);
}

#[test]
fn enrols_firmware_5_7() {
    enrols(NEW);
}

#[test]
fn enrols_firmware_4() {
    enrols((4, 3, 5));
}

fn refuses_factory_values(firmware: (u8, u8, u8)) {
    scene(
        || {
            let (major, minor, patch) = firmware;
            vec![SoftKey::builder(1).firmware(major, minor, patch).build().unwrap()]
        },
        |hands| {
            let mut card = Card::open(Which::Only).unwrap();
            let options = GenerateOptions { touch_policy: TouchPolicy::Never, ..GenerateOptions::new("x") };
            assert_eq!(card.pin_is_default().unwrap(), Some(true));
            assert_eq!(card.puk_is_default().unwrap(), Some(true));
            for given in ["123456", PIN] {
                let refused = card.generate(&options, &pin(given), &mut || ()).unwrap_err();
                assert_eq!(refused, TokenError::DefaultPin { serial: 1 });
            }
            assert_eq!(hands.pin_attempts(0), 0, "found out without a try");

            let useless = card.change_pin(&pin("123456"), &pin("123456"), LastTry::Refuse).unwrap_err();
            assert_eq!(useless, TokenError::DefaultPin { serial: 1 });
            card.change_pin(&pin("123456"), &pin(PIN), LastTry::Refuse).unwrap();
            assert_eq!(card.pin_is_default().unwrap(), Some(false));
            assert_eq!(generate(&mut card, &options).unwrap_err(), TokenError::DefaultPuk { serial: 1 });
            let wrong = card.change_puk(&pin("00000000"), &pin("87654321"), LastTry::Refuse).unwrap_err();
            assert_eq!(wrong, TokenError::WrongPuk { serial: 1, tries_left: 2 });
            card.change_puk(&pin("12345678"), &pin("87654321"), LastTry::Refuse).unwrap();
            generate(&mut card, &options).unwrap();
        },
    );
}

#[test]
fn factory_pin_and_puk_are_refused_until_changed_on_firmware_5_4() {
    refuses_factory_values(OLD);
}

#[test]
fn factory_pin_and_puk_are_refused_until_changed_on_firmware_5_7() {
    refuses_factory_values(NEW);
}

#[test]
fn wrong_pin_makes_no_key() {
    scene(
        || vec![ready(1, OLD)],
        |hands| {
            let mut card = Card::open(Which::Only).unwrap();
            let wrong = card.generate(&GenerateOptions::new("x"), &pin("wrong-42"), &mut || ()).unwrap_err();
            assert_eq!(wrong, TokenError::WrongPin { serial: 1, tries_left: 2 });
            assert_eq!(card.keys().unwrap(), []);
            assert_eq!(hands.management_key(0)[1..], FACTORY);
        },
    );
}

#[test]
fn somebody_elses_management_key() {
    const KEY: [u8; 24] = [0x5a; 24];
    scene(
        || {
            let builder = SoftKey::builder(1).firmware(5, 7, 1).pin(PIN).puk("87654321");
            vec![builder.management_key(0x0a, &KEY).build().unwrap()]
        },
        |hands| {
            let mut card = Card::open(Which::Only).unwrap();
            let mut options = GenerateOptions::new("x");
            let unknown = TokenError::ManagementKeyUnknown { serial: 1 };
            assert_eq!(generate(&mut card, &options).unwrap_err(), unknown);
            options.management_key = Some(ManagementKey::new(vec![7; 24].into()));
            assert_eq!(generate(&mut card, &options).unwrap_err(), unknown);
            options.management_key = Some(ManagementKey::new(vec![7; 5].into()));
            let bad = TokenError::BadManagementKey { serial: 1 };
            assert_eq!(generate(&mut card, &options).unwrap_err(), bad);
            options.management_key = Some(ManagementKey::new(KEY.to_vec().into()));
            generate(&mut card, &options).unwrap();
            assert_eq!(hands.management_key(0)[1..], KEY, "it is left as it is");
        },
    );
}

#[test]
fn pulled_while_the_management_key_changes() {
    scene(
        || vec![ready(1, OLD)],
        |hands| {
            // Before each of the three steps: store, set, note.
            for ins in [0xdb, 0xff, 0xdb] {
                let mut card = Card::open(Which::Only).unwrap();
                hands.pull_at(0, ins);
                let pulled = generate(&mut card, &GenerateOptions::new("x")).unwrap_err();
                assert_eq!(pulled, TokenError::Removed { serial: 1 });
                hands.insert(0, 0);
            }
            let mut card = Card::open(Which::Only).unwrap();
            generate(&mut card, &GenerateOptions::new("x")).unwrap();
        },
    );
}

#[test]
fn names_are_checked() {
    scene(
        || vec![ready(1, OLD)],
        |_| {
            let mut card = Card::open(Which::Only).unwrap();
            for name in ["", "a\nb", &"x".repeat(65)] {
                let bad = generate(&mut card, &GenerateOptions::new(name)).unwrap_err();
                assert_eq!(bad, TokenError::BadName);
            }
        },
    );
}

/// The age-plugin-yubikey 0.5.1 the test equipment builds; $AGE_PLUGIN_YUBIKEY names another.
fn plugin() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/tools/bin/age-plugin-yubikey");
    let plugin = std::env::var_os("AGE_PLUGIN_YUBIKEY").map_or(built, PathBuf::from);
    assert!(
        plugin.is_file(),
        "no age-plugin-yubikey: cargo install age-plugin-yubikey --version 0.5.1 --locked --root .cache/tools"
    );
    plugin
}

#[test]
fn age_plugin_yubikey_lists_the_key() {
    scene(
        || vec![ready(11_223_344, OLD)],
        |_| {
            let mut card = Card::open(Which::Only).unwrap();
            let options = GenerateOptions {
                pin_policy: PinPolicy::Always,
                touch_policy: TouchPolicy::Cached,
                ..GenerateOptions::new("key of Zoë")
            };
            let key = generate(&mut card, &options).unwrap();
            let recipient =
                bech32::encode::<Bech32>(Hrp::parse("age1yubikey").unwrap(), &key.public_key).unwrap();
            for arguments in [&["--list"][..], &["--identity", "--slot", "1"]] {
                let output = Command::new(plugin()).args(arguments).env("LANG", "C").output().unwrap();
                let said = String::from_utf8(output.stdout).unwrap();
                let complaint = String::from_utf8_lossy(&output.stderr);
                for wanted in
                    [recipient.as_str(), "11223344", "Slot: 1", "key of Zoë", "PIN policy: Always", "Cached"]
                {
                    assert!(said.contains(wanted), "{arguments:?}: {wanted} missing in {said}{complaint}");
                }
            }
        },
    );
}

fn output(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let path = format!("{}:{}", plugin().parent().unwrap().display(), std::env::var("PATH").unwrap());
    let piped = command.env("PATH", path).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn stock_age_opens_what_was_encrypted_to_the_key() {
    scene(
        || vec![ready(11_223_344, OLD)],
        |hands| {
            let mut card = Card::open(Which::Only).unwrap();
            // Without a PIN: age asks for one on a terminal only.
            let options =
                GenerateOptions { pin_policy: PinPolicy::Never, ..GenerateOptions::new("stock age") };
            let key = generate(&mut card, &options).unwrap();
            let recipient =
                bech32::encode::<Bech32>(Hrp::parse("age1yubikey").unwrap(), &key.public_key).unwrap();
            let directory = tempfile::tempdir().unwrap();
            let identity = directory.path().join("identity");
            std::fs::write(&identity, output(Command::new(plugin()).arg("--identity"), b"")).unwrap();
            let sealed = output(Command::new("age").args(["-r", &recipient]), b"opened by stock age");
            let before = hands.private_key_operations(0);
            let opened = output(Command::new("age").arg("-d").arg("-i").arg(&identity), &sealed);
            assert_eq!(opened, b"opened by stock age");
            assert_eq!(hands.private_key_operations(0), before + 1);
        },
    );
}

/// Keeps everything anybody logs, at every level.
struct Everything(Mutex<String>);

impl log::Log for Everything {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all += &format!("{} {}\n", record.target(), record.args());
    }

    fn flush(&self) {}
}

static LOGGED: Everything = Everything(Mutex::new(String::new()));

#[test]
fn no_pin_in_any_log_at_trace() {
    scene(
        || vec![SoftKey::builder(1).build().unwrap()],
        |_| {
            log::set_logger(&LOGGED).unwrap();
            log::set_max_level(log::LevelFilter::Trace);
            let mut card = Card::open(Which::Only).unwrap();
            card.change_pin(&pin("123456"), &pin(PIN), LastTry::Refuse).unwrap();
            card.change_puk(&pin("12345678"), &pin(PIN), LastTry::Refuse).unwrap();
            let key = generate(&mut card, &GenerateOptions::new("x")).unwrap();
            card.ecdh(key.slot, &key.public_key, Some(&pin(PIN)), LastTry::Refuse, &mut || ()).unwrap();
            log::trace!("the log works: {:02x?} {:?} {PIN}", PIN.as_bytes(), PIN.as_bytes());

            let all = LOGGED.0.lock().unwrap();
            let (last, before) = (all.lines().last().unwrap(), all.lines().count() - 1);
            let before: Vec<&str> = all.lines().take(before).collect();
            let hex: String = PIN.bytes().map(|byte| format!("{byte:02x}")).collect();
            let spaced = format!("{:02x?}", PIN.as_bytes());
            let decimal = format!("{:?}", PIN.as_bytes());
            for form in [PIN, &hex, spaced.trim_matches(['[', ']']), decimal.trim_matches(['[', ']'])] {
                assert!(form == hex || last.contains(form), "the check itself: {form}");
                assert!(!before.iter().any(|line| line.contains(form)), "{form} in {before:#?}");
            }
        },
    );
}
