//! The real sops behind two doors: the program, a process for each call, and `sopsbatch`, which is sops's Go library in one
//! process for thousands of calls. And both at once, which have to agree.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use age::secrecy::ExposeSecret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use touchseal_sops::Format;

use super::{Key, decrypt, try_encrypt};

pub trait Sops {
    /// `options` as of `sops encrypt`.
    fn encrypt(&mut self, plain: &[u8], format: Format, options: &[&str]) -> Result<Vec<u8>, String>;
    fn decrypt(&mut self, sealed: &[u8], format: Format) -> Result<Vec<u8>, String>;
}

pub struct Program<'k>(pub &'k Key);

impl Sops for Program<'_> {
    fn encrypt(&mut self, plain: &[u8], format: Format, options: &[&str]) -> Result<Vec<u8>, String> {
        try_encrypt(plain, format, options)
    }

    fn decrypt(&mut self, sealed: &[u8], format: Format) -> Result<Vec<u8>, String> {
        decrypt(sealed, format, self.0)
    }
}

pub struct Batch {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Batch {
    pub fn start(key: &Key) -> Batch {
        let mut child = Command::new(batch_binary())
            .env_clear()
            .env("SOPS_AGE_KEY", key.identity.to_string().expose_secret())
            .env("GOMAXPROCS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start sopsbatch");
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("sopsbatch has a standard output"));
        Batch { child, requests, answers }
    }

    fn ask(&mut self, what: &str, data: &[u8], format: Format, options: &[&str]) -> Result<Vec<u8>, String> {
        let request = json!({
            "Do": what, "Format": format.to_string(), "Arguments": options, "Data": STANDARD.encode(data),
        });
        let requests = self.requests.as_mut().expect("open until the end");
        writeln!(requests, "{request}").expect("ask sopsbatch");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("sopsbatch answers");
        let answer: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| unreachable!("sopsbatch ended at this {format} document: {request}"));
        match answer["Error"].as_str() {
            Some(error) => Err(error.to_owned()),
            // Go has null for no bytes.
            None => Ok(STANDARD.decode(answer["Data"].as_str().unwrap_or_default()).expect("base64")),
        }
    }
}

impl Sops for Batch {
    fn encrypt(&mut self, plain: &[u8], format: Format, options: &[&str]) -> Result<Vec<u8>, String> {
        self.ask("encrypt", plain, format, options)
    }

    fn decrypt(&mut self, sealed: &[u8], format: Format) -> Result<Vec<u8>, String> {
        self.ask("decrypt", sealed, format, &[])
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        drop(self.requests.take());
        let _ = self.child.wait();
    }
}

/// What `make tools` built.
fn batch_binary() -> PathBuf {
    let tools = match std::env::var_os("TOUCHSEAL_TOOLS") {
        Some(tools) => PathBuf::from(tools),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/tools"),
    };
    let program = tools.join("bin/sopsbatch");
    assert!(program.is_file(), "sopsbatch is missing: run `make tools`");
    program
}

/// Asks both. An answer that differs ends the test.
pub struct Both<'k>(pub Program<'k>, pub Batch);

impl Sops for Both<'_> {
    fn encrypt(&mut self, plain: &[u8], format: Format, options: &[&str]) -> Result<Vec<u8>, String> {
        let (program, batch) =
            (self.0.encrypt(plain, format, options), self.1.encrypt(plain, format, options));
        match (&program, &batch) {
            (Ok(program), Ok(batch)) => {
                assert_eq!(without_chance(program, format), without_chance(batch, format), "{format}")
            }
            _ => agree_on_refusal(&program, &batch),
        }
        program
    }

    fn decrypt(&mut self, sealed: &[u8], format: Format) -> Result<Vec<u8>, String> {
        let (program, batch) = (self.0.decrypt(sealed, format), self.1.decrypt(sealed, format));
        match (&program, &batch) {
            (Ok(program), Ok(batch)) => {
                assert_eq!(String::from_utf8_lossy(program), String::from_utf8_lossy(batch), "{format}");
            }
            _ => agree_on_refusal(&program, &batch),
        }
        program
    }
}

fn agree_on_refusal(program: &Result<Vec<u8>, String>, batch: &Result<Vec<u8>, String>) {
    assert_eq!(
        program.is_err(),
        batch.is_err(),
        "only one refuses: {:?}, {:?}",
        program.as_ref().err(),
        batch.as_ref().err()
    );
    let (Err(program), Err(batch)) = (program, batch) else { return };
    let first = batch.lines().next().unwrap_or_default();
    assert!(program.contains(first), "the program says {program}, sopsbatch {batch}");
}

/// An encrypted document without what is random in it: keys, ciphertexts, the time, and in INI the order of the metadata.
fn without_chance(sealed: &[u8], format: Format) -> String {
    let text = String::from_utf8_lossy(sealed);
    let mut armor = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        let cut = |mark: &str| line.split(mark).next().unwrap_or_default().to_owned();
        if line.contains("BEGIN AGE") {
            lines.push(cut("BEGIN AGE"));
        }
        let inside = armor || line.contains("BEGIN AGE");
        armor = inside && !line.contains("END AGE");
        if inside {
            continue;
        }
        match (line.split_once(",iv:"), line.split_once(",type:")) {
            (Some((before, _)), Some((_, kind))) => lines.push(format!("{} type:{kind}", before.len())),
            _ if line.contains("lastmodified") => lines.push(cut("lastmodified")),
            _ => lines.push(line.to_owned()),
        }
    }
    if let Some(metadata) = lines.iter().position(|line| format == Format::Ini && line == "[sops]") {
        lines[metadata..].sort();
    }
    lines.join("\n")
}
