//! The operator's image as it is shipped. `make` has it built and says where (`TOUCHSEAL_IMAGE`); a plain `cargo test`
//! builds it once a process. It is the release build, static: the first time takes minutes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

use crate::world::repository;

/// What it is called, where it is not pulled from a registry.
pub const REPOSITORY: &str = "localhost/touchseal-operator";
/// Its tag, and the chart's default.
pub const TAG: &str = env!("CARGO_PKG_VERSION");

/// What `make image` makes.
pub struct Image {
    /// The folder of all of it.
    pub folder: PathBuf,
}

impl Image {
    /// The one built from this checkout.
    pub fn built() -> Image {
        static FOLDER: OnceLock<PathBuf> = OnceLock::new();
        let folder = FOLDER.get_or_init(|| match env::var_os("TOUCHSEAL_IMAGE") {
            Some(folder) => folder.into(),
            None => {
                let status = script(&[]).status().unwrap();
                assert!(status.success(), "the image cannot be built");
                match env::var_os("CARGO_TARGET_DIR") {
                    Some(target) => Path::new(&target).join("image"),
                    None => repository().canonicalize().unwrap().join("target/image"),
                }
            }
        });
        Image { folder: folder.clone() }
    }

    /// A tar file in OCI's layout.
    pub fn tar(&self) -> PathBuf {
        self.folder.join("touchseal-operator.oci.tar")
    }

    /// What the image is made of, in CycloneDX.
    pub fn sbom(&self) -> PathBuf {
        self.folder.join("touchseal-operator.cdx.json")
    }

    /// Digest of its manifest.
    pub fn digest(&self) -> String {
        fs::read_to_string(self.folder.join("digest")).unwrap()
    }
}

/// The script that builds it, with these arguments.
pub fn script(arguments: &[&str]) -> Command {
    let mut command = Command::new(repository().join("operator/image/image.sh"));
    command.args(arguments);
    command
}
