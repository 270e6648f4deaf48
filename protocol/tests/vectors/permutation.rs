//! Which records a step reads.

use lockstep_protocol::permutation::{record, Permutation, MAX_RECORDS};
use serde_json::{json, Value};

const SEED: u64 = 0x0123_4567_89ab_cdef;

pub fn vectors() -> Value {
    let whole = [
        (0, 0, 1),
        (0, 0, 2),
        (SEED, 0, 5),
        (SEED, 1, 5),
        (u64::MAX, 2, 100),
    ]
    .into_iter()
    .map(|(seed, epoch, records)| {
        let permutation = Permutation::new(seed, epoch, records);
        let order: Vec<u64> = (0..records).map(|i| permutation.at(i)).collect();
        json!({ "seed": seed, "epoch": epoch, "records": records, "order": order })
    });
    let places = [
        (SEED, 0, 1797),
        (SEED, u64::MAX, 60_000),
        (SEED, 1 << 32, (1 << 32) + 1),
        (7, 3, MAX_RECORDS - 1),
        (7, 3, MAX_RECORDS),
    ]
    .into_iter()
    .flat_map(|(seed, epoch, records)| {
        let permutation = Permutation::new(seed, epoch, records);
        [0, 1, records / 2, records - 1].map(|index| {
            json!({
                "seed": seed,
                "epoch": epoch,
                "records": records,
                "index": index,
                "record": permutation.at(index),
            })
        })
    });
    let rows = [
        (SEED, 0, 4, 0, 10),
        (SEED, 2, 4, 1, 10),
        (SEED, 2, 4, 2, 10),
        (SEED, 1000, 64, 63, 1797),
        (1, 0, 5, 4, 2),
        (SEED, u32::MAX, u32::MAX, u32::MAX, 3),
    ]
    .into_iter()
    .map(|(seed, step, batch, row, records)| {
        json!({
            "seed": seed,
            "step": step,
            "batch": batch,
            "row": row,
            "records": records,
            "record": record(seed, step, batch, row, records),
        })
    });
    json!({
        "whole": whole.collect::<Value>(),
        "places": places.collect::<Value>(),
        "rows": rows.collect::<Value>(),
    })
}
