//! What a plain file is: by its name, and by what it holds where the name does not tell.

use touchseal_sops::{Document, Format};

use super::neighbours::KINDS;
use super::registry;

/// What a file is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// NAME=value lines: each variable under its own key
    Env,
    /// YAML, JSON or properties: each value under its own key, nested ones joined by dots
    Flat,
    /// The whole file under one key, byte for byte
    File,
    /// A certificate and its key, both PEM
    Tls,
    /// The docker configuration with the credentials of registries
    Docker,
    /// Secret manifests
    Secret,
}

/// What it is, unless a person says otherwise. Settings of applications are whole files: nobody can tell which application
/// reads them, and it goes on reading the same file.
pub fn of(name: &str, bytes: &[u8]) -> Kind {
    if has_secrets(bytes) {
        Kind::Secret
    } else if is_pem(bytes, "PRIVATE KEY") || is_pem(bytes, "CERTIFICATE") {
        Kind::Tls
    } else if registry::is_one(name, bytes) {
        Kind::Docker
    } else if name == ".env" || name.starts_with(".env.") || name.ends_with(".env") {
        Kind::Env
    } else {
        Kind::File
    }
}

/// Whether sops, or Touchseal, encrypted it.
pub fn is_encrypted(name: &str, bytes: &[u8]) -> bool {
    let format = Format::from_file_name(name).unwrap_or_else(|| Format::detect(bytes));
    Document::parse(bytes, format).is_ok()
        || Document::parse(bytes, Format::Binary).is_ok()
        || crate::commands::encrypt::is_manifest(bytes)
}

/// Whether a PEM block of this kind is in it; `RSA PRIVATE KEY` is a `PRIVATE KEY`, too.
pub fn is_pem(bytes: &[u8], what: &str) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let end = format!("{what}-----");
    text.lines().any(|line| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&end))
}

/// A stream of manifests with a Secret in it, by the look of it: one that is damaged is to be told of, not to be taken for a file.
fn has_secrets(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let unquoted: String =
        text.chars().filter(|c| !matches!(c, '"' | '\'' | ' ' | ',' | '\t' | '\r')).collect();
    let is = |line: &str, field: &str, values: &[&str]| {
        line.trim_start_matches(['-', '{']).strip_prefix(field).is_some_and(|rest| {
            values.iter().any(|value| {
                rest == *value || rest.strip_prefix(value).is_some_and(|r| r.starts_with(['{', '}', '#']))
            })
        })
    };
    let any = |field: &str, values: &[&str]| unquoted.lines().any(|line| is(line, field, values));
    any("kind:", &KINDS)
        || (any("apiVersion:", &["v1"]) && any("kind:", &["Secret", "SecretList"]))
        || (text.trim_start().starts_with('{')
            && unquoted.contains("kind:Secret")
            && unquoted.contains("apiVersion:v1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_content_tell() {
        let secret = "# x\napiVersion: v1\nkind: Secret\n";
        for (name, text, expected) in [
            (".env", "A=b\n", Kind::Env),
            ("prod.env", "A=b\n", Kind::Env),
            (".env.production", "A=b\n", Kind::Env),
            ("environment", "A=b\n", Kind::File),
            ("settings.yaml", "kind: settings\n", Kind::File),
            ("application.properties", "a=b\n", Kind::File),
            ("settings.py", "A = 'b'\n", Kind::File),
            ("secret.yaml", secret, Kind::Secret),
            ("secret.yaml", "kind: 'Secret'\napiVersion: \"v1\"\n", Kind::Secret),
            (
                "list.yaml",
                "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n",
                Kind::Secret,
            ),
            ("x.json", "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"data\":{}}", Kind::Secret),
            ("x.json", "{\n  \"apiVersion\": \"v1\",\n  \"kind\": \"Secret\"\n}", Kind::Secret),
            ("other.yaml", "apiVersion: v1\nkind: SecretStore\n", Kind::File),
            ("config.json", "{\"auths\": {}}", Kind::Docker),
            ("config.json", "{\"auth\": {}}", Kind::File),
            ("a.pem", "Bag Attributes\n-----BEGIN EC PRIVATE KEY-----\n", Kind::Tls),
            ("a.crt", "-----BEGIN CERTIFICATE-----\n", Kind::Tls),
        ] {
            assert_eq!(of(name, text.as_bytes()), expected, "{name}: {text}");
        }
        assert_eq!(of(".env", b"\xff\xfe"), Kind::Env);
        assert_eq!(of("x.bin", b"\xff\xfe"), Kind::File);
    }
}
