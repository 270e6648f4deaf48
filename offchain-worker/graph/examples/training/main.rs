//! Measures training steps of four models on the CPU engine.
//!
//! `training MODEL THREADS SECONDS` prints a line of JSON, as `scripts/bench-pytorch` reads it;
//! `training MODEL THREADS SECONDS nodes` prints where the time goes, node by node.

mod models;

use lockstep_engine::cpu::{describe, Cpu, Options};
use lockstep_engine::{Engine, Job};
use lockstep_protocol::eval::{Blob, Inputs};
use std::sync::Arc;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: training digits|mlp|resnet|gpt THREADS SECONDS [nodes]";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let parsed = match arguments.as_slice() {
        [model, threads, seconds, rest @ ..] => models::case(model)
            .zip(threads.parse().ok())
            .zip(seconds.parse().ok())
            .zip(Some(rest.iter().any(|word| word == "nodes"))),
        _ => None,
    };
    let Some((((case, threads), seconds), nodes)) = parsed else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    let job = job(&case);
    let before = peak_kib();
    let options = Options {
        threads: Some(threads),
        ..Options::default()
    };
    let mut cpu = Cpu::new(job.clone(), options).expect("the models run on every machine");
    cpu.load(&case.built.genesis()).expect("a genesis fits");
    drop(case);
    match nodes {
        true => print_nodes(&mut cpu, &job, seconds),
        false => print_steps(&mut cpu, &arguments[0], threads, seconds, before),
    }
}

fn job(case: &models::Case) -> Job {
    let blob = |bytes: &Vec<u8>| Arc::new(bytes.clone()) as Blob;
    let constants = case.built.constants.iter();
    Job {
        program: Arc::new(case.built.program.clone()),
        inputs: Inputs {
            seed: 1,
            datasets: vec![blob(&case.data)],
            constants: constants
                .map(|(hash, bytes)| (*hash, blob(bytes)))
                .collect(),
        },
    }
}

fn print_steps(cpu: &mut Cpu, model: &str, threads: usize, seconds: f64, before: u64) {
    let mut step = 0;
    let mut advance = |cpu: &mut Cpu| {
        cpu.step(step);
        step += 1;
    };
    (0..3).for_each(|_| advance(cpu));
    let (began, used) = (Instant::now(), cpu_time());
    let mut times = Vec::new();
    while began.elapsed().as_secs_f64() < seconds || times.len() < 3 {
        let began = Instant::now();
        advance(cpu);
        times.push(began.elapsed());
    }
    let used = (cpu_time() - used).as_secs_f64() / times.len() as f64;
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "{{\"model\": \"{model}\", \"threads\": {threads}, \"steps\": {}, \"wall_ms\": {:.4}, \
         \"best_ms\": {:.4}, \"cpu_ms\": {:.4}, \"peak_kib\": {}, \"before_kib\": {before}}}",
        times.len(),
        ms(times[times.len() / 2]),
        ms(times[0]),
        used * 1e3,
        peak_kib(),
    );
}

/// The nodes that take longest, and how long all nodes of a kernel take, each in its fastest step: a
/// machine that does other things too slows the others down.
fn print_nodes(cpu: &mut Cpu, job: &Job, seconds: f64) {
    let description = describe(&job.program);
    let mut fastest = vec![Duration::MAX; description.nodes.len()];
    let began = Instant::now();
    let mut steps = 0;
    while began.elapsed().as_secs_f64() < seconds || steps < 3 {
        cpu.step_timed(steps, &mut |node, time| {
            let fastest = &mut fastest[node as usize];
            *fastest = time.min(*fastest);
        });
        steps += 1;
    }
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    let mut order: Vec<usize> = (0..fastest.len()).collect();
    order.sort_by_key(|n| std::cmp::Reverse(fastest[*n]));
    println!("node kernel           us Gflop/s   GB/s   shape x reduction <- nodes read");
    for &n in order.iter().filter(|n| description.nodes[**n].runs) {
        let node = &description.nodes[n];
        let rate = |count: u64| count as f64 / fastest[n].as_secs_f64() / 1e9;
        let read: Vec<u32> = job.program.nodes[n].accesses().map(|a| a.node).collect();
        println!(
            "{n:4} {:11} {:9.1} {:7.1} {:7.1}   {:?} x {} <- {read:?}",
            node.kernel,
            us(fastest[n]),
            rate(node.flops),
            rate(node.traffic),
            node.shape,
            node.reduction,
        );
    }
    let mut kernels: Vec<(&str, f64)> = Vec::new();
    for (node, time) in description.nodes.iter().zip(&fastest) {
        match kernels.iter_mut().find(|(name, _)| *name == node.kernel) {
            Some((_, sum)) => *sum += us(*time),
            None => kernels.push((node.kernel, us(*time))),
        }
    }
    for (name, sum) in kernels {
        println!(" all {name:11} {sum:9.1}");
    }
    println!(" all nodes       {:9.1}", us(fastest.iter().sum()));
}

/// What all threads of the process have computed so far.
fn cpu_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// The most memory that the process has held.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok())
        .unwrap_or(0)
}
