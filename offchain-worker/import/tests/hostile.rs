//! Files that are damaged, absurd or meant to harm: all are refused with a reason, fast.

mod support;

use lockstep_graph::Model;
use lockstep_import::{Error, Onnx, Options};
use lockstep_protocol::program::Dtype;
use std::{collections::BTreeMap, path::Path, time::Instant};
use support::{fixtures, onnx::*, whole};

/// Takes a file all the way to a program; the error where there is one.
fn import(bytes: &[u8]) -> Result<(), Error> {
    let start = Instant::now();
    let result = whole::import(bytes);
    // Far more than it takes: tests share a machine.
    let elapsed = start.elapsed();
    assert!(elapsed.as_secs() < 20, "{elapsed:?}");
    result
}

fn refusal(bytes: &[u8]) -> String {
    import(bytes)
        .expect_err("a file that should be refused")
        .to_string()
}

/// Fails unless a model is refused with all of these words.
fn refused(model: &Graph, words: &[&str]) {
    let reason = refusal(&model.file());
    for word in words {
        assert!(reason.contains(word), "{reason:?} does not say {word:?}");
    }
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused_or_is_another_model() {
    for path in fixtures("ops", "onnx").iter().step_by(7) {
        let bytes = std::fs::read(path).unwrap();
        for end in (0..bytes.len()).step_by(1 + bytes.len() / 200) {
            let _ = import(&bytes[..end]);
        }
    }
    assert!(refusal(&[]).contains("opset"));
    assert!(refusal(b"PK\x03\x04 this is a zip file").contains("not an ONNX model"));
}

#[test]
fn a_file_with_changed_bytes_never_panics() {
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let rounds = std::env::var("LOCKSTEP_FUZZ_ROUNDS").map_or(60, |n| n.parse().unwrap());
    for path in fixtures("ops", "onnx") {
        let bytes = std::fs::read(&path).unwrap();
        for _ in 0..rounds {
            let mut changed = bytes.clone();
            for _ in 0..1 + random(3) {
                let at = random(changed.len());
                changed[at] = match random(4) {
                    0 => random(256) as u8,
                    1 => changed[at].wrapping_add(1),
                    2 => changed[at].wrapping_sub(1),
                    _ => changed[at] ^ (1 << random(8)),
                };
            }
            let outcome = std::panic::catch_unwind(|| import(&changed).map_err(|e| e.to_string()));
            if outcome.is_err() {
                let to = std::env::temp_dir().join("lockstep-import-panic.onnx");
                std::fs::write(&to, &changed).unwrap();
                panic!(
                    "a change of {} panics; the file is {}",
                    path.display(),
                    to.display()
                );
            }
        }
    }
}

#[test]
fn many_constants_together_are_bounded() {
    let mut graph = Graph::new();
    graph.integers("shape", &[1 << 12, 1 << 12]);
    let mut sums = vec![];
    for k in 0..200 {
        let name = format!("big{k}");
        graph.node("ConstantOfShape", &["shape"], &name, &[]);
        sums.push(name);
    }
    let sums: Vec<&str> = sums.iter().map(|s| &s[..]).collect();
    graph.node("Concat", &sums, "y", &[("axis", 0)]);
    refused(&graph, &["too large to compute"]);
}

#[test]
fn a_file_of_nothing_but_empty_nodes_is_refused_before_it_is_decoded() {
    let mut graph = vec![];
    for _ in 0..1_000_000 {
        graph.extend([0x0a, 0x00]);
    }
    let mut file = vec![0x3a];
    varint(&mut file, graph.len() as u64);
    file.extend(graph);
    assert!(refusal(&file).contains("more than 262144"));
}

#[test]
fn a_huge_value_of_the_graph_makes_no_huge_lists() {
    let huge = |operation: &str, list: &[i64], ints: &[(&str, i64)]| {
        let mut graph = Graph::new();
        graph.input("x", 1, &[1, 1, 1, 1]);
        graph.integers("shape", &[1, 1, 1 << 30, 1]);
        graph.integers("list", list);
        graph.node("Expand", &["x", "shape"], "wide", &[]);
        graph.node(operation, &["wide", "list"], "z", ints);
        graph.node("SequenceAt", &["z", "list"], "y", &[]);
        refusal(&graph.file())
    };
    let reason = huge("SplitToSequence", &[0], &[("axis", 2)]);
    assert!(reason.contains("SplitToSequence"), "{reason}");

    let mut graph = Graph::new();
    graph.input("x", 1, &[1]);
    graph.integers("shape", &[1 << 30]);
    for (name, n) in [("start", -1), ("end", i64::MIN), ("axis", 0), ("step", -1)] {
        graph.integers(name, &[n]);
    }
    graph.node("Expand", &["x", "shape"], "wide", &[]);
    graph.node("Slice", &["wide", "start", "end", "axis", "step"], "y", &[]);
    refused(&graph, &["node 1 (Slice", "too large"]);
}

#[test]
fn millions_of_axes_are_not_looked_at() {
    for operation in ["Unsqueeze", "Squeeze", "Reshape", "Expand", "ReduceSum"] {
        let mut graph = Graph::new();
        graph.input("x", 1, &[1]);
        for (name, n) in [("start", 1), ("end", 10_000_000), ("step", 1)] {
            graph.tensor(name, 7, &[], &i64::to_le_bytes(n));
        }
        graph.node("Range", &["start", "end", "step"], "many", &[]);
        graph.node(operation, &["x", "many"], "y", &[]);
        let reason = refusal(&graph.file());
        assert!(reason.len() < 300, "{} characters", reason.len());
        assert!(reason.contains(operation), "{reason}");
    }
}

#[test]
fn nodes_out_of_order_and_in_cycles_are_refused() {
    let mut graph = Graph::new();
    graph.input("x", 1, &[2]);
    graph.node("Add", &["x", "b"], "a", &[]);
    graph.node("Add", &["a", "x"], "b", &[]);
    graph.node("Identity", &["b"], "y", &[]);
    refused(&graph, &["node 0 (Add", "\"b\"", "node 1", "cycle"]);

    let mut own = Graph::new();
    own.node("Identity", &["y"], "y", &[]);
    refused(&own, &["node 0 (Identity", "cycle"]);
}

#[test]
fn names_are_unique_and_defined() {
    let mut twice = Graph::new();
    twice.input("x", 1, &[2]);
    twice.node("Neg", &["x"], "y", &[]);
    twice.node("Abs", &["x"], "y", &[]);
    refused(&twice, &["two tensors", "\"y\""]);

    let mut missing = Graph::new();
    missing.input("x", 1, &[2]);
    missing.node("Add", &["x", "nowhere"], "y", &[]);
    refused(
        &missing,
        &["node 0 (Add", "\"nowhere\"", "nothing computes"],
    );

    let mut absent = Graph::new();
    absent.input("x", 1, &[2]);
    absent.node("Add", &["x"], "y", &[]);
    refused(&absent, &["node 0 (Add", "input 1 is missing"]);
}

#[test]
fn shapes_that_do_not_fit_are_refused_with_their_node() {
    let mut graph = Graph::new();
    graph.input("x", 1, &[2, 3]);
    graph.input("z", 1, &[4, 5]);
    graph.node("MatMul", &["x", "z"], "y", &[]);
    refused(&graph, &["node 0 (MatMul", "[2, 3]", "[4, 5]"]);

    let mut graph = Graph::new();
    graph.input("x", 1, &[2, 3]);
    graph.integers("shape", &[4, -1]);
    graph.node("Reshape", &["x", "shape"], "y", &[]);
    refused(&graph, &["node 0 (Reshape", "[2, 3]"]);
}

#[test]
fn what_is_not_supported_is_named() {
    let mut graph = Graph::new();
    graph.input("x", 1, &[2, 3]);
    graph.node("Hardmax", &["x"], "y", &[]);
    refused(
        &graph,
        &["node 0 (Hardmax", "not supported", "MatMul, Gemm"],
    );

    let mut half = Graph::new();
    half.input("x", 10, &[2, 3]);
    half.node("Neg", &["x"], "y", &[]);
    refused(
        &half,
        &["input \"x\"", "float16", "export the model in float32"],
    );

    let mut old = Graph::new();
    old.opset = 11;
    old.node("Identity", &["x"], "y", &[]);
    refused(&old, &["opset 11", "13 to 21"]);
}

#[test]
fn external_data_stays_in_the_folder_and_is_as_long_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("folder");
    std::fs::create_dir(&model).unwrap();
    std::fs::write(folder.path().join("secret"), [0; 64]).unwrap();
    std::fs::write(model.join("data"), [0; 16]).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path().join("secret"), model.join("link")).unwrap();
    let read = |location: &str, offset: u64, length: u64| {
        let mut graph = Graph::new();
        graph.external("w", &[4], location, offset, length);
        graph.node("Neg", &["w"], "y", &[]);
        let path = model.join("model.onnx");
        std::fs::write(&path, graph.file()).unwrap();
        Onnx::read(&path)
            .map(|_| ())
            .map_err(|reason| reason.to_string())
    };
    assert_eq!(read("data", 0, 16), Ok(()));
    let absolute = folder.path().join("secret");
    for outside in [
        "../secret",
        absolute.to_str().unwrap(),
        "a/../../secret",
        ".",
        "",
        "link",
    ] {
        let reason = read(outside, 0, 16).unwrap_err();
        assert!(
            reason.contains("outside of the model's folder"),
            "{outside}: {reason}"
        );
    }
    assert!(read("data", 8, 16).unwrap_err().contains("too short"));
    assert!(read("data", u64::MAX, 16)
        .unwrap_err()
        .contains("too short"));
    assert!(read("data", 0, 8).unwrap_err().contains("8 bytes"));
    assert!(read("nothing", 0, 16).unwrap_err().contains("nothing"));
    assert!(Onnx::read(Path::new("/nowhere/model.onnx")).is_err());
}

#[test]
fn inputs_must_be_those_of_the_file() {
    let mut graph = Graph::new();
    graph.input("x", 1, &[2, 3]);
    graph.node("Neg", &["x"], "y", &[]);
    let onnx = Onnx::decode(&graph.file()).unwrap();
    let attempt = |given: &[(&str, &[usize], Dtype)]| {
        let mut model = Model::training(1);
        let mut inputs = BTreeMap::new();
        for &(name, shape, dtype) in given {
            inputs.insert(name.to_string(), model.graph.state(shape, dtype).1);
        }
        onnx.build(&mut model, &inputs, &Options::default())
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    assert_eq!(attempt(&[("x", &[2, 3], Dtype::F32)]), Ok(()));
    for (given, word) in [
        (&[][..], "is not given"),
        (
            &[("x", &[2, 3][..], Dtype::F32), ("z", &[1], Dtype::F32)],
            "no such input",
        ),
        (&[("x", &[2, 4], Dtype::F32)], "dynamic axis"),
        (&[("x", &[2], Dtype::F32)], "2 axes"),
        (&[("x", &[2, 3], Dtype::U8)], "given integers"),
    ] {
        let reason = attempt(given).unwrap_err();
        assert!(reason.contains(word), "{reason}");
    }
}
