//! What a Keyring's status counts, in words: how many EncryptedSecrets need a key generation, and where.

use touchseal_crds::keyring::{DocumentCount, KeyringStatus};

/// Namespaces named in a line.
const NAMED: usize = 5;

/// How many need a generation.
pub fn needed_by(status: &KeyringStatus, generation: u32) -> String {
    let found = status.documents.iter().find(|entry| entry.generation == generation);
    found.map(|entry| places(&entry.count)).unwrap_or_else(|| "not counted".to_owned())
}

/// Those that may need any.
pub fn unclear(status: &KeyringStatus) -> Option<String> {
    let count = status.documents_unclear.as_ref()?;
    Some(format!("not served as they are now, so any generation may be needed by: {}", places(count)))
}

fn places(count: &DocumentCount) -> String {
    if count.objects == 0 {
        return "none".to_owned();
    }
    let named = count.namespaces.iter().take(NAMED).map(|of| format!("{} {}", of.namespace, of.objects));
    let mut named: Vec<String> = named.collect();
    let unlisted = count.more_namespaces.unwrap_or(0) as usize + count.namespaces.len().saturating_sub(NAMED);
    named.extend((unlisted > 0).then(|| format!("{unlisted} more namespaces")));
    format!("{} ({})", count.objects, named.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn few_namespaces_are_named_and_the_others_counted() {
        let namespaces: Vec<_> =
            (0..7).map(|at| json!({ "namespace": format!("n{at}"), "objects": 2 })).collect();
        let status: KeyringStatus = serde_json::from_value(json!({ "documents": [
            { "generation": 1, "objects": 0 },
            { "generation": 2, "objects": 20, "namespaces": namespaces, "moreNamespaces": 3 },
        ]}))
        .unwrap();
        assert_eq!(needed_by(&status, 1), "none");
        assert_eq!(needed_by(&status, 2), "20 (n0 2, n1 2, n2 2, n3 2, n4 2, 5 more namespaces)");
        assert_eq!(needed_by(&status, 3), "not counted");
        assert_eq!(unclear(&status), None);
    }
}
