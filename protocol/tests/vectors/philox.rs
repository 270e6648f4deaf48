//! Philox4x32-10 and the streams of a seed.

use crate::json::word;
use lockstep_protocol::philox::{domain, philox4x32, stream};
use serde_json::{json, Value};

pub fn vectors() -> Value {
    let blocks = [
        ([0; 4], [0; 2]),
        ([u32::MAX; 4], [u32::MAX; 2]),
        (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
        ),
        ([1, 0, 0, 0], [0; 2]),
        ([0, 0, 0, 1], [0; 2]),
        ([0; 4], [0, 1]),
    ]
    .into_iter()
    .map(|(counter, key)| {
        json!({
            "counter": counter.map(word),
            "key": key.map(word),
            "words": philox4x32(counter, key).map(word),
        })
    });
    let streams = [
        (0, 0, 0),
        (1, 0, 0),
        (1, 0, 1),
        (0x0123_4567_89ab_cdef, 7, 0xfedc_ba98_7654_3210),
        (u64::MAX, domain::EPOCH, 12),
        (u64::MAX, domain::ROUND_KEY, 31),
        (u64::MAX, domain::SWAP, (1 << 40) - 1),
    ]
    .into_iter()
    .map(|(seed, domain, index)| {
        json!({
            "seed": seed,
            "domain": domain,
            "index": index,
            "words": stream(seed, domain, index).map(word),
        })
    });
    json!({ "blocks": blocks.collect::<Value>(), "streams": streams.collect::<Value>() })
}
