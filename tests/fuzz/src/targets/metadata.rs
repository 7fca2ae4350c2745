//! The `sops` block of each kind of format: the input stands where the block's fields stand.

use serde_json::Value;
use touchseal_sops::Format;

use super::{Target, documents};
use crate::known;

macro_rules! target {
    ($target:ident, $name:literal, $format:expr) => {
        pub const $target: Target = Target {
            name: $name,
            run: |input| documents::open(&[head($format), input, tail($format)].concat(), $format),
            vectors: || seeds($format),
        };
    };
}

target!(YAML, "metadata-yaml", Format::Yaml);
target!(JSON, "metadata-json", Format::Json);
target!(DOTENV, "metadata-dotenv", Format::Dotenv);
target!(INI, "metadata-ini", Format::Ini);

fn head(format: Format) -> &'static [u8] {
    match format {
        Format::Yaml => b"a_unencrypted: x\nsops:\n",
        Format::Json | Format::Binary => b"{\"a_unencrypted\": \"x\", \"sops\": {",
        Format::Dotenv => b"a_unencrypted=x\n",
        Format::Ini => b"[a]\nb_unencrypted = x\n[sops]\n",
    }
}

fn tail(format: Format) -> &'static [u8] {
    match format {
        Format::Json | Format::Binary => b"}}\n",
        _ => b"\n",
    }
}

fn seeds(format: Format) -> Vec<Vec<u8>> {
    let mut blocks: Vec<String> = known::documents(format)
        .filter_map(|vector| block(std::str::from_utf8(&vector.bytes).ok()?, format))
        .collect();
    blocks.extend(extra(format).iter().map(|&text| text.to_owned()));
    blocks.sort();
    blocks.dedup();
    assert!(blocks.len() > 1, "no blocks found");
    blocks.into_iter().map(String::into_bytes).collect()
}

/// The fields of a document's block.
fn block(text: &str, format: Format) -> Option<String> {
    Some(match format {
        Format::Yaml => text.split_once("\nsops:\n")?.1.to_owned(),
        Format::Json | Format::Binary => {
            let document: Value = serde_json::from_str(text).ok()?;
            let block = document.get("sops").filter(|block| block.is_object())?.to_string();
            block.strip_prefix('{')?.strip_suffix('}')?.to_owned()
        }
        Format::Dotenv => text.split_inclusive('\n').filter(|line| line.starts_with("sops_")).collect(),
        Format::Ini => text.split_once("[sops]\n")?.1.to_owned(),
    })
}

/// Fields that the vectors of a format do not all have.
fn extra(format: Format) -> &'static [&'static str] {
    match format {
        Format::Yaml => &[
            "  shamir_threshold: 2\n  key_groups:\n  - age: [{recipient: a, enc: b}]\n  - hc_vault: [{enc: c}]\n    age: []\n  lastmodified: 2026-01-02T03:04:05Z\n  mac: x\n  encrypted_regex: ^a$\n  mac_only_encrypted: true\n",
        ],
        Format::Json | Format::Binary => &[
            "\"shamir_threshold\": 2, \"key_groups\": [{\"age\": [{\"recipient\": \"a\", \"enc\": \"b\"}]}, {\"pgp\": [{\"fp\": \"c\"}], \"age\": null}], \"lastmodified\": \"2026-01-02T03:04:05Z\", \"encrypted_comment_regex\": \"x\", \"mac_only_encrypted\": true",
            "\"kms\": [{\"arn\": \"a\"}], \"azure_kv\": [], \"gcp_kms\": null, \"lastmodified\": \"2026-01-02T03:04:05+01:00\", \"unencrypted_suffix\": \"\"",
        ],
        Format::Dotenv => &[
            "sops_shamir_threshold=2\nsops_key_groups__list_0__map_age__list_0__map_recipient=a\nsops_key_groups__list_0__map_age__list_0__map_enc=b\\nc\nsops_key_groups__list_1__map_pgp__list_0__map_fp=d\nsops_lastmodified=2026-01-02T03:04:05Z\nsops_mac_only_encrypted=true\nsops_encrypted_regex=^a$\n",
        ],
        Format::Ini => &[
            "shamir_threshold = 2\nkey_groups__list_0__map_age__list_0__map_recipient = a\nkey_groups__list_0__map_age__list_0__map_enc = b\\nc\nkey_groups__list_1__map_kms__list_0__map_arn = d\nlastmodified = 2026-01-02T03:04:05Z\nmac_only_encrypted = false\n",
        ],
    }
}
