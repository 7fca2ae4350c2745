//! The software key against programs that were written for real ones: ykman, age with age-plugin-yubikey, several at once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use touchseal_softkey::{Reader, SoftKey};

fn run(reader: &Reader, program: &str, arguments: &[&str], input: &[u8]) -> Output {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/tools/bin");
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let mut child = Command::new(program)
        .args(arguments)
        .env("PATH", path)
        .env("PCSCLITE_CSOCK_NAME", reader.socket())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {complaint}");
    output
}

/// ykman counts empty slots as keys, so it is told which key is meant.
fn ykman(reader: &Reader, key: &SoftKey, arguments: &[&str]) -> String {
    let serial = key.serial().to_string();
    let output = run(reader, "ykman", &[&["--device", serial.as_str(), "piv"], arguments].concat(), b"");
    String::from_utf8(output.stdout).unwrap()
}

fn ykman_makes_attests_and_resets(firmware: (u8, u8, u8), algorithm: &str) {
    let (major, minor, patch) = firmware;
    let key = SoftKey::builder(77).firmware(major, minor, patch).build().unwrap();
    let reader = Reader::start().unwrap();
    reader.insert(0, &key).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = |name| directory.path().join(name).display().to_string();
    let (public, attestation) = (file("public.pem"), file("attestation.pem"));

    let info = ykman(&reader, &key, &["info"]);
    assert!(info.contains("Using default PIN") && info.contains(algorithm), "{info}");
    ykman(&reader, &key, &["access", "change-pin", "-P", "123456", "-n", "424242"]);
    let management = "010203040506070801020304050607080102030405060708";
    let change = ["access", "change-management-key", "-p", "-g", "-m", management, "-P", "424242", "-f"];
    ykman(&reader, &key, &change);
    let policies = ["--pin-policy", "ALWAYS", "--touch-policy", "CACHED"];
    let generate = ["keys", "generate", "-P", "424242", "-a", "ECCP256", "82", &public];
    ykman(&reader, &key, &[&generate[..6], &policies, &generate[6..]].concat());
    ykman(&reader, &key, &["certificates", "generate", "-P", "424242", "-s", "CN=x", "82", &public]);
    assert_eq!(key.counters().signatures, 1);
    ykman(&reader, &key, &["keys", "attest", "82", &attestation]);
    assert!(std::fs::read_to_string(&attestation).unwrap().contains("BEGIN CERTIFICATE"));
    let info = ykman(&reader, &key, &["info"]);
    assert!(info.contains("protected by PIN") && info.contains("CN=x"), "{info}");
    ykman(&reader, &key, &["reset", "-f"]);
    assert!(key.public_key(0x82).is_none() && ykman(&reader, &key, &["info"]).contains("Using default PIN"));
}

#[test]
fn ykman_with_firmware_5_4() {
    ykman_makes_attests_and_resets((5, 4, 3), "TDES");
}

#[test]
fn ykman_with_firmware_5_7() {
    ykman_makes_attests_and_resets((5, 7, 1), "AES192");
}

#[test]
fn two_keys_and_readers_side_by_side() {
    let readers: Vec<Reader> = (0..3).map(|_| Reader::start().unwrap()).collect();
    let keys: Vec<SoftKey> = (0..6).map(|number| SoftKey::builder(1000 + number).build().unwrap()).collect();
    for (number, key) in keys.iter().enumerate() {
        readers[number / 2].insert(number % 2, key).unwrap();
    }
    for (number, reader) in readers.iter().enumerate() {
        let listed = String::from_utf8(run(reader, "ykman", &["list", "--serials"], b"").stdout).unwrap();
        let mut serials: Vec<&str> = listed.split_whitespace().collect();
        serials.sort_unstable();
        assert_eq!(serials, [format!("{}", 1000 + 2 * number), format!("{}", 1001 + 2 * number)]);
    }
    readers[0].pull(0).unwrap();
    ykman(&readers[0], &keys[1], &["info"]);
}

#[test]
fn exchanges_do_not_wait_for_delayed_acknowledgements() {
    let key = SoftKey::builder(1).build().unwrap();
    let reader = Reader::start().unwrap();
    reader.insert(0, &key).unwrap();
    ykman(&reader, &key, &["info"]);
    let log = key.log();
    let mut gaps: Vec<_> = log.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    gaps.sort_unstable();
    assert!(gaps.len() > 20, "{}", gaps.len());
    let median = gaps[gaps.len() / 2];
    assert!(median.as_millis() < 30, "{median:?} from command to command");
}

#[test]
fn everything_ends_with_its_owner() {
    let key = SoftKey::builder(1).build().unwrap();
    let reader = Reader::start().unwrap();
    reader.insert(0, &key).unwrap();
    let socket = reader.socket();
    let listening = || std::os::unix::net::UnixStream::connect(&socket).is_ok();
    assert!(listening());
    drop(reader);
    assert!(!listening() && !socket.exists());
}
