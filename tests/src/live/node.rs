use super::{free_port, program};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a node may take to listen.
const START: Duration = Duration::from_secs(30);

/// The test chain, with a database that outlives the process.
pub struct Node {
    dir: tempfile::TempDir,
    port: u16,
    arguments: Vec<String>,
    process: Option<Child>,
}

impl Node {
    /// Starts a new chain. `arguments` are those of `scripts/devnet`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(arguments: &[&str]) -> Node {
        let mut node = Node {
            dir: tempfile::tempdir().expect("a folder can be made"),
            port: free_port(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            process: None,
        };
        node.restart();
        node
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens, as a URL.
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Kills it, without any warning.
    ///
    /// # Panics
    /// When it has ended by itself.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        if let Some(status) = process.try_wait().expect("it can be asked") {
            panic!("the node ended by itself, {status}: {}", self.said());
        }
        process.kill().expect("it can be killed");
        process.wait().expect("it can be waited for");
    }

    /// Starts it again, with its database, at the same address.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .expect("a log can be written");
        let errors = log.try_clone().expect("a file has two handles");
        let process = Command::new(binary())
            .args(&self.arguments)
            .arg("--base-path")
            .arg(self.dir.path().join("chain"))
            .args(["--rpc-port", &self.port.to_string()])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("the node is a program");
        let process = self.process.insert(process);
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = process.try_wait().expect("it can be asked");
            assert!(
                ended.is_none() && begin.elapsed() < START,
                "the node does not listen: {}",
                std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Drops the last `depth` blocks, as when another node had made a longer chain without them.
    ///
    /// # Panics
    /// When the node does not answer. That it refuses, since they are final, is no failure.
    pub fn reorganise(&self, depth: u32) {
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"devnet_reorg","params":[{depth}]}}"#);
        let mut connection =
            TcpStream::connect(("127.0.0.1", self.port)).expect("the node listens");
        let length = body.len();
        write!(
            connection,
            "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .expect("the node reads");
        let mut answer = String::new();
        connection
            .read_to_string(&mut answer)
            .expect("the node answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// What it has logged.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself; there is nothing else to do about it here.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn binary() -> PathBuf {
    program(
        "LOCKSTEP_DEVNET",
        PathBuf::new,
        "set LOCKSTEP_DEVNET to what `scripts/devnet --build` prints, as scripts/test-live does",
    )
}
