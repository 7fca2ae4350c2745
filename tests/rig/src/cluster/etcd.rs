//! etcd itself, past the API server: objects as another cluster had them stored, so that uids, statuses and who owns which field
//! are what they were, which the API server would not take from anybody; and what an administrator of etcd does.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::{Cluster, ClusterError};

impl Cluster {
    /// Stores an object under the API server's key for it, such as `secrets/shop/app`, or `touchseal.dev/keyrings/prod`. The
    /// API server reads JSON beside its own format, and hears of it by its watch.
    ///
    /// # Errors
    /// When etcd does not take it.
    pub fn put_stored(&self, key: &str, object: &Value) -> Result<(), ClusterError> {
        let text = |bytes: &[u8]| BASE64.encode(bytes);
        let body = json!({
            "key": text(format!("/registry/{key}").as_bytes()), "value": text(object.to_string().as_bytes()),
        });
        self.etcd("/v3/kv/put", key, &body).map(drop)
    }

    /// Has etcd forget every revision but the newest: whoever asks from an older one on is answered 410 Gone, as soon as the
    /// API server has not kept it either. Gives that revision.
    ///
    /// # Errors
    /// When etcd does not do it.
    pub fn compact(&self) -> Result<u64, ClusterError> {
        let newest = self.etcd("/v3/kv/range", "revision", &json!({ "key": BASE64.encode("/") }))?;
        let revision = newest["header"]["revision"].as_str().and_then(|text| text.parse().ok());
        let revision: u64 = revision
            .ok_or_else(|| ClusterError::Store { key: "revision".to_owned(), answer: newest.to_string() })?;
        let wanted = json!({ "revision": revision.to_string(), "physical": true });
        self.etcd("/v3/kv/compaction", "compaction", &wanted)?;
        Ok(revision)
    }

    fn etcd(&self, path: &str, what: &str, body: &Value) -> Result<Value, ClusterError> {
        let body = body.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.parts.etcd_port()))?;
        let length = body.len();
        // Version 1.0, so that the answer comes in one piece.
        write!(stream, "POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let done = answer.split_once("\r\n\r\n").filter(|(head, _)| head.split(' ').nth(1) == Some("200"));
        let done = done.and_then(|(_, body)| serde_json::from_str(body).ok());
        done.ok_or(ClusterError::Store { key: what.to_owned(), answer })
    }
}
