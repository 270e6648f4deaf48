//! Whole models: 200 steps of training against PyTorch's, with the same weights and batches.

mod support;

use lockstep_engine::{cpu, Engine, Job};
use lockstep_graph::{Built, Field, Model, Objective, Optimizer, Schedule, Training, Value};
use lockstep_import::{Onnx, Options};
use lockstep_protocol::{
    eval::{Blob, Inputs},
    program::Dtype,
};
use serde_json::Value as Json;
use std::{collections::BTreeMap, path::Path, sync::Arc};
use support::{fixtures, floats, Recording};

const STEPS: u32 = 200;
/// Losses agree within this, relative to each.
const LOSS: f32 = 1e-3;
/// Gradients of the first step agree within this, relative to the greatest of a tensor.
const GRADIENT: f64 = 1e-4;

/// A recorded training.
struct Task {
    json: Json,
    recording: Recording,
    records: Vec<u8>,
}

impl Task {
    fn new(name: &str) -> Task {
        let path = fixtures("models", "json").into_iter();
        let path = path
            .into_iter()
            .find(|p| p.file_stem().unwrap() == name)
            .unwrap();
        let recording = Recording::read(&path.with_extension("safetensors"));
        let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits/train.bin");
        let records = match recording.names().any(|name| name == "data") {
            true => recording.get("data").bytes.clone(),
            false => std::fs::read(digits).unwrap(),
        };
        Task {
            json: serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap(),
            recording,
            records,
        }
    }

    fn number(&self, name: &str) -> u32 {
        self.json[name].as_u64().unwrap() as u32
    }

    fn field(&self, model: &mut Model, name: &str) -> Value {
        let part = &self.json[name];
        let batch = self.number("batch");
        let value = model.graph.field(Field {
            dataset: 0,
            batch,
            record_size: self.number("record"),
            offset: part["offset"].as_u64().unwrap() as u32,
            count: part["count"].as_u64().unwrap() as u32,
            dtype: Dtype::U8,
        });
        let mut shape = vec![batch as usize];
        shape.extend(
            part["shape"]
                .as_array()
                .unwrap()
                .iter()
                .map(|d| d.as_u64().unwrap() as usize),
        );
        let value = model.graph.reshape(value, &shape);
        match part["scale"].as_f64() {
            Some(scale) => {
                let value = model.graph.to_f32(value);
                model.graph.scale(value, scale as f32)
            }
            None => value,
        }
    }

    /// The training step of an exported model, with a buffer `loss` that holds the step's.
    fn built(&self, export: &str, training: &Training) -> Built {
        let file = fixtures("models", "onnx").into_iter();
        let file = file
            .into_iter()
            .find(|p| p.file_stem().unwrap() == export)
            .unwrap();
        let onnx = Onnx::read(&file).unwrap();
        let mut model = Model::training(self.number("seed").into());
        let x = self.field(&mut model, "input");
        let inputs = BTreeMap::from([("x".to_string(), x)]);
        let outputs = onnx
            .build(&mut model, &inputs, &Options::default())
            .unwrap();
        let y = outputs["y"];
        let losses = match self.json["loss"].as_str().unwrap() {
            "mean_squared_error" => {
                let graph = &mut model.graph;
                let error = graph.sub(y, x);
                let square = graph.mul(error, error);
                let axes: Vec<usize> = (1..graph.shape(y).len()).collect();
                graph.mean(square, &axes)
            }
            _ => {
                let labels = self.field(&mut model, "target");
                let graph = &mut model.graph;
                let shape = graph.shape(labels).to_vec();
                let classes = *graph.shape(y).last().unwrap();
                let rows = shape.iter().product();
                let logits = graph.reshape(y, &[rows, classes]);
                let labels = graph.reshape(labels, &[rows]);
                let losses = graph.cross_entropy(logits, labels);
                let losses = graph.reshape(losses, &[shape[0], rows / shape[0]]);
                graph.mean(losses, &[1])
            }
        };
        let loss = model.graph.mean(losses, &[0]);
        let probe = model.buffer("loss", &[], vec![0.0]);
        model.update(probe, loss);
        model.train(Objective::new(losses), training).unwrap()
    }

