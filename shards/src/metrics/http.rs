//! `metrics.listener`: the page of all shards over HTTP/1.1, for Prometheus, `ottla top` and people.
//!
//! Runs on shard 0, in the background queue: a tenth of the core's share where clients want all of it. hyper speaks
//! HTTP; the socket is the host's. `/metrics` is the page, `/healthz` says whether the broker serves; GET and HEAD
//! alone.
//!
//! What is bounded: connections (the oldest gives way to a new one), the bytes and lines of a head, the time for a
//! head, for a reply and between two requests, pages in the making: one at a time, and those who waited for it share
//! the next.
//!
//! What must hold: a page tells everything that was done before it was asked for.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::http::HeaderValue;
use hyper::{Method, Request, Response, StatusCode};
use ottla::config::quorum::HostPort;
use ottla::ids::ShardId;
use ottla::metrics::{self, Page, Process, Snapshot};
use ottla::time::Monotonic;

use super::socket::{Socket, Watch};
use crate::drive::Shard;
use crate::drive::messages::{Answer, Query};
use crate::host::sync::Semaphore;
use crate::host::{self, Listener, Queue, Shutdown, Stream, StreamSeed};

/// Connections at the same time.
const CONNECTIONS_MAX: usize = 64;
/// The most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// The most lines of it.
const HEAD_LINES_MAX: usize = 64;
/// How long a shard may take to tell what it has counted.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// How long to wait when descriptors have run out.
const SHORTAGE_WAIT: Duration = Duration::from_millis(100);
/// What is answered at the end.
const STOPS: &str = "the broker stops\n";
/// Bytes of text that are written before others get their turn.
const STEP_BYTES: usize = 16 << 10;

/// Serves one shard's process to those who ask over HTTP.
pub struct Server {
    shard: Rc<Shard>,
    started: Monotonic,
    live: RefCell<BTreeMap<u64, Stream>>,
    next_id: Cell<u64>,
    /// The last page and when its making began.
    page: RefCell<Option<(Monotonic, Bytes)>>,
    turn: Rc<Semaphore>,
}

/// Binds the listener of the setting.
///
/// # Errors
/// One line that names the setting and what to do.
pub async fn bind(place: &HostPort) -> Result<Listener, String> {
    let HostPort { host, port } = place;
    Listener::bind(host, *port).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "metrics.listener: {host}:{port}: port {port} is taken; stop what uses it or set another, for example \
             --override metrics.listener={host}:{}",
            port.wrapping_add(10)
        ),
        _ => format!("metrics.listener: {host}:{port} cannot be bound: {error}"),
    })
}

impl Server {
    /// Serves `shard`'s process, which has started at `started`, on `listener`, as long as the shard runs.
    pub fn start(shard: &Rc<Shard>, started: Monotonic, listener: Listener) {
        let server = Rc::new(Server {
            shard: Rc::clone(shard),
            started,
            live: RefCell::default(),
            next_id: Cell::new(0),
            page: RefCell::default(),
            turn: Semaphore::new(1),
        });
        drop(host::spawn_in(Queue::Background, async move { server.accept(listener).await }));
    }

    async fn accept(self: Rc<Self>, listener: Listener) {
        loop {
            match listener.accept().await {
                Ok(seed) => {
                    self.adopt(seed);
                    host::yield_now().await;
                }
                Err(error) => {
                    tracing::debug!(%error, "metrics: a connection cannot be accepted for now");
                    host::sleep(SHORTAGE_WAIT).await;
                }
            }
        }
    }

