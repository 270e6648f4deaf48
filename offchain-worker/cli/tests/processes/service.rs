//! Roles as services: what they tell whoever watches them, and how they end.

use super::home::Home;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn status(home: &Home, task: usize) -> String {
    let listed = home.json(&["task", "list"]).remove(0);
    listed[task]["status"].as_str().unwrap().to_owned()
}

fn spawn(home: &Home, line: &[&str]) -> Child {
    home.command(line)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Status and body of a page.
fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n")?.1.to_owned();
    Some((status, body))
}

fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: the process is a child that has not been waited for.
    let sent = unsafe { libc::kill(child.id() as i32, signal) };
    assert_eq!(sent, 0);
}

#[test]
fn a_service_shows_its_health_and_counts_what_it_does() {
    let home = Home::with_digits();
    home.submit();
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let line = [
        "--as",
        "//Charlie",
        "work",
        "--top-up",
        "200",
        "--poll",
        "1",
        "--metrics",
        &address,
    ];
    let mut service = spawn(&home, &line);
    wait("the task is committed", || status(&home, 0) == "Committed");
    wait("the service looks again", || {
        get(port, "/metrics")
            .is_some_and(|(_, text)| !text.contains("chain_height{role=\"solver\"} 0"))
    });
    let (status, health) = get(port, "/health").unwrap();
    let health: Value = serde_json::from_str(&health).unwrap();
    assert_eq!((status, &health["healthy"]), (200, &Value::Bool(true)));
    assert_eq!(health["role"], "solver");
    let (_, metrics) = get(port, "/metrics").unwrap();
    for line in [
        "lockstep_actions_total{kind=\"committed\",role=\"solver\"} 1",
        "lockstep_steps_total{role=\"solver\"} 400",
    ] {
        // The order of labels is the library's affair.
        let fits = |found: &str| {
            let words = |text: &str| {
                let mut words: Vec<String> = text
                    .split(['{', '}', ',', ' '])
                    .map(str::to_owned)
                    .collect();
                words.sort();
                words
            };
            words(found) == words(line)
        };
        assert!(metrics.lines().any(fits), "{line} in {metrics}");
    }
    assert_eq!(get(port, "/").unwrap().0, 404);
    signal(&service, libc::SIGTERM);
    assert!(service.wait().unwrap().success());
}

#[test]
fn a_service_that_is_asked_to_stop_finishes_what_it_owes_and_begins_nothing() {
    let home = Home::with_digits();
    home.submit();
    home.submit();
    let line = [
        "--as",
        "//Charlie",
        "work",
        "--top-up",
        "400",
        "--poll",
        "1",
    ];
    let mut service = spawn(&home, &line);
    wait("the first task is accepted", || status(&home, 0) != "Open");
    signal(&service, libc::SIGTERM);
    assert!(service.wait().unwrap().success());
    let accepted = [status(&home, 0), status(&home, 1)];
    assert_eq!(accepted[0], "Committed", "the run is finished");
    assert_ne!(accepted[1], "Assigned", "nothing is left half done");
}

#[test]
fn an_address_that_is_taken_is_refused() {
    let home = Home::with_digits();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = ["--as", "//Charlie", "work", "--metrics", &address];
    let output = home.command(&line).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("metrics cannot be served"), "{said}");
}
