//! An API server that misbehaves: a proxy in front of the real one which refuses or drops one chosen request, or some at
//! random, is slow, ends watches, or lets time pass.
//!
//! Behind it stands `kubectl proxy`, which speaks TLS and proves who the client is; so the proxy itself reads plain HTTP, and
//! the client behind it acts as whoever the given kubeconfig is for.

mod weather;

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http_body_util::channel::Channel;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, DATE, HOST, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener as AsyncListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::poll::eventually;
use crate::ports::Port;
use crate::process::{self, Process};
use crate::tools::Tool;

use weather::Sky;
pub use weather::{Seen, Weather};

/// When a client that is answered 429 may come back.
pub const RETRY_AFTER_SECONDS: u64 = 1;

/// How one request fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answered with this status code; the API server never hears of it.
    Status(u16),
    /// The connection ends; the API server never hears of it.
    DropBefore,
    /// The API server does it; the connection ends without its answer.
    DropAfter,
}

/// The proxy. It ends when it is dropped.
pub struct FaultyServer {
    kubeconfig: PathBuf,
    server: Arc<Server>,
    _runtime: Runtime,
    _behind: Process,
    _port: Port,
}

/// What its connections share.
struct Server {
    upstream: u16,
    state: Mutex<State>,
    /// Counts the times that watches were to end.
    cuts: watch::Sender<u64>,
    /// Watches that ended so.
    ended: AtomicU64,
    /// What watches of this kind tell is held back.
    held: watch::Sender<Option<String>>,
}

#[derive(Default)]
struct State {
    /// Requests since the last [`FaultyServer::plan`], those that are counted.
    seen: Vec<String>,
    planned: Option<(usize, Fault)>,
    met: Option<String>,
    /// Seconds by which the dates of answers are ahead.
    ahead: u64,
    sky: Option<Sky>,
}

impl FaultyServer {
    /// Starts one for the client that `kubeconfig` is for; files and logs go to `folder`, named after `name`.
    ///
    /// # Errors
    /// When `kubectl proxy` or the listener cannot be started.
    pub fn start(kubeconfig: &Path, folder: &Path, name: &str) -> io::Result<FaultyServer> {
        let port = Port::claim().map_err(io::Error::other)?;
        let kubectl = Tool::Kubectl.path().map_err(io::Error::other)?;
        let mut command = process::command(kubectl);
        command.args(["proxy", "--address=127.0.0.1", &format!("--port={}", port.number())]);
        command.arg("--kubeconfig").arg(kubeconfig);
        let behind = process::spawn("kubectl proxy", command, &folder.join(format!("{name}.proxy.log")))
            .map_err(io::Error::other)?;
        let upstream = ("127.0.0.1", port.number());
        eventually(Duration::from_secs(60), "kubectl proxy to listen", || {
            std::net::TcpStream::connect(upstream).is_ok()
        })
        .map_err(|timed_out| io::Error::other(format!("{timed_out:?}")))?;

        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = Arc::new(Server {
            upstream: port.number(),
            state: Mutex::default(),
            cuts: watch::Sender::new(0),
            ended: AtomicU64::new(0),
            held: watch::Sender::new(None),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.spawn(serve(listener, Arc::clone(&server)));

        let path = folder.join(format!("{name}.kubeconfig"));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "faulty",
            "clusters": [{ "name": "faulty", "cluster": { "server": url } }],
            "users": [{ "name": "faulty", "user": {} }],
            "contexts": [{ "name": "faulty", "context": { "cluster": "faulty", "user": "faulty" } }],
        });
        fs::write(&path, config.to_string())?;
        Ok(FaultyServer { kubeconfig: path, server, _runtime: runtime, _behind: behind, _port: port })
    }

    /// A kubeconfig file that leads here.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Begins to count: of the requests from now on, the one with number `at` (from 0) fares so. Watches and leases do not
    /// count, for they come and go by time.
    pub fn plan(&self, fault: Option<(usize, Fault)>) {
        let mut state = self.server.state();
        *state = State { planned: fault, ahead: state.ahead, sky: state.sky.take(), ..State::default() };
    }

    /// From now on every request, watches and leases too, is in this weather; None: the sun shines. Gives what came of the
    /// weather until now.
    pub fn weather(&self, weather: Option<Weather>) -> Seen {
        let sky = std::mem::replace(&mut self.server.state().sky, weather.map(Sky::new));
        sky.map(|sky| sky.seen()).unwrap_or_default()
    }

    /// What came of the present weather so far.
    pub fn so_far(&self) -> Seen {
        self.server.state().sky.as_ref().map(Sky::seen).unwrap_or_default()
    }

    /// Ends every connection that a watch is on, in the middle of whatever it was telling.
    pub fn cut_watches(&self) {
        self.server.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// From now on holds back what watches of this kind (as in paths) tell; None: tells it, in its order.
    pub fn hold_watches(&self, kind: Option<&str>) {
        self.server.held.send_replace(kind.map(str::to_owned));
    }

    /// How many watches have been cut so far.
    pub fn watches_cut(&self) -> u64 {
        self.server.ended.load(Ordering::SeqCst)
    }

    /// From now on its answers are dated so much later: clients that take the time from them live then.
    pub fn pass(&self, time: Duration) {
        self.server.state().ahead += time.as_secs();
    }

    /// The requests that were counted since the plan was made: method and path.
    pub fn seen(&self) -> Vec<String> {
        self.server.state().seen.clone()
    }

    /// Which request met the fault, if one has.
    pub fn met(&self) -> Option<String> {
        self.server.state().met.clone()
    }
}

impl Server {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a request and says what is to happen to it, and how late.
    fn fault(&mut self, request: &Request<Incoming>) -> (Option<Fault>, Duration) {
        let (struck, late) = self.sky.as_mut().map_or((None, Duration::ZERO), |sky| sky.meet(request));
        (self.planned(request).or(struck), late)
    }

