//! Identities prepared for opening many documents: each knows its recipient, so that a document listing it among others
//! costs one attempt.

use std::fmt;

use zeroize::Zeroizing;

use crate::age_file::X25519Key;

/// A set of age identities, in the order of preference.
#[derive(Default)]
pub struct Opener {
    keys: Vec<Key>,
    messages: Vec<Message>,
}

/// What somebody outside opened.
struct Message {
    text: String,
    payload: Zeroizing<Vec<u8>>,
}

struct Key {
    recipient: String,
    identity: Box<dyn age::Identity + Send + Sync>,
    /// For X25519: the short way to open what sops writes.
    quick: Option<X25519Key>,
}

impl Opener {
    /// A set of none.
    pub fn new() -> Opener {
        Opener::default()
    }

    /// Adds an X25519 identity.
    #[must_use]
    pub fn with_x25519(mut self, identity: age::x25519::Identity) -> Opener {
        let recipient = identity.to_public().to_string();
        let quick = X25519Key::new(&identity);
        self.keys.push(Key { recipient, identity: Box::new(identity), quick });
        self
    }

    /// Adds any identity. `recipient` is its recipient as documents write it.
    #[must_use]
    pub fn with(mut self, recipient: String, identity: Box<dyn age::Identity + Send + Sync>) -> Opener {
        self.keys.push(Key { recipient, identity, quick: None });
        self
    }

    /// Adds what was found in a PGP message of a document ([`crate::PgpKey::message`]): its data key, or a share of it.
    #[must_use]
    pub fn with_message(mut self, text: String, payload: Zeroizing<Vec<u8>>) -> Opener {
        self.messages.push(Message { text, payload });
        self
    }

    /// The recipients that can be opened.
    pub fn recipients(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.recipient.as_str())
    }

    pub(crate) fn payload(&self, message: &str) -> Option<&Zeroizing<Vec<u8>>> {
        self.messages.iter().find(|one| one.text == message).map(|one| &one.payload)
    }

    pub(crate) fn identities(&self) -> Vec<&dyn age::Identity> {
        self.keys.iter().map(|key| &*key.identity as &dyn age::Identity).collect()
    }

    /// What is wrapped for `recipient`, if that is ours and `wrapped` is of the plainest form. `None` decides nothing.
    pub(crate) fn open_quickly(&self, recipient: &str, wrapped: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.keys.iter().find(|key| key.recipient == recipient)?.quick.as_ref()?.open(wrapped)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.recipients()).finish()
    }
}
