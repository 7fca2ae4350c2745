//! Connections: few at a time, one request each, and none for long, so that nobody can hold the place of others.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::tls::Certificate;

/// Wait after a connection that could not be taken, as there are too many files open.
const AGAIN: Duration = Duration::from_millis(100);

/// Most connections that wait to be taken.
const BACKLOG: u32 = 4096;

/// How much of the process those who connect may have.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// Most connections at one time.
    pub most: usize,
    /// What becomes of one more.
    pub when_full: WhenFull,
    /// Longest time for a handshake, and for the head of a request.
    pub patience: Duration,
    /// Longest time of a connection.
    pub life: Duration,
}

/// What becomes of one more connection than there is room for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits until another ends: its answer is worth more than the time.
    Waits,
    /// It takes the place of the oldest. For answers that take no time: whoever asks has theirs before any number of silent
    /// ones can have taken that place, while by waiting they would be kept from it.
    OldestGoes,
}

/// Takes an address. The kernel keeps more connections that wait to be taken than by default, which are 128: of one that finds
/// no room there the first packet is dropped, and whoever sent it tries again after a second.
///
/// # Errors
/// The address cannot be bound.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As any listener does: else a restarted container would have to wait for connections of the one before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, tls: Option<Arc<Certificate>>, routes: Router, bounds: Bounds) {
    let mut talks = Talks { bounds, running: JoinSet::new(), by_age: VecDeque::new() };
    loop {
        talks.wait_for_room().await;
        let Ok((stream, _)) = listener.accept().await else {
            sleep(AGAIN).await;
            continue;
        };
        talks.make_room();
        let (tls, routes) = (tls.clone(), routes.clone());
        talks.begin(async move {
            match tls {
                None => talk(stream, routes, bounds.patience).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = timeout(bounds.patience, tls.acceptor().accept(stream)).await {
                        talk(stream, routes, bounds.patience).await;
                    }
                }
            }
        });
        // Many may connect at once: each is listened to before the next takes a place.
        tokio::task::yield_now().await;
    }
}

/// The connections there are.
struct Talks {
    bounds: Bounds,
    running: JoinSet<()>,
    /// Oldest first.
    by_age: VecDeque<AbortHandle>,
}

impl Talks {
    async fn wait_for_room(&mut self) {
        while self.running.try_join_next().is_some() {}
        while self.bounds.when_full == WhenFull::Waits && self.running.len() >= self.bounds.most {
            self.running.join_next().await;
        }
        self.by_age.retain(|talk| !talk.is_finished());
    }

    fn make_room(&mut self) {
        while self.by_age.len() >= self.bounds.most {
            if let Some(oldest) = self.by_age.pop_front() {
                oldest.abort();
            }
        }
    }

    fn begin(&mut self, talk: impl Future<Output = ()> + Send + 'static) {
        let life = self.bounds.life;
        // Whoever does not hear the answer out has lost it.
        let talk = async move { drop(timeout(life, talk).await) };
        self.by_age.push_back(self.running.spawn(talk));
    }
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    routes: Router,
    patience: Duration,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    // A connection that broke is its other end's business.
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    /// More silent connections than there is room for, and then one that asks: how long it took it to be answered.
    async fn after_a_silent_crowd(when_full: WhenFull, patience: Duration) -> Duration {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().route("/", get(|| async { "ok" }));
        let bounds = Bounds { most: 8, when_full, patience, life: Duration::from_secs(60) };
        let server = tokio::spawn(serve(listener, None, routes, bounds));
        let mut silent = Vec::new();
        for _ in 0..24 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let began = tokio::time::Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
        server.abort();
        began.elapsed()
    }

    #[tokio::test]
    async fn those_who_say_nothing_lose_their_place_to_those_who_ask() {
        let patience = Duration::from_millis(200);
        let took = after_a_silent_crowd(WhenFull::Waits, patience).await;
        assert!(took >= patience, "there was room after {took:?}");
    }

    #[tokio::test]
    async fn where_the_oldest_goes_nobody_waits_for_the_silent() {
        let patience = Duration::from_secs(30);
        let took = after_a_silent_crowd(WhenFull::OldestGoes, patience).await;
        assert!(took < patience / 3, "it waited for {took:?}");
    }

    /// A crowd that connects at once fills no queue in which a kubelet would then wait.
    #[tokio::test]
    async fn hundreds_connect_before_the_first_is_taken() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(500));
        let crowd: Vec<_> = (0..400).map(|number| connect().map_err(|e| format!("{number}: {e}"))).collect();
        assert_eq!(crowd.iter().find_map(|one| one.as_ref().err()), None);
    }
}