    fn planned(&mut self, request: &Request<Incoming>) -> Option<Fault> {
        // In an hour of weather nobody asks for them.
        if is_watch(request) || request.uri().path().contains("/leases") || self.sky.is_some() {
            return None;
        }
        let what = format!("{} {}", request.method(), request.uri().path());
        let number = self.seen.len();
        self.seen.push(what.clone());
        let (_, fault) = self.planned.filter(|(at, _)| *at == number)?;
        self.met = Some(what);
        Some(fault)
    }
}

fn is_watch(request: &Request<Incoming>) -> bool {
    let query = request.uri().query();
    query.is_some_and(|query| query.split('&').any(|part| part.starts_with("watch=")))
}

async fn serve(listener: TcpListener, server: Arc<Server>) {
    let Ok(listener) = AsyncListener::from_std(listener) else { return };
    while let Ok((client, _)) = listener.accept().await {
        let (server, mut cuts) = (Arc::clone(&server), server.cuts.subscribe());
        tokio::spawn(async move {
            // In this version of HTTP a connection is a watch's alone while it lasts.
            let watches = AtomicBool::new(false);
            let answer = service_fn(|request| {
                watches.store(is_watch(&request), Ordering::SeqCst);
                answer(request, &server)
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(client), answer);
            let cut = async {
                while cuts.changed().await.is_ok() {
                    if watches.load(Ordering::SeqCst) {
                        return;
                    }
                }
            };
            tokio::select! {
                // A client that goes away in the middle is its own business.
                _ = connection => {}
                () = cut => drop(server.ended.fetch_add(1, Ordering::SeqCst)),
            }
        });
    }
}

/// An error ends the connection without an answer.
async fn answer(
    request: Request<Incoming>,
    server: &Server,
) -> io::Result<Response<BoxBody<Bytes, hyper::Error>>> {
    let (fault, late) = server.state().fault(&request);
    tokio::time::sleep(late).await;
    let gone = || io::Error::other("dropped on purpose");
    match fault {
        Some(Fault::Status(code)) => return refusal(code),
        Some(Fault::DropBefore) => return Err(gone()),
        Some(Fault::DropAfter) | None => {}
    }
    let watches = is_watch(&request);
    let path = request.uri().path().to_owned();
    let mut answer = pass_on(request, server.upstream).await?;
    let ahead = server.state().ahead;
    if ahead > 0 {
        answer.headers_mut().insert(DATE, date(SystemTime::now() + Duration::from_secs(ahead))?);
    }
    if fault == Some(Fault::DropAfter) {
        // A watch has no end to wait for.
        if !watches {
            answer.collect().await.map_err(io::Error::other)?;
        }
        return Err(gone());
    }
    Ok(if watches {
        answer.map(|told| holding(told, path, server.held.subscribe()))
    } else {
        answer.map(BoxBody::new)
    })
}

/// What a watch tells, none of it while watches of its kind are held.
fn holding(
    mut told: Incoming,
    path: String,
    mut held: watch::Receiver<Option<String>>,
) -> BoxBody<Bytes, hyper::Error> {
    let (mut sender, body) = Channel::new(1);
    tokio::spawn(async move {
        while let Some(frame) = told.frame().await {
            let frame = match frame {
                Ok(frame) => frame,
                // It broke, and did not end well.
                Err(error) => return sender.abort(error),
            };
            let flows =
                held.wait_for(|kind| kind.as_ref().is_none_or(|kind| !path.ends_with(kind))).await.is_ok();
            if !flows || sender.send(frame).await.is_err() {
                return;
            }
        }
    });
    BoxBody::new(body)
}

async fn pass_on(mut request: Request<Incoming>, upstream: u16) -> io::Result<Response<Incoming>> {
    let stream = TcpStream::connect(("127.0.0.1", upstream)).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    let host = format!("127.0.0.1:{upstream}").parse().map_err(io::Error::other)?;
    request.headers_mut().insert(HOST, host);
    sender.send_request(request).await.map_err(io::Error::other)
}

/// As RFC 9110, section 5.6.7, wants it.
fn date(time: SystemTime) -> io::Result<HeaderValue> {
    httpdate::fmt_http_date(time).parse().map_err(io::Error::other)
}

/// As the API server words it.
fn refusal(code: u16) -> io::Result<Response<BoxBody<Bytes, hyper::Error>>> {
    let reason = match code {
        409 => "Conflict",
        429 => "TooManyRequests",
        403 => "Forbidden",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "refused on purpose", "reason": reason, "code": code,
    });
    let body = Full::new(Bytes::from(status.to_string())).map_err(|never: Infallible| match never {});
    let mut answer = Response::builder().status(code).header(CONTENT_TYPE, "application/json");
    if code == 429 {
        answer = answer.header(RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    answer.body(BoxBody::new(body)).map_err(io::Error::other)
}
