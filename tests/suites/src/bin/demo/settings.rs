//! The demo's application: a git repository with its settings, encrypted by the stock sops. Every commit is searched.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use touchseal_rig::scratch::Scratch;
use touchseal_rig::tools::Tool;

use crate::indent;

/// What must never be found in git.
pub const PLAIN: [&str; 5] = [
    "correct-horse-battery",
    "smtp-s3cret-77",
    "chat-token-c0ffee",
    "MIIEdemo0privateKey",
    "rotated-staple-42",
];

/// The repository, and the developer's own age key beside it.
pub struct Settings {
    git: Scratch,
    developer: Scratch,
}

impl Settings {
    /// An empty repository.
    pub fn new() -> Settings {
        let settings = Settings {
            git: Scratch::new("demo-git").unwrap(),
            developer: Scratch::new("demo-developer").unwrap(),
        };
        settings.run(Command::new("git").args(["init", "--quiet", "--initial-branch=main"]));
        fs::create_dir(settings.path("shop")).unwrap();
        settings
    }

    /// A path inside the repository.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.git.path().join(name)
    }

    /// The repository.
    pub fn folder(&self) -> &Path {
        self.git.path()
    }

    /// Adds the developer's own age key to the creation rules: she can edit what she encrypted, and the operator skips a
    /// recipient it holds no key for.
    pub fn add_developer(&self) {
        let identity = self.identity();
        self.run(Tool::AgeKeygen.command().unwrap().arg("-o").arg(&identity));
        let text = fs::read_to_string(identity).unwrap();
        let recipient = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned();
        let rules = fs::read_to_string(self.path(".sops.yaml")).unwrap();
        let rules: String = rules
            .lines()
            .map(|line| match line.split_once("age: ") {
                Some((before, namespace)) => format!("{before}age: {namespace},{recipient}\n"),
                None => format!("{line}\n"),
            })
            .collect();
        print!("{}", indent(&rules));
        fs::write(self.path(".sops.yaml"), rules).unwrap();
    }

    /// Writes the settings, encrypts them and writes the manifests beside them.
    pub fn write(&self) {
        let [database, smtp, chat, tls, _] = PLAIN;
        let app = format!("database_password: {database}\nsmtp_password: {smtp}\nchat_token: {chat}\n");
        let key = format!("-----BEGIN PRIVATE KEY-----\n{tls}\n-----END PRIVATE KEY-----\n");
        for (file, text) in [("shop/app.yaml", app.as_str()), ("shop/tls.key", &key)] {
            fs::write(self.path(file), text).unwrap();
            self.sops(&["encrypt", "--in-place", file]);
        }
        fs::write(self.path("shop/secrets.yaml"), ENCRYPTED_SECRETS).unwrap();
        fs::write(self.path("shop/kustomization.yaml"), KUSTOMIZATION).unwrap();
    }

    /// Runs sops with the developer's key.
    pub fn sops(&self, arguments: &[&str]) {
        println!("    $ sops {}", arguments.join(" ").replace(PLAIN[4], "..."));
        let mut command = Tool::Sops.command().unwrap();
        command.args(arguments).env("SOPS_DISABLE_VERSION_CHECK", "1");
        self.run(command.env("SOPS_AGE_KEY_FILE", self.identity()));
    }

    /// Commits everything and searches every object git has, of every commit, for every plaintext.
    pub fn commit(&self, message: &str) {
        self.run(Command::new("git").args(["add", "."]));
        let author = ["-c", "user.name=demo", "-c", "user.email=demo@example.invalid"];
        self.run(Command::new("git").args(author).args(["commit", "--quiet", "-m", message]));
        let listed = self.run(Command::new("git").args(["rev-list", "--all", "--objects"]));
        let listed = String::from_utf8(listed.stdout).unwrap();
        let ids: Vec<&str> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
        let found: usize = ids
            .iter()
            .map(|id| {
                let object = self.run(Command::new("git").args(["cat-file", "-p", id]));
                let text = String::from_utf8_lossy(&object.stdout).into_owned();
                PLAIN.iter().filter(|plain| text.contains(*plain)).count()
            })
            .sum();
        println!("      git commit: {message}; plaintext found in {found} of {} objects", ids.len());
        assert_eq!(found, 0);
    }

    /// The developer's age key.
    pub fn identity(&self) -> std::path::PathBuf {
        self.developer.path().join("age.txt")
    }

    fn run(&self, command: &mut Command) -> Output {
        let output = command.current_dir(self.git.path()).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

const ENCRYPTED_SECRETS: &str = "\
apiVersion: touchseal.dev/v1alpha1
kind: EncryptedSecret
metadata:
  name: app
  namespace: shop
spec:
  documents:
  - configMapKeyRef: { name: shop-documents, key: app.yaml }
---
apiVersion: touchseal.dev/v1alpha1
kind: EncryptedSecret
metadata:
  name: tls
  namespace: shop
spec:
  documents:
  - configMapKeyRef: { name: shop-documents, key: tls.key }
    format: binary
    mapping: { file: { key: tls.key } }
";

/// The sops files are what git holds; kustomize carries them into the cluster verbatim.
const KUSTOMIZATION: &str = "\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: shop
resources: [secrets.yaml]
generatorOptions: { disableNameSuffixHash: true }
configMapGenerator:
- name: shop-documents
  files: [app.yaml, tls.key]
";
