//! BLAKE3 trees of files whose byte i is i modulo 251.

use crate::json::hex;
use lockstep_protocol::tree::{
    chunks, depth, frontier, hash, opening_bytes, prove_child, prove_open, subtree, Span, CHUNK,
};
use lockstep_protocol::Hash;
use scale::Encode;
use serde_json::{json, Value};

/// Around the sizes at which a file gets another chunk, level or frontier.
const LENGTHS: [u64; 22] = [
    0,
    1,
    32,
    63,
    64,
    1023,
    1024,
    1025,
    2048,
    2049,
    3 * CHUNK,
    5 * CHUNK + 7,
    8 * CHUNK,
    31 * CHUNK + 1000,
    33 * CHUNK,
    64 * CHUNK - 1,
    64 * CHUNK,
    64 * CHUNK + 1,
    100 * CHUNK + 512,
    130 * CHUNK,
    4096 * CHUNK,
    4096 * CHUNK + 1,
];

pub fn vectors() -> Value {
    LENGTHS
        .into_iter()
        .map(|len| {
            let file: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let whole = Span::whole(len);
            let mut descents = vec![descent(&file, whole)];
            for span in ends(&frontier(whole)) {
                if span.count > 1 {
                    descents.push(descent(&file, span));
                }
            }
            let last = chunks(len) - 1;
            let mut opened = vec![0, last / 2, last];
            opened.dedup();
            json!({
                "length": len,
                "root": hex(&hash(&file)),
                "chunks": chunks(len),
                "depth": depth(len),
                "opening_bytes": opening_bytes(len),
                "descents": descents,
                "openings": opened
                    .into_iter()
                    .map(|chunk| opening(&file, chunk))
                    .collect::<Value>(),
            })
        })
        .collect()
}

/// The first and the last span.
fn ends(spans: &[Span]) -> Vec<Span> {
    let mut ends = vec![spans[0], spans[spans.len() - 1]];
    ends.dedup();
    ends
}

/// What a reveal of a subtree shows, and the ways back up from its first, middle and last entry.
fn descent(file: &[u8], span: Span) -> Value {
    let len = file.len() as u64;
    let value = |span: Span| {
        let range = span.byte_range(len);
        subtree(&file[range.start as usize..range.end as usize], len, span)
    };
    let spans = frontier(span);
    let values: Vec<Hash> = spans.iter().map(|span| value(*span)).collect();
    let mut indices = vec![0, spans.len() / 2, spans.len() - 1];
    indices.dedup();
    let children = indices.into_iter().map(|index| {
        let siblings = prove_child(file, span, index as u32);
        json!({
            "index": index,
            "value": hex(&values[index]),
            "siblings": siblings.iter().map(|s| hex(s)).collect::<Value>(),
        })
    });
    json!({
        "first": span.first,
        "count": span.count,
        "value": hex(&value(span)),
        "spans": spans.iter().map(|s| json!([s.first, s.count])).collect::<Value>(),
        "reveal_hash": hex(&hash(&values.concat())),
        "children": children.collect::<Value>(),
    })
}

fn opening(file: &[u8], chunk: u64) -> Value {
    let opening = prove_open(file, chunk * CHUNK);
    json!({
        "chunk": chunk,
        "path": opening.path.iter().map(|value| hex(value)).collect::<Value>(),
        "encoding_bytes": opening.encode().len(),
        "encoding_hash": hex(&hash(&opening.encode())),
    })
}