    fn engine(&self, built: &Built) -> cpu::Cpu {
        let blob = |bytes: Vec<u8>| Arc::new(bytes) as Blob;
        let constants = built.constants.clone().into_iter();
        let job = Job {
            program: Arc::new(built.program.clone()),
            inputs: Inputs {
                seed: self.number("seed").into(),
                datasets: vec![blob(self.records.clone())],
                constants: constants.map(|(hash, bytes)| (hash, blob(bytes))).collect(),
            },
        };
        let mut engine = cpu::Cpu::new(job, cpu::Options::default()).unwrap();
        engine.load(&built.genesis()).unwrap();
        engine
    }

    /// The optimizer and its rate, the same in every step.
    fn training(&self) -> Training {
        let of = &self.json["optimizer"];
        let number = |name: &str| of[name].as_f64().unwrap() as f32;
        let optimizer = match of["kind"].as_str().unwrap() {
            "sgd" => Optimizer::Sgd {
                momentum: number("momentum"),
                decay: number("decay"),
            },
            _ => Optimizer::AdamW {
                beta1: number("beta1"),
                beta2: number("beta2"),
                epsilon: number("epsilon"),
                decay: number("decay"),
            },
        };
        training(optimizer, number("rate"))
    }
}

fn training(optimizer: Optimizer, rate: f32) -> Training {
    Training::new(optimizer, Schedule::Constant.rates(rate, 0, STEPS))
}

/// Trains as PyTorch did, and compares gradients, losses and running statistics.
fn check(name: &str) {
    let task = Task::new(name);
    for export in task.json["exports"].as_array().unwrap() {
        let export = export.as_str().unwrap();
        // After one step a moment that was 0 is the gradient.
        let momentum = Optimizer::Sgd {
            momentum: 0.5,
            decay: 0.0,
        };
        let built = task.built(export, &training(momentum, 0.0));
        let mut engine = task.engine(&built);
        engine.step(0);
        let state = engine.state();
        let gradients = task
            .recording
            .names()
            .filter_map(|n| n.strip_prefix("gradient."));
        // A bias in front of a batch norm has gradient 0, and whoever computes it finds rounding
        // errors, so tensors whose gradients are all small are held to a part of the greatest.
        let least = 0.01 * task.recording.greatest("gradient.");
        let mut compared = 0;
        for parameter in gradients {
            let slot = built.slot(&format!("{parameter}.momentum"));
            let tied = || {
                let other = task.json["tied"][parameter].as_str()?;
                built.slot(&format!("{other}.momentum"))
            };
            let slot = slot
                .or_else(tied)
                .unwrap_or_else(|| panic!("{export} has no parameter {parameter}"));
            let got = floats(state[slot]);
            let name = format!("gradient.{parameter}");
            task.recording
                .compare(&name, &got, GRADIENT, least)
                .unwrap_or_else(|r| panic!("{export}: {r}"));
            compared += 1;
        }
        let moments = built.slots.iter().filter(|s| s.name.ends_with(".momentum"));
        assert_eq!(compared, moments.count(), "parameters of {export}");

        let built = task.built(export, &task.training());
        let mut engine = task.engine(&built);
        let slot = built.slot("loss").unwrap();
        let want = task.recording.get("losses").floats();
        let mut worst = 0f32;
        for step in 0..STEPS {
            engine.step(step);
            let got = floats(engine.state()[slot])[0];
            let want = want[step as usize];
            let error = (got - want).abs() / want;
            worst = worst.max(error);
            assert!(
                error <= LOSS,
                "{export}: loss {got} instead of {want} in step {step}"
            );
        }
        println!(
            "{export}: losses from {} to {} agree within {worst:.1e}",
            want[0], want[199]
        );
        for name in task.recording.names().filter(|n| n.starts_with("buffer.")) {
            let slot = built.slot(&name["buffer.".len()..]).unwrap();
            let got = floats(engine.state()[slot]);
            task.recording
                .compare(name, &got, LOSS.into(), 1e-2)
                .unwrap_or_else(|r| panic!("{export}: {r}"));
        }
    }
}

macro_rules! models {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            check(stringify!($name));
        }
    )*};
}

models! { mlp lenet resnet separable autoencoder classifier gpt vit }
