//! Fine-tuning with matrices of low rank.

mod support;

use lockstep_graph::{
    recipe::{Dataset, Recipe, Task},
    training::metric,
    Kind, Lora,
};
use std::path::Path;
use support::{engine, safetensors, Operation, Tensor};

const BASE: &str = r#"
input = "tokens"
data = { train = "base.bin", held_out = 0.2, tokens = { dtype = "u8", context = 8 } }
layer = [
    { kind = "embedding", rows = 6, width = 12 },
    { kind = "residual", layers = [{ kind = "attention", heads = 2, causal = true }] },
    { kind = "residual", layers = [{ kind = "linear", outputs = 12 }] },
    { kind = "layer_norm" },
    { kind = "unembedding" },
]
loss = { kind = "cross_entropy", target = "next" }
optimizer = { kind = "adamw", rate = 0.02 }
train = { batch = 8, steps = 60, segment = 20, seed = 5 }
"#;

/// The base with thin matrices, on another text.
fn tuned() -> String {
    let head = r#"
weights = "base.safetensors"
group = [{ names = ["*.table", "*.gain", "*.layer_norm.bias"], frozen = true }]
"#;
    let lora = "lora = { rank = 2, alpha = 4 } }";
    let text = BASE.replace("base.bin", "other.bin");
    let text = text.replace("causal = true }", &format!("causal = true, {lora}"));
    head.to_string() + &text.replace("outputs = 12 }", &format!("outputs = 12, {lora}"))
}

fn build(text: &str, folder: &Path) -> Result<Task, String> {
    let task = Recipe::from_toml(text).and_then(|recipe| recipe.build(folder));
    task.map_err(|error| error.to_string())
}

fn train(task: &Task) -> Vec<Vec<u8>> {
    let mut training = engine::start(&task.built, &task.train, task.seed);
    engine::run(&mut training, &task.built.genesis(), task.steps)
}

/// The mean loss on records.
fn loss(task: &Task, state: &[Vec<u8>], test: &Dataset) -> f64 {
    let pass = task.evaluation.as_ref().unwrap();
    let state = pass.built.adopt(&task.built.slots, state).unwrap();
    let mut evaluation = engine::start(&pass.built, test, task.seed);
    let judged = engine::run(&mut evaluation, &state, pass.steps);
    engine::float(&pass.built, &judged, metric::LOSS_SUM)
}

/// A folder with two texts, and the trained base in it.
fn folder() -> (tempfile::TempDir, Task, Vec<Vec<u8>>) {
    let folder = tempfile::tempdir().unwrap();
    let text = |stride: u32| {
        (0..900)
            .map(|k| (k * stride % 6) as u8)
            .collect::<Vec<u8>>()
    };
    std::fs::write(folder.path().join("base.bin"), text(1)).unwrap();
    std::fs::write(folder.path().join("other.bin"), text(5)).unwrap();
    let base = build(BASE, folder.path()).unwrap();
    let trained = train(&base);
    let file = safetensors(&base.built, &trained);
    std::fs::write(folder.path().join("base.safetensors"), file).unwrap();
    (folder, base, trained)
}

fn matmul(a: &Tensor, b: &Tensor) -> Tensor {
    Tensor::from_fn(&[a.shape[0], b.shape[1]], |at| {
        (0..a.shape[1])
            .map(|k| a.at(&[at[0], k]) * b.at(&[k, at[1]]))
            .sum()
    })
}

fn transposed(a: &Tensor) -> Tensor {
    Tensor::from_fn(&[a.shape[1], a.shape[0]], |at| a.at(&[at[1], at[0]]))
}

