//! A watch of the Secrets that bear our label, which notes when each was last shown.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::Fault;
use super::stage::Stage;

const PATIENCE: Duration = Duration::from_secs(60);

type Shown = Arc<Mutex<HashMap<String, Instant>>>;

pub struct Follow {
    shown: Shown,
    task: JoinHandle<()>,
}

impl Follow {
    /// From now on.
    pub async fn start(stage: &Stage) -> Result<Follow, Fault> {
        let ours = "labelSelector=app.kubernetes.io/managed-by%3Dtouchseal";
        let list = stage.bare.get(&format!("/api/v1/secrets?limit=1&{ours}")).await?;
        let version = list["metadata"]["resourceVersion"].as_str().ok_or("no version")?.to_owned();
        let path = format!("/api/v1/secrets?watch=true&resourceVersion={version}&{ours}");
        let shown = Shown::default();
        let note = Arc::clone(&shown);
        let lines = stage.bare.lines(&path).await?;
        let task = tokio::spawn(lines.each(move |line| {
            let now = Instant::now();
            if let Some(key) = key(line) {
                note.lock().unwrap_or_else(PoisonError::into_inner).insert(key, now);
            }
        }));
        Ok(Follow { shown, task })
    }

    /// When a Secret was shown; waits until it is, and forgets it.
    pub async fn until(&mut self, namespace: &str, name: &str) -> Result<Instant, Fault> {
        let key = format!("{namespace}/{name}");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let seen = self.shown.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            if let Some(at) = seen {
                return Ok(at);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Err(format!("Secret {key} was not written").into())
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Namespace and name in a watch's line.
fn key(line: &[u8]) -> Option<String> {
    let event: serde_json::Value = serde_json::from_slice(line).ok()?;
    let metadata = &event["object"]["metadata"];
    Some(format!("{}/{}", metadata["namespace"].as_str()?, metadata["name"].as_str()?))
}
