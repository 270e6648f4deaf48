//! Recipes over arrays, tables and tokens.

use lockstep_graph::{
    recipe::{Error, Imported, Recipe, Task},
    training::metric,
    Initial, Kind, Model,
};
use lockstep_protocol::{eval::Inputs, program::Dtype};
use std::{path::Path, sync::Arc};
use tempfile::TempDir;

/// A `.npy` array.
fn npy(descr: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let shape: String = shape.iter().map(|n| format!("{n},")).collect();
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape})}}\n");
    let len = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &len[..], header.as_bytes(), data].concat()
}

fn floats(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// A folder of files.
fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn build(folder: &TempDir, text: &str) -> Result<Task, Error> {
    Recipe::from_toml(text)?.build(folder.path())
}

fn refused(folder: &TempDir, text: &str, parts: &[&str]) {
    let message = match build(folder, text) {
        Ok(_) => panic!("not refused: {parts:?}"),
        Err(error) => error.to_string(),
    };
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

const REST: &str = r#"
layer = [{ kind = "linear", outputs = 3 }]
loss = { kind = "cross_entropy", target = "y" }
optimizer = { kind = "adam", rate = 0.1 }
train = { batch = 4, epochs = 3, segment = 2, seed = 1 }
input = "x"
"#;

/// Twelve rows of two numbers and a label.
fn table() -> TempDir {
    let rows = 0..12;
    let x: Vec<f64> = rows.clone().flat_map(|k| [k as f64 / 4.0, -1.0]).collect();
    let y: Vec<i64> = rows.clone().map(|k| k % 3).collect();
    let y: Vec<u8> = y.iter().flat_map(|n| n.to_le_bytes()).collect();
    let line = |k: i64| format!("{},-1,{},{}\n", k as f64 / 4.0, k % 3, k % 2);
    let text: String = rows.map(line).collect();
    folder(&[
        ("x.npy", npy("<f8", &[12, 2], &floats(&x))),
        ("y.npy", npy("<i8", &[12], &y)),
        (
            "high.npy",
            npy("<i8", &[12], &[&y[..88], &3u64.to_le_bytes()].concat()),
        ),
        ("short.npy", npy("<i8", &[11], &y[..88])),
        ("wide.npy", npy("<f8", &[8, 3], &floats(&x))),
        ("table.csv", format!("x0,x1,y,z\n{text}").into_bytes()),
        (
            "hole.csv",
            format!("x0,x1,y,z\n{text}1,,0,0\n").into_bytes(),
        ),
        (
            "high.csv",
            format!("x0,x1,y,z\n{text}1,1,3,0\n").into_bytes(),
        ),
    ])
}

#[test]
fn arrays_and_a_table_with_the_same_numbers_give_the_same_task() {
    let arrays = r#"
data.train = { x = "x.npy", y = "y.npy" }
data.field = [{ name = "x" }, { name = "y" }]
"#;
    let columns = r#"
data.train = "table.csv"
data.field = [{ name = "x", column = "x*" }, { name = "y", count = 1 }]
"#;
    let list = columns.replace("\"x*\"", "[\"x0\", \"x1\"]");
    let folder = table();
    let tasks = [arrays, columns, &list].map(|data| build(&folder, &format!("{data}{REST}")));
    let [arrays, columns, list] = tasks.map(Result::unwrap);
    // Two f32 and an i32.
    assert_eq!((arrays.record_size, arrays.train.records), (12, 12));
    assert_eq!(
        (arrays.steps, arrays.batch),
        (9, 4),
        "three epochs of twelve"
    );
    for other in [columns, list] {
        assert_eq!(arrays.train.bytes, other.train.bytes);
        assert_eq!(arrays.built.program.root(), other.built.program.root());
    }
}

#[test]
fn types_are_converted_and_the_record_is_filled_up() {
    let text = r#"
data.train = "table.csv"
data.field = [
    { name = "y", dtype = "u8" },
    { name = "x", column = ["x0", "x1"], scale = 0.5 },
]
"#;
    let task = build(&table(), &format!("{text}{REST}")).unwrap();
    assert_eq!(task.record_size, 12);
    let record = &task.train.bytes[12 * 5..][..12];
    assert_eq!(record[..4], 1.25f32.to_le_bytes());
    assert_eq!(record[8..], [2, 0, 0, 0]);
}

#[test]
fn a_share_of_the_rows_is_held_out() {
    let text = r#"
data.train = "table.csv"
data.held_out = 0.25
data.field = [{ name = "x", column = "x*" }, { name = "y" }]
"#;
    let task = build(&table(), &format!("{text}{REST}")).unwrap();
    let pass = task.evaluation.unwrap();
    assert_eq!((task.train.records, pass.test.records), (9, 3));
    assert_eq!((task.steps, pass.steps), (7, 1));
    let both = "data.test = \"table.csv\"\n";
    refused(&table(), &format!("{both}{text}{REST}"), &["data.held_out"]);
    let all = text.replace("0.25", "1.0");
    refused(
        &table(),
        &format!("{all}{REST}"),
        &["data.held_out", "between 0 and 1"],
    );
}

#[test]
fn what_does_not_fit_is_refused_with_file_column_and_row() {
    let folder = table();
    let arrays = |x: &str, y: &str| {
        format!(
            "data.train = {{ x = \"{x}\", y = \"{y}\" }}\n\
             data.field = [{{ name = \"x\" }}, {{ name = \"y\" }}]\n{REST}"
        )
    };
    let csv = |file: &str, field: &str| {
        format!(
            "data.train = \"{file}\"\n\
             data.field = [{{ name = \"x\", column = \"x*\" }}, {{ name = \"y\"{field} }}]\n{REST}"
        )
    };
    let cases: &[(String, &[&str])] = &[
        (
            arrays("x.npy", "short.npy"),
            &["data.train", "short.npy", "11 rows", "12"],
        ),
        (
            arrays("x.npy", "nowhere.npy"),
            &["data.train.y", "nowhere.npy", "cannot be read"],
        ),
        (
            csv("x.npy", ""),
            &[
                "data.train",
                "one array without a name",
                "a file for each field",
            ],
        ),
        (
            arrays("x.npy", "high.npy"),
            &["data.train", "high.npy, column \"y\", row 11: it is 3"],
        ),
        (arrays("x.npy", "records.bin"), &["data.train.y", ".npz"]),
        (
            csv("hole.csv", ""),
            &["hole.csv, column \"x1\", row 12", "\"\" on line 14"],
        ),
        (
            csv("high.csv", ""),
            &[
                "data.train",
                "high.csv, column \"y\", row 12: it is 3",
                "no such class below 3",
            ],
        ),
        (
            csv("table.csv", ", column = \"label\""),
            &["no column \"label\"", "\"z\""],
        ),
        (
            csv("table.csv", ", column = \"q*\""),
            &["data.field \"y\"", "`column`"],
        ),
        (
            csv("table.csv", ", count = 2"),
            &["data.field \"y\"", "1 numbers a row", "`count`"],
        ),
        (
            csv("table.csv", ", dtype = \"f32\""),
            &["loss.target", "holds f32"],
        ),
        (
            csv("table.csv", ", shape = [2]"),
            &["data.field \"y\"", "`shape`"],
        ),
        (
            csv("table.csv", ", column = \"x0\", dtype = \"u8\""),
            &["column \"x0\", row 1", "0.25"],
        ),
        (csv("records.bin", ""), &["data.field \"x\"", "no columns"]),
    ];
    for (text, parts) in cases {
        refused(&folder, text, parts);
    }
    let unknown = arrays("x.npy", "y.npy").replace("{ name = \"y\" }", "{ name = \"z\" }");
    refused(
        &folder,
        &unknown,
        &["data.train", "no `data.field` named \"y\""],
    );
    let narrow = format!(
        "data.train = {{ x = \"x.npy\", y = \"y.npy\" }}\n\
         data.test = {{ x = \"wide.npy\", y = \"y.npy\" }}\n\
         data.field = [{{ name = \"x\" }}, {{ name = \"y\" }}]\n{REST}"
    );
    refused(
        &folder,
        &narrow,
        &["data.test", "\"x\" has 3 numbers a row, and 2"],
    );
}

#[test]
fn tokens_become_windows_with_the_tokens_that_follow() {
    let text = |tokens: &str, rows: u32| {
        format!(
            r#"
input = "tokens"
data.train = "text"
data.held_out = 0.2
data.tokens = {{ {tokens} }}
layer = [
    {{ kind = "embedding", rows = {rows}, width = 4 }},
    {{ kind = "positions" }},
    {{ kind = "attention", heads = 2, causal = true, dropout = 0.1 }},
    {{ kind = "unembedding" }},
]
loss = {{ kind = "cross_entropy", target = "next", smoothing = 0.1 }}
optimizer = {{ kind = "sgd", rate = 0.1 }}
train = {{ batch = 2, epochs = 1, segment = 1, seed = 1 }}
"#
        )
    };
    let letters: Vec<u8> = (0..100).map(|k| k % 7).collect();
    let folder = folder(&[("text", letters)]);
    let task = build(&folder, &text("dtype = \"u8\", context = 6", 7)).unwrap();
    assert_eq!(
        (task.record_size, task.train.records, task.steps),
        (7, 13, 7)
    );
    let parameters = |task: &Task| -> Vec<String> {
        let slots = task
            .built
            .slots
            .iter()
            .filter(|s| s.kind == Kind::Parameter);
        slots.map(|slot| slot.name.clone()).collect()
    };
    let names = parameters(&task);
    assert_eq!(names[..2], ["0.embedding.table", "1.positions.table"]);
    assert!(
        names.contains(&"2.attention.query.weight".to_string()),
        "{names:?}"
    );
    assert_eq!(names.len(), 10, "the unembedding has no parameters");
    let pass = task.evaluation.unwrap();
    assert_eq!((pass.test.records, pass.test.row(1)), (3, 86));

    refused(
        &folder,
        &text("dtype = \"u8\", context = 6, stride = 2", 6),
        &["column \"next\", row 0: it is 6", "no such class below 6"],
    );
    refused(
        &folder,
        &text("dtype = \"u8\", context = 90", 7),
        &["data.train", "fewer than the 91"],
    );
    refused(
        &folder,
        &text("dtype = \"i8\", context = 6", 7),
        &["data.tokens.dtype"],
    );
    refused(
        &folder,
        &text("dtype = \"u8\", context = 0", 7),
        &["data.tokens", "at least 1"],
    );
    let odd = text("dtype = \"u8\", context = 6", 7).replace("heads = 2", "heads = 3");
    refused(
        &folder,
        &odd,
        &["layer 2 (attention)", "divisor of the width 4"],
    );
    let untied = text("dtype = \"u8\", context = 6", 7).replace(
        "{ kind = \"unembedding\" }",
        "{ kind = \"linear\", outputs = 3 }, { kind = \"unembedding\" }",
    );
    refused(
        &folder,
        &untied,
        &["layer 4 (unembedding)", "4 numbers", "given 3"],
    );
}

#[test]
fn epochs_and_steps_exclude_each_other() {
    let data = "data.train = \"table.csv\"\n\
                data.field = [{ name = \"x\", column = \"x*\" }, { name = \"y\" }]\n";
    let with = |from: &str, to: &str| format!("{data}{}", REST.replace(from, to));
    let folder = table();
    refused(
        &folder,
        &with("epochs = 3", "epochs = 3, steps = 9"),
        &["either `steps` or `epochs`"],
    );
    refused(
        &folder,
        &with("epochs = 3,", ""),
        &["either `steps` or `epochs`"],
    );
    refused(
        &folder,
        &with("epochs = 3", "epochs = 0"),
        &["train.epochs"],
    );
    refused(
        &folder,
        &with("segment = 2", "segment = 10"),
        &["train.segment", "which is 9"],
    );
    let many = with("epochs = 3", "epochs = 4000000000");
    refused(&folder, &many, &["train.epochs", "2^32"]);
    let by_steps = build(&folder, &with("epochs = 3", "steps = 9")).unwrap();
    let by_epochs = build(&folder, &with("", "")).unwrap();
    assert_eq!(
        by_steps.built.program.root(),
        by_epochs.built.program.root()
    );
}

#[test]
fn rates_come_from_a_file_with_one_for_each_step() {
    let data = "data.train = \"table.csv\"\n\
                data.field = [{ name = \"x\", column = \"x*\" }, { name = \"y\" }]\n\
                schedule = { file = \"rates.txt\" }\n";
    let text = format!("{data}{}", REST.replace(", rate = 0.1", ""));
    let folder = table();
    let rates = |text: &str| std::fs::write(folder.path().join("rates.txt"), text).unwrap();
    refused(&folder, &text, &["schedule.file", "rates.txt"]);
    rates("0.1\n0.2\n");
    refused(&folder, &text, &["schedule.file", "2 rates", "9 steps"]);
    rates("0.1\nfast\n");
    refused(&folder, &text, &["rates.txt, line 2", "\"fast\""]);
    rates("-1\n");
    refused(&folder, &text, &["line 1", "at least 0"]);
    let lines: Vec<f32> = (1..10).map(|k| k as f32 / 8.0).collect();
    let shown: String = lines.iter().map(|rate| format!("{rate}\n")).collect();
    rates(&shown);
    let task = build(&folder, &text).unwrap();
    let table: Vec<u8> = lines.iter().flat_map(|x| x.to_le_bytes()).collect();
    assert!(task.built.constants.values().any(|bytes| *bytes == table));
    let both = format!("{data}{REST}");
    refused(&folder, &both, &["optimizer.rate", "schedule.file"]);
    let neither = text.replace("schedule = { file = \"rates.txt\" }", "");
    refused(&folder, &neither, &["optimizer.rate"]);
    let shaped = text.replace("rates.txt\"", "rates.txt\", warmup = 3");
    refused(&folder, &shaped, &["schedule.file", "`warmup`"]);
}

#[test]
fn groups_say_what_decays_and_what_is_frozen() {
    let with = |groups: &str| {
        format!(
            "data.train = \"table.csv\"\n\
             data.field = [{{ name = \"x\", column = \"x*\" }}, {{ name = \"y\" }}]\n\
             group = [{groups}]\n{REST}"
        )
    };
    let folder = table();
    let frozen = build(&folder, &with("{ names = [\"*.weight\"], frozen = true }")).unwrap();
    assert_eq!(frozen.built.slot("0.linear.weight"), None);
    assert!(frozen.built.slot("0.linear.bias").is_some());
    let decayed = build(&folder, &with("{ names = [\"*.bias\"], decay = 0.5 }")).unwrap();
    let plain = build(&folder, &with("")).unwrap();
    assert_ne!(decayed.built.program.root(), plain.built.program.root());
    for (groups, parts) in [
        (
            "{ names = [\"*.gain\"], decay = 0.5 }",
            ["group 0", "\"*.gain\" names no parameter"],
        ),
        ("{ names = [], decay = 0.5 }", ["group 0", "`names`"]),
        (
            "{ names = [\"*\"] }",
            ["group 0", "either `decay` or `frozen"],
        ),
        (
            "{ names = [\"*\"], decay = -1.0 }",
            ["group 0", "at least 0"],
        ),
        (
            "{ names = [\"*\"], frozen = true }",
            ["layer", "no parameter is trained"],
        ),
    ] {
        refused(&folder, &with(groups), &parts);
    }
}

/// The metrics after the first step.
fn first_step(task: &Task) -> Vec<f32> {
    let constants = task.built.constants.iter();
    let inputs = Inputs {
        seed: task.seed,
        datasets: vec![Arc::new(task.train.bytes.clone())],
        constants: constants
            .map(|(hash, bytes)| (*hash, Arc::new(bytes.clone()) as _))
            .collect(),
    };
    inputs.check(&task.built.program).unwrap();
    let genesis = task.built.genesis();
    let values = lockstep_protocol::eval::run(&task.built.program, 0, &inputs, &genesis);
    let after = &values[task.built.program.next_state()];
    let of = |name| {
        let bytes = &after[task.built.slot(name)?];
        Some(f32::from_bits(Dtype::F32.load(bytes)))
    };
    [metric::LOSS, metric::ACCURACY]
        .into_iter()
        .filter_map(of)
        .collect()
}

#[test]
fn every_loss_judges_as_it_says() {
    // The output is the target's shape of zeros, so that every loss is known.
    let with = |loss: &str, target: &str| {
        format!(
            r#"
input = "x"
data.train = "table.csv"
data.field = [{{ name = "x", column = "x*" }}, {{ name = "t", {target} }}]
layer = [{{ kind = "linear", outputs = 2, initial = "zeros" }}]
loss = {{ kind = {loss}, target = "t" }}
optimizer = {{ kind = "sgd", rate = 0.1 }}
train = {{ batch = 12, steps = 1, segment = 1, seed = 1 }}
"#
        )
    };
    let folder = table();
    let metrics =
        |loss: &str, target: &str| first_step(&build(&folder, &with(loss, target)).unwrap());
    let close = |got: &[f32], want: &[f64]| {
        assert_eq!(got.len(), want.len(), "{got:?}");
        for (got, want) in got.iter().zip(want) {
            assert!((*got as f64 - want).abs() < 1e-6, "{got} instead of {want}");
        }
    };
    let both = "column = [\"z\", \"z\"], dtype = \"f32\"";
    let ln2 = 2f64.ln();
    close(&metrics("\"mean_squared_error\"", both), &[0.5]);
    close(&metrics("\"mean_absolute_error\"", both), &[0.5]);
    close(&metrics("\"binary_cross_entropy\"", both), &[ln2, 0.5]);
    close(&metrics("\"cross_entropy\"", "column = \"z\""), &[ln2, 0.5]);
    close(
        &metrics("\"cross_entropy\", smoothing = 0.5", "column = \"z\""),
        &[ln2, 0.5],
    );
    // Labels 0, 1 and 2, of which 2 does not count.
    close(
        &metrics("\"cross_entropy\", ignore = 2", "column = \"y\""),
        &[ln2, 0.5],
    );
    refused(
        &folder,
        &with("\"cross_entropy\", ignore = 3", "column = \"y\""),
        &["row 2: it is 2", "no such class below 2"],
    );
    refused(
        &folder,
        &with("\"binary_cross_entropy\"", "column = [\"y\", \"z\"]"),
        &["column \"t\", row 2: it is 2, not from 0 to 1"],
    );
    let halved = with(
        "\"binary_cross_entropy\"",
        "column = [\"y\", \"z\"], scale = 0.5",
    );
    assert!(build(&folder, &halved).is_ok());
    refused(
        &folder,
        &with("\"cross_entropy\", smoothing = 1.0", "column = \"z\""),
        &["loss.smoothing"],
    );
}

#[test]
fn the_commented_recipe_is_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/recipe.toml");
    let text = std::fs::read_to_string(Path::new(path)).unwrap();
    Recipe::from_toml(&text).unwrap();
}

#[test]
fn integers_beyond_the_table_of_an_imported_model_are_refused_with_their_row() {
    let text = b"id,y\n0,0.5\n4,0.25\n5,1\n2,0\n".to_vec();
    let folder = folder(&[("train.csv", text)]);
    let recipe = r#"
data.train = "train.csv"
data.field = [{ name = "id" }, { name = "y", dtype = "f32" }]
input = "id"
model = "model.onnx"
loss = { kind = "mean_squared_error", target = "y" }
optimizer = { kind = "adam", rate = 0.1 }
train = { batch = 4, steps = 2, segment = 1, seed = 1 }
"#;
    let build = |rows: usize| {
        let importer = move |_: &Path| {
            let forward = move |model: &mut Model, ids| {
                let table = model.parameter("table", &[rows, 1], &Initial::Zeros);
                let picked = model.graph.embedding(table, ids);
                Ok(model.graph.flatten(picked, 1))
            };
            Ok(Imported {
                integers: true,
                rows: Some(rows),
                forward: Box::new(forward),
            })
        };
        let recipe = Recipe::from_toml(recipe).unwrap();
        recipe.build_with(folder.path(), &importer).map(|_| ())
    };
    assert!(build(6).is_ok());
    let message = build(5).unwrap_err().to_string();
    for part in [
        "data.train",
        "column \"id\", row 2",
        "it is 5",
        "no such row below 5",
        "larger embedding",
    ] {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}
