//! Two pages for whoever watches a service: `/metrics` and `/health`.

use super::health::Health;
use super::metrics::Metrics;
use anyhow::{anyhow, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use tiny_http::{Header, Method, Request, Response, Server};

/// The pages, served until this is dropped.
pub struct Web {
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    /// Serves at `address`.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn serve(address: SocketAddr, metrics: Arc<Metrics>, health: Arc<Health>) -> Result<Web> {
        let server = Server::http(address)
            .map_err(|error| anyhow!("metrics cannot be served at {address}: {error}"))?;
        let server = Arc::new(server);
        let listener = server.clone();
        let thread = std::thread::spawn(move || {
            for request in listener.incoming_requests() {
                if let Err(error) = answer(request, &metrics, &health) {
                    tracing::debug!(%error, "whoever asked for metrics has gone");
                }
            }
        });
        Ok(Web {
            server,
            thread: Some(thread),
        })
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has served its last page; there is nobody to tell.
            let _ = thread.join();
        }
    }
}

fn answer(request: Request, metrics: &Metrics, health: &Health) -> std::io::Result<()> {
    let (status, kind, body) = match (request.method(), request.url()) {
        (Method::Get, "/metrics") => (
            200,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            metrics.text(),
        ),
        (Method::Get, "/health") => {
            let (well, report) = health.report();
            let status = if well { 200 } else { 503 };
            (status, "application/json", format!("{report}\n"))
        }
        _ => (404, "text/plain", "try /metrics or /health\n".into()),
    };
    let kind = Header::from_bytes("Content-Type", kind).expect("the header is ASCII");
    request.respond(
        Response::from_string(body)
            .with_status_code(status)
            .with_header(kind),
    )
}
