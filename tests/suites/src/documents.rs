//! Documents, encrypted and edited by the real sops.

use std::fs;
use std::process::Output;

use touchseal_rig::scratch::Scratch;
use touchseal_rig::tools::Tool;

/// A folder in which sops works.
pub struct Sops {
    folder: Scratch,
}

impl Sops {
    /// An empty folder.
    pub fn new() -> Sops {
        Sops { folder: Scratch::new("sops").unwrap() }
    }

    /// Encrypts `plaintext` to `recipients` (comma-separated age recipients). `name` tells sops the format.
    pub fn encrypt(&self, name: &str, plaintext: &str, recipients: &str) -> String {
        self.encrypt_with(name, plaintext, &["--age", recipients])
    }

    /// Encrypts with any arguments of `sops encrypt`.
    pub fn encrypt_with(&self, name: &str, plaintext: &str, arguments: &[&str]) -> String {
        let file = self.folder.path().join(name);
        fs::write(&file, plaintext).unwrap();
        let output = self.run(&[&["encrypt"], arguments, &[file.to_str().unwrap()]].concat());
        fs::remove_file(&file).unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = Tool::Sops
            .command()
            .unwrap()
            .args(arguments)
            .env("SOPS_DISABLE_VERSION_CHECK", "1")
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "sops: {}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

impl Default for Sops {
    fn default() -> Self {
        Sops::new()
    }
}
