//! Test equipment: a software YubiKey that programs reach through the real pcscd, as they would reach a real one.
//!
//! [`SoftKey`] is the key (PIV applet, firmware 5.4.3 with a 3DES or 5.7 with an AES-192 management key, everything in
//! memory, every key's secrets drawn from the system's randomness); [`Reader`] is a private pcscd with two slots to plug
//! it into. It protects nothing and must never hold a secret that matters: what it attests names it as test equipment.
//!
//! The chain is: client -> libpcsclite -> pcscd -> libifdvpcd.so (vsmartcard) -> loopback TCP -> [`SoftKey`]. Clients find
//! the private pcscd by the environment variable `PCSCLITE_CSOCK_NAME` set to [`Reader::socket`].

mod builder;
mod card;
mod fault;
mod key;
mod link;
mod log;
mod reader;
mod service;
mod status;

pub use builder::{BuildError, Builder};
pub use card::Counters;
pub use fault::{At, Fault};
pub use key::{SoftKey, Touch};
pub use log::Entry;
pub use reader::{Reader, ReaderError};
