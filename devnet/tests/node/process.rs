//! A node as a process of its own, and its JSON-RPC.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{json, Value};
use tempfile::TempDir;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node on a port of its own. Killed when dropped.
pub struct Node {
    process: Child,
    port: u16,
    /// Temporary folders of a node that is killed stay behind; here they go with the test.
    _temporary: TempDir,
}

/// The command that runs a node with `arguments`.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep-devnet"));
    command.args(arguments).stderr(Stdio::piped());
    command
}

/// What a node says that cannot start with `arguments`.
pub fn refusal(arguments: &[&str]) -> String {
    let output = command(arguments).output().unwrap();
    assert!(!output.status.success(), "{arguments:?} was not refused");
    String::from_utf8(output.stderr).unwrap()
}

/// Waits until `ready` gives something.
pub fn wait<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Node {
    /// Starts a node and waits until it serves RPC.
    pub fn start(arguments: &[&str]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut node = Self {
            process: command(arguments)
                .args(["--rpc-port", "0"])
                .env("TMPDIR", temporary.path())
                .spawn()
                .unwrap(),
            port: 0,
            _temporary: temporary,
        };
        let mut log = BufReader::new(node.process.stderr.take().unwrap()).lines();
        let mut seen = String::new();
        while node.port == 0 {
            let Some(line) = log.next() else {
                panic!("the node did not start:\n{seen}");
            };
            let line = line.unwrap();
            if let Some((_, address)) = line.split_once("JSON-RPC server: addr=127.0.0.1:") {
                let digits = address.split(|c: char| !c.is_ascii_digit()).next();
                node.port = digits.unwrap().parse().unwrap();
            }
            seen += &format!("{line}\n");
        }
        // The node must not block on a full pipe.
        std::thread::spawn(move || log.for_each(drop));
        node
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Calls an RPC method: its result, or the message of its error.
    pub fn try_call(&self, method: &str, params: Value) -> Result<Value, String> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let body = http(self.port, "POST /", &request.to_string());
        let mut answer: Value = serde_json::from_str(&body).unwrap();
        match answer["error"]["message"].as_str() {
            Some(message) => Err(message.into()),
            None => Ok(answer["result"].take()),
        }
    }

    /// Calls an RPC method that must succeed.
    pub fn call(&self, method: &str, params: Value) -> Value {
        self.try_call(method, params)
            .unwrap_or_else(|message| panic!("{method}: {message}"))
    }

    /// Number and hash of the best block.
    pub fn best(&self) -> (u32, String) {
        self.block(self.call("chain_getBlockHash", json!([])))
    }

    /// Number and hash of the last finalized block.
    pub fn finalized(&self) -> (u32, String) {
        self.block(self.call("chain_getFinalizedHead", json!([])))
    }

    /// Hash of a block of the best chain, if it has so many.
    pub fn hash(&self, number: u32) -> Option<String> {
        let hash = self.call("chain_getBlockHash", json!([number]));
        hash.as_str().map(String::from)
    }

    /// Waits for a block and returns its hash.
    pub fn wait_for(&self, number: u32) -> String {
        wait(&format!("block {number}"), || self.hash(number))
    }

    /// Asks the node to stop, and waits until it has.
    pub fn stop(mut self) {
        let process = self.process.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &process]).status();
        assert!(asked.unwrap().success());
        assert!(self.process.wait().unwrap().success());
    }

    fn block(&self, hash: Value) -> (u32, String) {
        let header = self.call("chain_getHeader", json!([hash]));
        let number = header["number"].as_str().unwrap();
        let number = u32::from_str_radix(number.trim_start_matches("0x"), 16).unwrap();
        (number, hash.as_str().unwrap().into())
    }
}

impl Drop for Node {
    /// Like `kill -9`.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The body of the answer to an HTTP request.
pub fn http(port: u16, request: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len(),
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    body.into()
}
