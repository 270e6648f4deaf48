//! Tables of `lockstep bench`, without a look at their times.

use super::home::Home;

/// A Python that is on no machine.
const NOBODY: [&str; 2] = ["--python", "no-such-python"];

#[test]
fn products_are_compared_bit_for_bit_and_printed_as_json() {
    let home = Home::new();
    let shapes = ["--shapes", "40,24x56x33:tn,16x8x20*3:nt"];
    let line = [&["bench", "gemm", "--threads", "1"], &shapes[..], &NOBODY].concat();
    let report = &home.json(&line)[0];
    let rows = report["rows"].as_array().unwrap();
    let shown: Vec<_> = rows
        .iter()
        .map(|row| row["shape"].as_str().unwrap())
        .collect();
    assert_eq!(shown, ["40x40x40", "24x56x33:tn", "16x8x20*3:nt"]);
    for row in rows {
        assert_eq!(row["exact"], true, "{row}");
        assert!(row["gflops"].as_f64().unwrap() > 0.0, "{row}");
    }
    let (code, message) = home.fails(&["bench", "gemm", "--shapes", "1x2"]);
    assert_eq!(code, 2);
    assert!(message.contains("128x128x32*64:nt"), "{message}");
}

#[test]
fn a_library_that_is_not_there_is_said_with_a_way_to_get_it() {
    let home = Home::new();
    let line = [&["bench", "gemm", "--shapes", "32"], &NOBODY[..]].concat();
    let mut command = home.command(&line);
    let output = command
        .env("LOCKSTEP_MKL", "no-such-file")
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("MKL: not found; let Python install it"),
        "{text}"
    );
    assert!(text.contains("equal"), "{text}");
}

#[test]
fn training_steps_are_measured_without_pytorch_and_overheads_with_them() {
    let home = Home::new();
    let line = [
        &["bench", "train", "--models", "digits", "--threads", "1,2"][..],
        &["--seconds", "0.05", "--rounds", "1"],
        &NOBODY[..],
    ]
    .concat();
    let report = &home.json(&line)[0];
    assert!(report["pytorch"].is_null() && report["advice"].is_string());
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert!(row["ours"]["wall_ms"].as_f64().unwrap() > 0.0, "{row}");
        assert!(
            row["pytorch"].is_null() && row["wall_share"].is_null(),
            "{row}"
        );
        for overhead in ["hash_ms", "store_ms", "trace_ms"] {
            assert!(row["overheads"][overhead].as_f64().unwrap() > 0.0, "{row}");
        }
        assert!(row["shares"]["held"].is_f64(), "{row}");
    }
    let text = home.ok(&line);
    assert!(
        text.contains("PyTorch: not found; let a Python have it"),
        "{text}"
    );
}

/// A stand-in says of itself what a Python with PyTorch does, and of steps that each took a
/// kilosecond.
#[cfg(unix)]
#[test]
fn the_python_that_is_named_is_the_other_side() {
    use std::os::unix::fs::PermissionsExt;
    const STAND_IN: &str = r#"#!/bin/sh
case $# in
2) echo '{"prefix": "/nowhere", "torch": "9.9"}' ;;
*) echo '{"steps": 3, "wall_ms": 1e6, "best_ms": 1e6, "cpu_ms": 1e6, "peak_kib": 1024,
          "before_kib": 512}' ;;
esac
"#;
    let home = Home::new();
    let python = home.path().join("python");
    std::fs::write(&python, STAND_IN).unwrap();
    std::fs::set_permissions(&python, PermissionsExt::from_mode(0o755)).unwrap();
    let line = [
        "--json",
        "bench",
        "train",
        "--models",
        "digits",
        "--seconds",
        "0.05",
    ];
    let mut command = home.command(&line);
    let output = command.env("LOCKSTEP_PYTHON", python).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["pytorch"], "9.9");
    let row = &report["rows"][0];
    assert_eq!(row["pytorch"]["wall_ms"], 1e6);
    assert!(row["wall_share"].as_f64().unwrap() < 1.0, "{row}");
}

#[test]
fn a_step_is_shown_node_by_node() {
    let home = Home::new();
    let report = &home.json(&["bench", "nodes", "digits", "--seconds", "0.01"])[0];
    let rows = report["rows"].as_array().unwrap();
    assert!(
        rows.iter().any(|row| row["kernel"] == "contraction"),
        "{report}"
    );
}
