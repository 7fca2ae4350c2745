//! A network line to the API server that can be cut: connections stay open, and nothing passes until it is whole again. What
//! was sent meanwhile arrives then, late, as after a partition of a real network.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener as AsyncListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Most bytes that are on their way in one direction of one connection.
const BUFFER: usize = 64 * 1024;

/// The line of one client. It ends when it is dropped, and every connection with it.
pub struct Line {
    kubeconfig: PathBuf,
    state: Arc<State>,
    _runtime: Runtime,
}

struct State {
    whole: watch::Sender<bool>,
    /// Bytes that the client may still send before the line is cut.
    left: AtomicU64,
}

impl Line {
    /// A whole line for the client that `kubeconfig`, one of the rig's, is for; it speaks TLS with the API server itself.
    ///
    /// # Errors
    /// When the file is not one of the rig's, or nothing can listen.
    pub fn start(kubeconfig: &Path, folder: &Path, name: &str) -> io::Result<Line> {
        let mut config: Value = serde_json::from_str(&fs::read_to_string(kubeconfig)?)?;
        let server = config.pointer_mut("/clusters/0/cluster/server");
        let server = server.ok_or_else(|| io::Error::other("the kubeconfig names no server"))?;
        let upstream = server.as_str().and_then(|url| url.strip_prefix("https://")).map(str::to_owned);
        let upstream = upstream.ok_or_else(|| io::Error::other("the server's URL is not https"))?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        *server = json!(format!("https://{}", listener.local_addr()?));
        let path = folder.join(format!("{name}.line.kubeconfig"));
        fs::write(&path, config.to_string())?;
        let state = Arc::new(State { whole: watch::Sender::new(true), left: AtomicU64::new(u64::MAX) });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.spawn(serve(listener, upstream, Arc::clone(&state)));
        Ok(Line { kubeconfig: path, state, _runtime: runtime })
    }

    /// A kubeconfig file that leads along this line.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// From now on nothing passes, in neither direction.
    pub fn cut(&self) {
        self.state.whole.send_replace(false);
    }

    /// Cuts it once the client has sent so many more bytes: in the middle of what it does, however fast it is. What it sends by
    /// other connections meanwhile may still pass.
    pub fn cut_after(&self, bytes: u64) {
        self.state.left.store(bytes, Ordering::SeqCst);
    }

    /// Whether it is cut.
    pub fn is_cut(&self) -> bool {
        !*self.state.whole.borrow()
    }

    /// Everything passes again.
    pub fn mend(&self) {
        self.state.left.store(u64::MAX, Ordering::SeqCst);
        self.state.whole.send_replace(true);
    }
}

impl State {
    /// The client has sent so much: whether the line is cut once it has passed.
    fn count(&self, bytes: usize) -> bool {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let take = |left: u64| (left != u64::MAX).then(|| left.saturating_sub(bytes));
        let before = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
        let crosses = before.is_ok_and(|before| before <= bytes);
        if crosses {
            self.left.store(u64::MAX, Ordering::SeqCst);
        }
        crosses
    }
}

async fn serve(listener: TcpListener, upstream: String, state: Arc<State>) {
    let Ok(listener) = AsyncListener::from_std(listener) else { return };
    while let Ok((client, _)) = listener.accept().await {
        let (upstream, state, mut whole) = (upstream.clone(), Arc::clone(&state), state.whole.subscribe());
        tokio::spawn(async move {
            // Whoever connects meanwhile waits.
            if whole.wait_for(|whole| *whole).await.is_err() {
                return;
            }
            let Ok(server) = TcpStream::connect(upstream).await else { return };
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::spawn(pass(from_server, to_client, whole.clone(), None));
            pass(from_client, to_server, whole, Some(&state)).await;
        });
    }
}

/// Passes on what comes, the end of the connection too, while the line is whole. Bytes are counted before they pass: whoever
/// received them can rely on it.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut whole: watch::Receiver<bool>,
    counted: Option<&State>,
) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = from.read(&mut buffer).await.unwrap_or_default();
        if whole.wait_for(|whole| *whole).await.is_err() {
            return;
        }
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            let _ = to.shutdown().await;
            return;
        };
        let crosses = counted.filter(|state| state.count(bytes.len()));
        let passed = to.write_all(bytes).await;
        if let Some(state) = crosses {
            state.whole.send_replace(false);
        }
        if passed.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;
    use crate::poll::eventually;
    use crate::scratch::Scratch;

    #[test]
    fn what_is_sent_into_a_cut_line_arrives_when_it_is_mended() {
        let scratch = Scratch::new("line-test").unwrap();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", server.local_addr().unwrap());
        let kubeconfig = scratch.path().join("kubeconfig");
        fs::write(&kubeconfig, json!({ "clusters": [{ "cluster": { "server": url } }] }).to_string())
            .unwrap();
        let line = Line::start(&kubeconfig, scratch.path(), "test").unwrap();
        let config: Value = serde_json::from_str(&fs::read_to_string(line.kubeconfig()).unwrap()).unwrap();
        let address = config["clusters"][0]["cluster"]["server"].as_str().unwrap().replace("https://", "");

        let mut client = TcpStream::connect(&address).unwrap();
        let (mut there, _) = server.accept().unwrap();
        let mut got = [0; 3];
        client.write_all(b"one").unwrap();
        there.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"one");

        line.cut();
        client.write_all(b"two").unwrap();
        there.write_all(b"six").unwrap();
        let late = TcpStream::connect(&address).unwrap();
        let (short, patient) = (Some(Duration::from_millis(300)), Some(Duration::from_secs(60)));
        there.set_read_timeout(short).unwrap();
        client.set_read_timeout(short).unwrap();
        assert!(
            there.read(&mut got).is_err() && client.read(&mut got).is_err(),
            "nothing passes, nothing ends"
        );
        server.set_nonblocking(true).unwrap();
        assert!(server.accept().is_err(), "a connection came through");

        line.mend();
        server.set_nonblocking(false).unwrap();
        there.set_read_timeout(patient).unwrap();
        client.set_read_timeout(patient).unwrap();
        there.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"two");
        client.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"six");
        server.accept().unwrap();
        line.cut_after(3);
        client.write_all(b"end").unwrap();
        there.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"end", "what crosses the limit still passes");
        client.write_all(b"...").unwrap();
        there.set_read_timeout(short).unwrap();
        assert!(there.read(&mut got).is_err());
        eventually(Duration::from_secs(60), "the line to be cut", || {
            line.is_cut().then_some(()).ok_or("it is whole")
        })
        .unwrap();
        line.mend();
        there.set_read_timeout(patient).unwrap();
        there.read_exact(&mut got).unwrap();
        drop((client, late));
        assert_eq!(there.read(&mut got).unwrap(), 0, "the end comes through, too");
    }
}
