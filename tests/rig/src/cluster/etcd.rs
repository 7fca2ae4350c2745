//! Objects as another cluster had them stored: put into etcd itself, so that uids, statuses and who owns which field are what
//! they were, which the API server would not take from anybody.

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
        })
        .to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.parts.etcd_port()))?;
        let length = body.len();
        write!(
            stream,
            "POST /v3/kv/put HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        match answer.starts_with("HTTP/1.1 200 ") {
            true => Ok(()),
            false => Err(ClusterError::Store { key: key.to_owned(), answer }),
        }
    }
}
