//! One command a file.

pub mod audit;
pub mod completion;
pub mod decrypt;
pub mod doctor;
pub mod edit;
pub mod encrypt;
pub mod import;
pub mod incident;
pub mod keyring;
pub mod lint;
pub mod man;
pub mod recipients;
pub mod rekey;
pub mod render;
pub mod rotation;
pub mod seal;
pub mod status;
pub mod unseal;
pub mod verify;
pub mod version;
pub mod wrap;
