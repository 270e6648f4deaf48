//! Every example commits to the same result on a GPU's kernels as on the processor.

#[path = "../../../engine/tests/common/stand_in.rs"]
mod stand_in;

use super::home::Home;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The examples, each with a line of its recipe that names how many records a step takes.
const EXAMPLES: [(&str, &str); 6] = [
    ("digits/mlp.toml", "batch = 64"),
    ("digits/cnn.toml", "batch = 64"),
    ("pytorch/digits.toml", "batch = 64"),
    ("gpt/gpt.toml", "batch = 32"),
    ("gpt/imported.toml", "batch = 32"),
    ("gpt/lora.toml", "batch = 32"),
];

/// Writes an example's recipe with two steps of few records, so that a test can run it.
fn shorten(examples: &Path, recipe: &str, batch: &str) {
    let file = examples.join(recipe);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(batch), "{recipe}");
    let line = |line: &str| match line.split(" = ").next() {
        Some("steps") => "steps = 2".into(),
        Some("segment") => "segment = 1".into(),
        Some("warmup") => "warmup = 1".into(),
        // What `examples/gpt/README.md` trains first.
        Some("weights") => String::new(),
        _ => line.replace(batch, "batch = 2"),
    };
    let lines: Vec<String> = text.lines().map(line).collect();
    std::fs::write(file, lines.join("\n")).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Shortened examples, and a stand-in for NVIDIA's driver.
struct Ground {
    _folder: tempfile::TempDir,
    driver: PathBuf,
    examples: PathBuf,
}

impl Ground {
    fn new() -> Ground {
        let folder = tempfile::tempdir().unwrap();
        let examples = folder.path().join("examples");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        copy(&root, &examples);
        for (recipe, batch) in EXAMPLES {
            shorten(&examples, recipe, batch);
        }
        Ground {
            driver: stand_in::build(folder.path()),
            examples,
            _folder: folder,
        }
    }

    /// A home with tasks of these recipes.
    fn offered(&self, recipes: &[&str]) -> Home {
        let home = Home::new();
        home.json(&["--as", "//Alice", "deploy"]);
        for recipe in recipes {
            let file = self.examples.join(recipe);
            let name = file.file_stem().unwrap().to_str().unwrap();
            home.json(&["task", "new", file.to_str().unwrap()]);
            home.json(&["--as", "//Bob", "task", "submit", name]);
        }
        home
    }

    /// A solver's work on `device` where the stand-in is the driver.
    fn solver(&self, home: &Home, device: &str) -> Command {
        let line = ["--device", device, "--as", "//Charlie", "work", "--once"];
        let mut command = home.command(&[&line[..], &["--top-up", "1000"]].concat());
        command
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("LOCKSTEP_LOG", "info")
            .env("LD_LIBRARY_PATH", self.driver.parent().unwrap())
            .env("LOCKSTEP_NVRTC", &self.driver);
        command
    }

    /// The roots to which all tasks are committed after a solver on `device` has worked, and what
    /// it said.
    fn work(&self, device: &str) -> (Vec<[String; 2]>, String) {
        let home = self.offered(&EXAMPLES.map(|(recipe, _)| recipe));
        let output = self.solver(&home, device).output().unwrap();
        let said = said(&output);
        assert!(output.status.success(), "{said}");
        let roots = (0..EXAMPLES.len()).map(|task| {
            let shown = home.json(&["task", "show", &task.to_string()]).remove(0);
            assert_eq!(shown["status"], "Committed", "{said}");
            let attempt = &shown["attempts"][0];
            ["trace", "state"].map(|root| attempt[root].as_str().unwrap().into())
        });
        (roots.collect(), said)
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_example_commits_to_the_same_on_a_gpus_kernels_and_on_the_processor() {
    let ground = Ground::new();
    let (on_processor, _) = ground.work("cpu");
    let (on_device, said) = ground.work("cuda:0");
    assert!(said.contains("cuda:0 stand-in"), "{said}");
    assert!(!said.contains("computes other bits"), "{said}");
    assert_eq!(on_processor, on_device);
}

/// A GPU whose memory fails after the first of two segments: in the trial step it is still fine.
#[test]
fn a_gpu_that_fails_while_it_runs_loses_nothing_that_was_stored() {
    let ground = Ground::new();
    let shown = |home: &Home| home.json(&["task", "show", "0"]).remove(0);
    let work = |home: &Home, device: &str, lasts: &str| {
        let mut command = ground.solver(home, device);
        command.env("STAND_IN_LASTS", lasts).output().unwrap()
    };
    let [sound, asked, automatic] = [(); 3].map(|()| ground.offered(&["digits/mlp.toml"]));
    assert!(work(&sound, "cpu", "0").status.success());
    let output = work(&asked, "cuda:0", "2");
    let told = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("the device failed while it ran"), "{told}");
    assert!(told.contains("start the command again"), "{told}");
    assert!(!told.contains("panicked"), "{told}");
    assert_ne!(shown(&asked)["status"], "Committed");
    // The driver lasts for one more trial and one more step: only the second segment is left.
    let output = work(&asked, "cuda:0", "2");
    assert!(output.status.success(), "{}", said(&output));
    let output = work(&automatic, "auto", "2");
    let told = said(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("begins again on the processor"), "{told}");
    assert!(
        told.contains("programs run on cpu: the device failed"),
        "{told}"
    );
    for home in [asked, automatic] {
        for root in ["trace", "state"] {
            let of = |home: &Home| shown(home)["attempts"][0][root].clone();
            assert_eq!(of(&home), of(&sound), "{root}");
        }
    }
}

#[test]
fn a_gpu_without_room_leaves_the_work_to_the_processor_unless_it_was_asked_for() {
    let ground = Ground::new();
    let home = ground.offered(&["digits/mlp.toml"]);
    let status = || home.json(&["task", "show", "0"]).remove(0)["status"].clone();
    let work = |device: &str| {
        let mut command = ground.solver(&home, device);
        command.env("STAND_IN_BYTES", "100000").output().unwrap()
    };
    let asked = work("cuda:0");
    assert!(said(&asked).contains("are free"), "{}", said(&asked));
    assert_ne!(status(), "Committed");
    let automatic = work("auto");
    let told = said(&automatic);
    assert!(automatic.status.success(), "{told}");
    assert!(told.contains("the GPU cannot run this program"), "{told}");
    assert_eq!(status(), "Committed", "{told}");
}
