//! touchseal-token: the YubiKey. The only crate that names `pcsc`; on the path it stands between `cli` (which asks a
//! person for PIN and touch) and the card that opens a keyring with one ECDH.
//!
//! It speaks PIV (SP 800-73-4 part 2, and Yubico's published extensions) over the system's smart card service itself, in
//! one exclusive transaction an operation: which slot, whose serial, how many tries are left, VERIFY and the one private-key
//! operation cannot be interleaved with another program. Keys and certificates are those age-plugin-yubikey makes.
//!
//! Nothing here logs, and nothing here hands a PIN to code that does: a PIN goes from [`Pin`] through one zeroized buffer
//! to the smart card library. That is why no other PIV driver is used (the `yubikey` crate logs whole APDUs at trace).
//!
//! What the operating system's smart card library, its service and the kernel do with their buffers is beyond this crate.

mod card;
mod ecdh;
mod error;
mod generate;
mod open;
mod pin;
mod piv;
mod slot;

pub use card::{Attestation, Card, CardInfo, Firmware};
pub use ecdh::SharedSecret;
pub use error::TokenError;
pub use generate::GenerateOptions;
pub use open::{Which, cards};
pub use pin::{LastTry, Pin, PinFormat};
pub use piv::management::ManagementKey;
pub use slot::{PinPolicy, Slot, SlotKey, TouchPolicy};
