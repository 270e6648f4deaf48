use super::program;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Somebody with a key, a home folder and a view of the chain.
#[derive(Clone)]
pub struct Person {
    home: PathBuf,
    key: String,
    url: String,
    deployment: PathBuf,
}

impl Person {
    /// The development account `key` (such as `//Alice`), with a home of its own in `world`, whose
    /// people share the deployment file. `url` is where it looks at the chain.
    ///
    /// # Panics
    /// When no folder can be made.
    pub fn new(world: &Path, key: &str, url: &str) -> Person {
        let home = world.join(key.trim_start_matches('/'));
        std::fs::create_dir_all(&home).expect("a folder can be made");
        Person {
            home,
            key: key.to_owned(),
            url: url.to_owned(),
            deployment: world.join("deployment.json"),
        }
    }

    /// The folder of its artifacts.
    pub fn store(&self) -> PathBuf {
        self.home.join("store")
    }

    /// The file that says where the contracts are.
    pub fn deployment(&self) -> &Path {
        &self.deployment
    }

    /// A command of `lockstep`, not yet started.
    ///
    /// # Panics
    /// When `lockstep` is not built.
    pub fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
            .env_clear()
            .env("HOME", &self.home)
            .env("LOCKSTEP_LOG", "info")
            .arg("--home")
            .arg(&self.home)
            .arg("--deployment")
            .arg(&self.deployment)
            .args(["--chain", &self.url, "--as", &self.key])
            .args(["--threads", "1", "--json"])
            .args(line);
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&self, line: &[&str]) -> Output {
        self.command(line).output().expect("lockstep is a program")
    }

    /// The JSON lines of a command that must succeed.
    ///
    /// # Panics
    /// When it fails.
    pub fn json(&self, line: &[&str]) -> Vec<Value> {
        let output = self.run(line);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{line:?} of {}: {errors}",
            self.key
        );
        let text = String::from_utf8(output.stdout).expect("it prints text");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("it prints JSON"))
            .collect()
    }

    /// The exit code and message of a command that must fail.
    ///
    /// # Panics
    /// When it succeeds.
    pub fn fails(&self, line: &[&str]) -> (i32, String) {
        let output = self.run(line);
        assert!(!output.status.success(), "{line:?} succeeded");
        let code = output.status.code().expect("it ended by itself");
        (code, String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Starts a role that stays.
    pub fn serve(&self, line: &[&str]) -> Service {
        let mut service = Service {
            person: self.clone(),
            line: line.iter().map(ToString::to_string).collect(),
            process: None,
        };
        service.start();
        service
    }

    /// What its services have said.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }
}

/// A role that stays until it is killed.
pub struct Service {
    person: Person,
    line: Vec<String>,
    process: Option<Child>,
}

impl Service {
    /// Whose it is.
    pub fn person(&self) -> &Person {
        &self.person
    }

    /// Starts it, unless it runs.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.person.home.join("log"))
            .expect("a log can be written");
        let errors = log.try_clone().expect("a file has two handles");
        let line: Vec<&str> = self.line.iter().map(String::as_str).collect();
        let process = self
            .person
            .command(&line)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("lockstep is a program");
        self.process = Some(process);
    }

    /// Kills it, without any warning.
    ///
    /// # Panics
    /// When it has ended by itself: services go on whatever fails.
    pub fn kill(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        if let Some(status) = process.try_wait().expect("it can be asked") {
            panic!(
                "{:?} of {} ended by itself, {status}: {}",
                self.line,
                self.person.key,
                self.person.said()
            );
        }
        process.kill().expect("it can be killed");
        process.wait().expect("it can be waited for");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself; a test that cares has asked before.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// `lockstep` as cargo builds it beside the tests.
fn binary() -> PathBuf {
    let beside = || {
        let test = std::env::current_exe().expect("a test is a program");
        let folder = test.parent().and_then(Path::parent);
        folder.unwrap_or(Path::new(".")).join("lockstep")
    };
    let advice = "build it with `cargo build --release --package lockstep-cli`";
    program("LOCKSTEP", beside, advice)
}
