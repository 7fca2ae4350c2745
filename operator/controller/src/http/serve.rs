//! Connections: few at a time, one request each, and none for long, so that nobody can hold the place of others.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::tls::Certificate;

/// Most connections at one time.
const MOST: usize = 64;
/// Longest time for a handshake, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest time of a connection.
const LIFE: Duration = Duration::from_secs(60);
/// Wait after a connection that could not be taken, as there are too many files open.
const AGAIN: Duration = Duration::from_millis(100);

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, tls: Option<Arc<Certificate>>, routes: Router) {
    serve_with(listener, tls, routes, PATIENCE).await;
}

async fn serve_with(
    listener: TcpListener,
    tls: Option<Arc<Certificate>>,
    routes: Router,
    patience: Duration,
) {
    let places = Arc::new(Semaphore::new(MOST));
    // Closed by nobody.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(AGAIN).await;
            continue;
        };
        let (tls, routes) = (tls.clone(), routes.clone());
        tokio::spawn(async move {
            let talked = async {
                match tls {
                    None => talk(stream, routes, patience).await,
                    Some(tls) => {
                        if let Ok(Ok(stream)) = timeout(patience, tls.acceptor().accept(stream)).await {
                            talk(stream, routes, patience).await;
                        }
                    }
                }
            };
            // Whoever does not hear the answer out has lost it.
            let _ = timeout(LIFE, talked).await;
            drop(place);
        });
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

    #[tokio::test]
    async fn those_who_say_nothing_lose_their_place_to_those_who_ask() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().route("/", get(|| async { "ok" }));
        let server = tokio::spawn(serve_with(listener, None, routes, Duration::from_millis(200)));
        let mut silent = Vec::new();
        for _ in 0..MOST {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
        server.abort();
    }
}