    fn adopt(self: &Rc<Self>, seed: StreamSeed) {
        let stream = Stream::from_seed(seed);
        let id = self.next_id.replace(self.next_id.get() + 1);
        let mut live = self.live.borrow_mut();
        if live.len() >= CONNECTIONS_MAX
            && let Some((_, oldest)) = live.pop_first()
        {
            // Ends its task's wait; the socket closes with the task.
            let _ = oldest.shutdown(Shutdown::Both);
        }
        live.insert(id, stream.clone());
        drop(live);
        let server = Rc::clone(self);
        drop(host::spawn_in(Queue::Background, async move {
            if let Err(error) = server.serve(stream).await {
                tracing::debug!(%error, "metrics: a connection ended");
            }
            let gone = server.live.borrow_mut().remove(&id);
            drop(gone);
        }));
    }

    async fn serve(self: &Rc<Self>, stream: Stream) -> Result<(), hyper::Error> {
        let watch = Watch::new();
        let socket = Socket::new(stream, Rc::clone(&watch));
        let server = Rc::downgrade(self);
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            watch.answers();
            let server = Weak::clone(&server);
            async move { Ok::<_, Infallible>(answer(server, &request).await) }
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        http.max_buf_size(HEAD_BYTES_MAX).max_headers(HEAD_LINES_MAX);
        // A client that has asked and says no more still wants its answer.
        http.half_close(true);
        http.serve_connection(socket, service).await
    }

    /// The page as it is now, or as it was made for somebody else after this was asked for.
    async fn page(&self) -> Bytes {
        let asked = host::now();
        let _turn = self.turn.acquire(1).await;
        let known = self.page.borrow().clone();
        if let Some((began, page)) = known
            && began > asked
        {
            return page;
        }
        let began = host::now();
        let page = self.gather().await;
        let mut text = String::new();
        let mut step = STEP_BYTES;
        for part in 0..page.parts() {
            page.write_part(part, &mut text);
            if text.len() > step {
                step = text.len() + STEP_BYTES;
                host::yield_now().await;
            }
        }
        let text = Bytes::from(text);
        self.page.replace(Some((began, text.clone())));
        text
    }

    /// What every shard has counted; those that do not tell in time are left out.
    async fn gather(&self) -> Page {
        let calls = (0..self.shard.shards).map(|to| self.shard.mesh.call(ShardId(to), Query::Metrics));
        let calls: Vec<_> = calls.collect();
        let deadline = host::now().after(ANSWER_PATIENCE);
        let mut shards: Vec<Snapshot> = Vec::with_capacity(calls.len());
        for call in calls {
            let left = deadline.since(host::now());
            if let Ok(Answer::Metrics(snapshot)) = host::timeout(left, Box::pin(call)).await {
                shards.push(*snapshot);
            }
        }
        let usage = host::process_usage();
        let process = Process {
            cpu_seconds: usage.cpu.as_secs_f64(),
            resident_bytes: usage.resident_bytes,
            up_seconds: host::now().since(self.started).as_secs_f64(),
        };
        Page { version: env!("CARGO_PKG_VERSION"), shards, process }
    }
}

/// The answer to one request.
async fn answer(server: Weak<Server>, request: &Request<Incoming>) -> Response<Whole> {
    let is_asked = matches!(*request.method(), Method::GET | Method::HEAD);
    match (request.uri().path(), is_asked) {
        ("/metrics", true) => match server.upgrade() {
            Some(server) => {
                let mut response = response(StatusCode::OK, metrics::CONTENT_TYPE, server.page().await);
                response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }
            None => plain(StatusCode::SERVICE_UNAVAILABLE, STOPS),
        },
        ("/healthz", true) => match server.upgrade().map(|server| server.shard.disk.dirs().check()) {
            Some(Ok(())) => plain(StatusCode::OK, "ok\n"),
            Some(Err(error)) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
            None => plain(StatusCode::SERVICE_UNAVAILABLE, STOPS),
        },
        ("/metrics" | "/healthz", false) => {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
        _ => plain(StatusCode::NOT_FOUND, "the metrics are at /metrics\n"),
    }
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Whole> {
    response(status, "text/plain; charset=utf-8", text.into())
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Whole> {
    let mut response = Response::new(Whole(Some(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A body that is there as a whole.
struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