#[test]
fn values_and_gradients_are_those_of_the_dense_matrix() {
    let lora = Lora {
        rank: 2,
        alpha: 3.0,
    };
    let scale = 1.5;
    // W + alpha / rank * A B.
    let dense = |t: &[Tensor]| {
        let product = matmul(&t[2], &t[3]);
        Tensor::from_fn(&t[1].shape, |at| t[1].at(at) + scale * product.at(at))
    };
    let shapes: [&[usize]; 4] = [&[5, 4], &[4, 6], &[4, 2], &[2, 6]];
    let inputs = (0..).zip(shapes);
    let operation = Operation {
        name: "low rank",
        inputs: inputs
            .map(|(k, shape)| Tensor::random(shape, -1.0, 1.0, k))
            .collect(),
        build: &|graph, v| {
            let y = graph.linear(v[0], v[1], None);
            let change = graph.low_rank(v[0], v[2], v[3], lora);
            graph.add(y, change)
        },
        forward: &|t| matmul(&t[0], &dense(t)),
        backward: &|t, upstream| {
            let towards = matmul(&transposed(&t[0]), upstream);
            vec![
                matmul(upstream, &transposed(&dense(t))),
                towards.clone(),
                matmul(&towards, &transposed(&t[3])).map(|x| scale * x),
                matmul(&transposed(&t[2]), &towards).map(|x| scale * x),
            ]
        },
    };
    operation.check(1e-5);
}

#[test]
fn only_thin_matrices_are_state_and_the_base_is_in_the_program_by_its_hashes() {
    let (folder, base, trained) = folder();
    let task = build(&tuned(), folder.path()).unwrap();
    let names = |kind| {
        let slots = task
            .built
            .slots
            .iter()
            .filter(move |slot| slot.kind == kind);
        slots.map(|slot| (&slot.name[..], slot.shape.clone()))
    };
    let layers = [
        "1.0.attention.query",
        "1.0.attention.key",
        "1.0.attention.value",
        "1.0.attention.output",
        "2.0.linear",
    ];
    let thin = layers.iter().flat_map(|layer| {
        [
            (format!("{layer}.lora.down"), vec![12, 2]),
            (format!("{layer}.lora.up"), vec![2, 12]),
        ]
    });
    let have = names(Kind::Parameter).map(|(name, shape)| (name.to_string(), shape));
    assert_eq!(have.collect::<Vec<_>>(), thin.collect::<Vec<_>>());
    assert!(names(Kind::Moment).all(|(name, _)| name.contains(".lora.")));
    for (slot, bytes) in base.built.slots.iter().zip(&trained) {
        if slot.kind == Kind::Parameter {
            let hash = *blake3::hash(bytes).as_bytes();
            assert!(task.built.constants.contains_key(&hash), "{}", slot.name);
        }
    }
}

#[test]
fn a_fine_tuning_starts_from_the_base_and_learns_another_text() {
    let (folder, base, trained) = folder();
    let task = build(&tuned(), folder.path()).unwrap();
    let other = &task.evaluation.as_ref().unwrap().test;
    let before = loss(&task, &task.built.genesis(), other);
    assert_eq!(before, loss(&base, &trained, other));
    let after = loss(&task, &train(&task), other);
    assert!(after < before / 4.0, "{before} became {after}");
}

#[test]
fn weights_that_do_not_fit_are_refused_with_their_names() {
    let (folder, ..) = folder();
    for (from, to, part) in [
        (
            "base.safetensors",
            "base.bin",
            "weights: name a .safetensors",
        ),
        ("base.safetensors", "none.safetensors", "none.safetensors"),
        (
            "rows = 6",
            "rows = 7",
            "shape [6, 12] in the file and [7, 12]",
        ),
        (
            r#"{ kind = "layer_norm" },"#,
            r#"{ kind = "layer_norm" }, { kind = "linear", outputs = 12 },"#,
            r#"the file has no "4.linear.weight""#,
        ),
        (
            "outputs = 12, lora = { rank = 2",
            "outputs = 12, lora = { rank = 13",
            "from 1 to",
        ),
        (
            "true, lora = { rank = 2",
            "true, lora = { rank = 0",
            "from 1 to",
        ),
        ("alpha = 4", "alpha = -1", "positive"),
    ] {
        let text = tuned();
        assert!(text.contains(from), "{from}");
        let message = build(&text.replace(from, to), folder.path()).unwrap_err();
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}
