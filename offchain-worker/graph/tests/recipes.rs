//! Recipes: what they build, and how malformed ones are refused.

use lockstep_graph::{
    recipe::{Error, Recipe, Task},
    training::metric,
    Kind,
};
use std::path::PathBuf;

const MLP: &str = include_str!("../../../examples/digits/mlp.toml");
const CNN: &str = include_str!("../../../examples/digits/cnn.toml");

fn digits() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/digits").into()
}

fn build(text: &str) -> Result<Task, Error> {
    Recipe::from_toml(text)?.build(&digits())
}

/// Asserts that the text is refused with a message that holds every one of `parts`.
fn refused(text: &str, parts: &[&str]) {
    let message = match build(text) {
        Ok(_) => panic!("not refused: {parts:?}"),
        Err(error) => error.to_string(),
    };
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

fn mlp_with(from: &str, to: &str) -> String {
    assert!(MLP.contains(from), "{from}");
    MLP.replacen(from, to, 1)
}

fn cnn_with(from: &str, to: &str) -> String {
    assert!(CNN.contains(from), "{from}");
    CNN.replacen(from, to, 1)
}

#[test]
fn the_examples_say_what_they_build() {
    let task = build(MLP).unwrap();
    assert_eq!(
        (task.record_size, task.train.records, task.batch),
        (65, 1437, 64)
    );
    let names: Vec<&str> = task.built.slots.iter().map(|slot| &slot.name[..]).collect();
    assert_eq!(
        names[..6],
        [
            "0.linear.weight.mean",
            "0.linear.weight.variance",
            "0.linear.weight",
            "0.linear.bias.mean",
            "0.linear.bias.variance",
            "0.linear.bias",
        ]
    );
    assert_eq!(names[names.len() - 2..], [metric::LOSS, metric::ACCURACY]);
    assert_eq!(task.built.slots[2].shape, [64, 128]);
    assert_eq!(task.built.slots[2].kind, Kind::Parameter);
    assert_eq!(task.built.genesis()[2].len(), 64 * 128 * 4);
    let pass = task.evaluation.unwrap();
    assert_eq!(
        (pass.test.records, pass.built.batch, pass.steps),
        (360, 180, 2)
    );
}

#[test]
fn a_recipe_always_builds_the_same_task() {
    for text in [MLP, CNN] {
        let (one, two) = (build(text).unwrap(), build(text).unwrap());
        assert_eq!(one.built.program.root(), two.built.program.root());
        assert_eq!(one.built.genesis(), two.built.genesis());
        assert_eq!(one.built.constants, two.built.constants);
    }
}

#[test]
fn the_seed_changes_the_initial_weights_and_not_the_program() {
    let (one, two) = (
        build(MLP).unwrap(),
        build(&mlp_with("seed = 1", "seed = 2")).unwrap(),
    );
    assert_eq!(one.built.program.root(), two.built.program.root());
    assert_ne!(one.built.genesis(), two.built.genesis());
}

#[test]
fn all_layers_in_one_model() {
    let text = CNN.split("[[layer]]").next().unwrap().to_string()
        + r#"
[[layer]]
kind = "conv2d"
channels = 6
kernel = [3, 2]
stride = 1
padding = [1, 0]
dilation = [1, 2]

[[layer]]
kind = "gelu"

[[layer]]
kind = "residual"
layers = [
    { kind = "conv2d", channels = 6, kernel = 3, padding = 1, groups = 2, initial = "xavier" },
    { kind = "layer_norm" },
    { kind = "tanh" },
    { kind = "residual", layers = [{ kind = "sigmoid" }] },
]

[[layer]]
kind = "max_pool"
size = 2
stride = 1
padding = 1

[[layer]]
kind = "avg_pool"
size = [3, 2]

[[layer]]
kind = "dropout"
rate = 0.1

[[layer]]
kind = "reshape"
shape = [3, 3, 6]

[[layer]]
kind = "transpose"

[[layer]]
kind = "transpose"

[[layer]]
kind = "global_mean"

[[layer]]
kind = "linear"
outputs = 8
frozen = true

[[layer]]
kind = "relu"

[[layer]]
kind = "flatten"

[[layer]]
kind = "linear"
outputs = 10
initial = "zeros"

[loss]
kind = "cross_entropy"
target = "label"

[optimizer]
kind = "sgd"
rate = 0.1
momentum = 0.9
decay = 0.001

[schedule]
kind = "linear"
warmup = 2

[train]
batch = 8
steps = 10
segment = 5
seed = 3
clip = 1.0
"#;
    let task = build(&text).unwrap();
    let names: Vec<&str> = task.built.slots.iter().map(|slot| &slot.name[..]).collect();
    assert!(names.contains(&"2.0.conv2d.weight.momentum"), "{names:?}");
    assert!(names.contains(&"2.1.layer_norm.gain"), "{names:?}");
    assert!(
        !names.contains(&"10.linear.weight"),
        "a frozen weight is state: {names:?}"
    );
    assert_eq!(task.built.constants.len(), 3);
}

#[test]
fn regression_and_embedding() {
    let folder = std::env::temp_dir().join(format!("lockstep-recipe-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let record = |k: u16| {
        let target = (k as f32 * 0.25).to_le_bytes();
        [&target[..], &k.to_le_bytes(), &(k % 3).to_le_bytes()].concat()
    };
    std::fs::write(
        folder.join("data"),
        (0..12).flat_map(record).collect::<Vec<u8>>(),
    )
    .unwrap();
    let text = |rows: u32| {
        format!(
            r#"
input = "words"
data.train = "data"
data.test = "data"
data.field = [
    {{ name = "amount", dtype = "f32", count = 1, scale = 2.0, shift = -1.0 }},
    {{ name = "words", dtype = "u16", count = 2 }},
]
layer = [
    {{ kind = "embedding", rows = {rows}, width = 4 }},
    {{ kind = "flatten" }},
    {{ kind = "linear", outputs = 1 }},
]
loss = {{ kind = "mean_squared_error", target = "amount" }}
optimizer = {{ kind = "sgd", rate = 0.1 }}
train = {{ batch = 4, steps = 3, segment = 3, seed = 1 }}
evaluation = {{ batch = 6 }}
"#
        )
    };
    let task = Recipe::from_toml(&text(12))
        .unwrap()
        .build(&folder)
        .unwrap();
    assert_eq!(task.built.slot(metric::ACCURACY), None);
    assert_eq!(task.evaluation.unwrap().steps, 2);
    let error = Recipe::from_toml(&text(11))
        .unwrap()
        .build(&folder)
        .unwrap_err();
    let message = error.to_string();
    for part in [
        "column \"words\", row 11",
        "it is 11",
        "no such row below 11",
        "raise `rows`",
    ] {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    let odd = text(12).replace("evaluation = { batch = 6 }", "evaluation = { batch = 5 }");
    let error = Recipe::from_toml(&odd).unwrap().build(&folder).unwrap_err();
    assert!(error
        .to_string()
        .starts_with("evaluation.batch: set it to a divisor of the 12"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn unknown_and_missing_keys_are_named() {
    refused(
        &mlp_with("kind = \"relu\"", "kind = \"relu\"\nslope = 0.1"),
        &["layer 1 (relu)", "slope"],
    );
    refused(
        &mlp_with("seed = 1", "seed = 1\nspeed = 9"),
        &["unknown field `speed`", "line"],
    );
    refused(&mlp_with("segment = 50", ""), &["missing field `segment`"]);
    refused(
        &mlp_with("outputs = 64", "output = 64"),
        &["layer 2 (linear)", "output"],
    );
    refused(
        &mlp_with("kind = \"relu\"", "kind = \"rulu\""),
        &["layer 1 (rulu)", "unknown variant"],
    );
    refused(
        &mlp_with("kind = \"relu\"", "knd = \"relu\""),
        &["layer 1", "kind"],
    );
    refused(
        &mlp_with("kind = \"adamw\"", "kind = \"adamax\""),
        &["adamax", "sgd"],
    );
    refused(&mlp_with("dtype = \"u8\"", "dtype = \"u9\""), &["u9", "u8"]);
    refused(&mlp_with("[train]", "[train"), &["TOML", "line"]);
}

#[test]
fn numbers_out_of_range_are_refused_with_their_key() {
    refused(
        &mlp_with("batch = 64", "batch = 0"),
        &["train.batch", "at least 1"],
    );
    refused(&mlp_with("steps = 400", "steps = 0"), &["train.steps"]);
    refused(
        &mlp_with("segment = 50", "segment = 401"),
        &["train.segment", "at most `train.steps`"],
    );
    refused(
        &mlp_with("seed = 1", "seed = 1\nclip = -1.0"),
        &["train.clip"],
    );
    refused(
        &mlp_with("warmup = 20", "warmup = 400"),
        &["schedule.warmup"],
    );
    refused(&mlp_with("end = 0.05", "end = 2.0"), &["schedule.end"]);
    refused(&mlp_with("rate = 0.005", "rate = nan"), &["optimizer.rate"]);
    refused(
        &mlp_with("rate = 0.005", "rate = 0.1\nbeta2 = 1.0"),
        &["optimizer.beta2"],
    );
    refused(
        &mlp_with("decay = 0.01", "decay = -0.01"),
        &["optimizer.decay"],
    );
    refused(
        &mlp_with("outputs = 64", "outputs = 0"),
        &["layer 2 (linear)", "`outputs`"],
    );
}

#[test]
fn layers_that_do_not_fit_are_refused_with_their_place() {
    refused(
        &cnn_with("channels = 16", "channels = 1000000000000000000"),
        &["layer 3 (conv2d)", "too large"],
    );
    refused(
        &cnn_with("batch = 64", "batch = 4294967295"),
        &["layer 0 (conv2d)", "too large"],
    );
    refused(
        &cnn_with("shape = [8, 8, 1]", ""),
        &["layer 0 (conv2d)", "[64]", "`shape`"],
    );
    refused(
        &cnn_with("shape = [8, 8, 1]", "shape = [8, 9, 1]"),
        &["data.field \"image\"", "`count`"],
    );
    refused(
        &cnn_with("kernel = 3", "kernel = 11"),
        &["layer 0 (conv2d)", "larger than the 8x8"],
    );
    refused(
        &cnn_with("size = 2", "size = 9"),
        &["layer 2 (max_pool)", "larger than the 8x8"],
    );
    refused(
        &cnn_with("size = 2", "size = 2\npadding = 2"),
        &["layer 2 (max_pool)", "`padding`"],
    );
    refused(
        &cnn_with("channels = 16", "channels = 16\ngroups = 3"),
        &["layer 3 (conv2d)", "`groups`"],
    );
    refused(
        &cnn_with("channels = 16", "channels = 16\nstride = 0"),
        &["layer 3 (conv2d)", "`stride`"],
    );
    refused(
        &cnn_with("kind = \"flatten\"", "kind = \"relu\""),
        &["loss", "`flatten`"],
    );
    refused(
        &cnn_with("kind = \"flatten\"", "kind = \"reshape\"\nshape = [3, 3]"),
        &["layer 5 (reshape)", "[4, 4, 16]"],
    );
    refused(
        &cnn_with(
            "kind = \"flatten\"",
            "kind = \"embedding\"\nrows = 3\nwidth = 2",
        ),
        &["layer 5 (embedding)", "first layer"],
    );
    refused(
        &mlp_with(
            "kind = \"relu\"",
            "kind = \"residual\"\nlayers = [{ kind = \"linear\", outputs = 3 }]",
        ),
        &["layer 1 (residual)", "[128]", "[3]"],
    );
    refused(
        &mlp_with(
            "kind = \"relu\"",
            "kind = \"residual\"\nlayers = [{ kind = \"dropout\", rate = 1.0 }]",
        ),
        &["layer 1 (residual), layer 0 (dropout)", "`rate`"],
    );
    refused(
        &mlp_with(
            "kind = \"relu\"",
            "kind = \"residual\"\nlayers = [{ kind = \"dropout\" }]",
        ),
        &[
            "layer 1 (residual)",
            "layer 0 (dropout)",
            "missing field `rate`",
        ],
    );
}

#[test]
fn data_that_does_not_fit_is_refused_with_its_place() {
    refused(
        &mlp_with("train.bin", "missing.bin"),
        &["data.train", "missing.bin", "cannot be read"],
    );
    refused(
        &mlp_with("count = 64", "count = 63"),
        &["data.train", "93405 bytes", "records of 64"],
    );
    refused(
        &mlp_with("outputs = 10", "outputs = 9"),
        &["column \"label\", row", "it is 9", "below 9"],
    );
    refused(
        &mlp_with("name = \"label\"", "name = \"image\""),
        &["data.field \"image\"", "name"],
    );
    refused(
        &mlp_with("input = \"image\"", "input = \"picture\""),
        &["input", "\"picture\"", "\"label\""],
    );
    refused(
        &mlp_with("target = \"label\"", "target = \"image\""),
        &["loss.target", "`scale`"],
    );
    refused(
        &mlp_with(
            "[[data.field]]",
            "[[data.field]]\nname = \"a\"\ndtype = \"u16\"\ncount = 1\n\n[[data.field]]",
        ),
        &["data.field", "67 bytes", "widest type's 2"],
    );
    refused(
        &mlp_with(
            "name = \"label\"\ndtype = \"u8\"\ncount = 1",
            "name = \"label\"\ndtype = \"i8\"\ncount = 2",
        )
        .replace("count = 64", "count = 63"),
        &["loss.target", "`count`"],
    );
    refused(
        &mlp_with("[[data.field]]", "[[data.field]]\nname = \"a\"\ndtype = \"u8\"\ncount = 1\n\n[[data.field]]\nname = \"b\"\ndtype = \"u16\"\ncount = 1\n\n[[data.field]]"),
        &["data.field \"b\"", "byte 1", "wider fields first"],
    );
}
