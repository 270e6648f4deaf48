use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A relay between clients and a node, which misbehaves when it is told to.
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

struct State {
    /// Where the node is.
    to: u16,
    /// Whether connections are refused.
    cut: AtomicBool,
    /// Milliseconds that every piece waits.
    delay: AtomicU64,
    /// Open connections, both ends.
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Relays to the node at port `to`.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start(to: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State {
            to,
            cut: AtomicBool::new(false),
            delay: AtomicU64::new(0),
            open: Mutex::default(),
        });
        let relay = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                relay.connect(client);
            }
        });
        Proxy { port, state }
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Breaks every connection, in the middle of whatever is said, and refuses new ones until
    /// [`mend`](Proxy::mend).
    pub fn cut(&self) {
        self.state.cut.store(true, Ordering::SeqCst);
        let mut open = self
            .state
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for connection in open.drain(..) {
            // It may be closed already.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Lets every piece of what is said wait.
    pub fn slow(&self, delay: Duration) {
        let millis = delay.as_millis() as u64;
        self.state.delay.store(millis, Ordering::SeqCst);
    }

    /// Behaves again.
    pub fn mend(&self) {
        self.state.cut.store(false, Ordering::SeqCst);
        self.state.delay.store(0, Ordering::SeqCst);
    }
}

impl State {
    fn connect(self: &Arc<State>, client: TcpStream) {
        if self.cut.load(Ordering::SeqCst) {
            return;
        }
        let Ok(node) = TcpStream::connect(("127.0.0.1", self.to)) else {
            return;
        };
        let handles = [&client, &client, &node, &node].map(TcpStream::try_clone);
        let [Ok(from_client), Ok(to_client), Ok(from_node), Ok(to_node)] = handles else {
            return;
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push(client);
        open.push(node);
        drop(open);
        self.relay(from_client, to_node);
        self.relay(from_node, to_client);
    }

    fn relay(self: &Arc<State>, mut from: TcpStream, mut to: TcpStream) {
        let state = self.clone();
        std::thread::spawn(move || {
            let mut piece = [0; 16 << 10];
            while let Ok(length @ 1..) = from.read(&mut piece) {
                let delay = state.delay.load(Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(delay));
                if to.write_all(&piece[..length]).is_err() {
                    break;
                }
            }
            // Whoever has not heard of the end hears of it now.
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}
