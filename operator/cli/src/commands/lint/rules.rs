//! What lint looks for: every rule with its name, which stays, its level, and what to do about what it finds.

use serde::{Serialize, Serializer};

/// How bad a finding is. Both kinds end the command with the same exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A secret is exposed, or something will not work.
    Error,
    /// It works, and somebody should have meant it.
    Warning,
}

impl Level {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

macro_rules! rules {
    ($($rule:ident $id:literal $level:ident $allowed:literal $about:literal $next:literal;)*) => {
        /// One thing that can be wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule { $(#[doc = $about] $rule,)* }

        impl Rule {
            /// All of them, in the order of the documentation.
            pub const ALL: &[Rule] = &[$(Rule::$rule,)*];

            /// Its name in output, comments and options.
            pub const fn id(self) -> &'static str {
                match self { $(Rule::$rule => $id,)* }
            }

            pub const fn level(self) -> Level {
                match self { $(Rule::$rule => Level::$level,)* }
            }

            /// Whether a comment beside it may say that it is meant. What is broken or forged nobody means.
            pub const fn may_be_allowed(self) -> bool {
                match self { $(Rule::$rule => $allowed,)* }
            }

            /// What it finds.
            pub const fn about(self) -> &'static str {
                match self { $(Rule::$rule => $about,)* }
            }

            /// What to do about it.
            pub const fn next(self) -> &'static str {
                match self { $(Rule::$rule => $next,)* }
            }
        }
    };
}

rules! {
    PlaintextSecret "plaintext-secret" Error true
        "A Secret manifest with values in plain text"
        "encrypt it (touchseal encrypt) and wrap it, or take it out; if it was ever pushed, change the values";
    PlaintextGenerator "plaintext-generator" Error true
        "A kustomize secretGenerator fed with literals, or with files of the tree that are not encrypted"
        "make an EncryptedSecret of the values (touchseal wrap) in its place; if they were ever pushed, change them";
    PlaintextDocument "plaintext-document" Error true
        "A file that a creation rule says should be encrypted, or a document inside a manifest, in plain text"
        "encrypt it in its place: touchseal encrypt --in-place FILE; if it was ever pushed, change its values";
    NothingEncrypted "nothing-encrypted" Error false
        "A document whose selector (encrypted_regex and the like) fits none of its values"
        "correct the selector in its creation rule and encrypt the file again; if it was ever pushed, change its values";
    ClearValue "clear-value" Warning true
        "A value that a selector leaves in the clear, where no creation rule of the file says so"
        "see in git who changed what the document encrypts; encrypt the value, or write the selector into the creation rule";
    NotCiphertext "not-ciphertext" Error false
        "A value that should be ciphertext by the document's own selector and is not: the document does not open"
        "put the value in with touchseal edit, never by hand; if it was ever pushed, change it";
    Mac "mac" Error false
        "A document whose MAC is missing or is none: the operator refuses it"
        "use its last version from git that has one";
    DataKey "data-key" Error false
        "A document with a wrapped data key that is no age file"
        "use its last version from git that was right";
    DocumentMalformed "document-malformed" Error false
        "A file or document that holds what sops writes, and does not read as a sops document"
        "use its last version from git that was right; if it holds secrets in plain text and was ever pushed, change them";
    NoAgeRecipient "no-age-recipient" Error false
        "A document of an EncryptedSecret that is encrypted to no age recipient: the operator cannot open it"
        "add its namespace's recipient: touchseal rekey";
    WrongNamespace "wrong-namespace" Error false
        "A document, or a creation rule, with the recipient of another namespace: it would never open"
        "encrypt it for its own namespace: touchseal rekey, or correct the rule with touchseal recipients -f KEYRING --for NAMESPACE --sops-yaml";
    RetiredGeneration "retired-generation" Error false
        "A document or a rule with the recipient of a key generation that is retired: it does not open any more"
        "take the plaintext from elsewhere and encrypt it anew; correct the rule with touchseal recipients -f KEYRING --for NAMESPACE --sops-yaml";
    OlderGeneration "older-generation" Warning true
        "A document or a rule with the recipient of a key generation that is not the one in use"
        "move it: touchseal rekey, and touchseal recipients -f KEYRING --for NAMESPACE --sops-yaml for the rule";
    OutOfStep "rule-recipients" Warning true
        "A document that is not encrypted to whom its creation rule names"
        "move it: touchseal rekey";
    ForeignRecipient "foreign-recipient" Warning true
        "Somebody can read a document, or will read what a rule encrypts, who is not the namespace"
        "take the recipient out of the rule and run touchseal rekey; if it is meant, say so beside it";
    ManifestInvalid "manifest-invalid" Error false
        "An EncryptedSecret that the API server would refuse, or take otherwise than it is written"
        "correct the manifest";
    TemplateInvalid "template-invalid" Error false
        "A template that does not parse, asks for what there is not, or for a key that no document gives"
        "correct the template; docs/templates.md says what there is";
    TemplateLiteral "template-literal" Error true
        "A template with what looks like a password, token or key written out in it, or one that puts nothing in"
        "put the value into a document, and its name into the template; if it was ever pushed, change it";
    NameCollision "name-collision" Error true
        "Two EncryptedSecrets of one namespace with the same name, or that make the same Secret"
        "give one of them another name, or another spec.target.name";
    KeyringInvalid "keyring-invalid" Error false
        "A Keyring manifest whose signature, chain or form does not hold: the operator refuses it"
        "somebody changed it by hand: use its last version from git that verifies";
    KeyringChanged "keyring-changed" Error false
        "A Keyring manifest that is not the one this laptop has accepted, or an older one"
        "ask whoever keeps the keyring before anything is encrypted to it or unsealed with it";
    CreationRules "creation-rules" Error false
        "A .sops.yaml that cannot be read, or a rule in it that nobody can follow"
        "correct it";
    Unreadable "unreadable" Warning true
        "A file that looks like a Secret, a generator or a Touchseal object, and is no YAML that could be looked into"
        "correct it, or look at it yourself";
}

impl std::str::FromStr for Rule {
    type Err = String;

    fn from_str(id: &str) -> Result<Rule, String> {
        let known = || Rule::ALL.iter().map(|rule| rule.id()).collect::<Vec<_>>().join(", ");
        Rule::ALL.iter().copied().find(|rule| rule.id() == id).ok_or_else(|| format!("there is {}", known()))
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page has one line for each, in this order.
    #[test]
    fn every_rule_is_in_the_documentation_as_it_is_here() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/lint.md");
        let page = std::fs::read_to_string(page).unwrap();
        let written: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        let meant = Rule::ALL.iter().map(|rule| {
            let allowed = if rule.may_be_allowed() { "yes" } else { "no" };
            format!("| `{}` | {} | {allowed} | {} |", rule.id(), rule.level().word(), rule.about())
        });
        assert_eq!(written, meant.collect::<Vec<_>>());
    }

    #[test]
    fn names_are_read_back() {
        for rule in Rule::ALL {
            assert_eq!(rule.id().parse(), Ok(*rule));
        }
        assert!("nothing".parse::<Rule>().unwrap_err().contains("plaintext-secret, "));
    }
}
