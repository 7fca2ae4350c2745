//! What Flux and Argo CD make of objects: by kstatus itself, and by our health scripts in Argo CD's Lua interpreter.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};
use touchseal_rig::scratch::Scratch;
use touchseal_rig::tools::Tool;

use crate::world::repository;

/// Both views of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// InProgress, Current, Failed, Terminating.
    pub flux: String,
    /// Healthy, Progressing, Degraded, Suspended; empty where Argo CD does not judge the kind.
    pub argo: String,
    /// What Argo CD shows beside it.
    pub message: String,
}

/// What becomes of this object, as the API server returned it.
pub fn health(object: &Value) -> Health {
    let text = fs::read_to_string(repository().join("docs/examples/argocd/argocd-cm.yaml")).unwrap();
    let config: Value = serde_norway::from_str(&text).unwrap();
    let asked = json!({ "overrides": config["data"], "objects": [object] });
    let said: Value = serde_json::from_str(&gitopsview("health", &asked.to_string()).unwrap()).unwrap();
    let text = |pointer: &str| said.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    Health { flux: text("/flux/status"), argo: text("/argo/status"), message: text("/argo/message") }
}

/// Whether Flux knows every field of this Kustomization of its.
///
/// # Errors
/// What Flux's decoder says.
pub fn check_flux(manifest: &str) -> Result<(), String> {
    gitopsview("flux", manifest).map(drop)
}

fn gitopsview(what: &str, input: &str) -> Result<String, String> {
    let folder = Scratch::new("gitopsview").unwrap();
    let path = folder.path().join("input");
    File::create(&path).unwrap().write_all(input.as_bytes()).unwrap();
    let mut command = Tool::Gitopsview.command().unwrap();
    command.arg(what).stdin(File::open(&path).unwrap()).stderr(Stdio::piped());
    let output = command.output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
