//! BLAKE3 of the state where it lies, by the kernels of `blake3.cuh`.

use super::codegen::{Launch, Source, PRELUDE};
use super::device::{Device, Memory};
use crate::Error;
use lockstep_protocol::Hash;

/// Bytes of a chunk, a leaf of BLAKE3's tree.
const CHUNK: u64 = 1024;

/// Threads of a block.
const BLOCK: u32 = 128;

/// Hashes tensors that always lie at the same offsets.
pub struct Hasher<D: Device> {
    module: D::Module,
    levels: Vec<Level>,
    tables: D::Memory,
    /// The chaining values of a level and of the one above it, in turn.
    values: [D::Memory; 2],
    tensors: usize,
}

/// One launch: the chunks, or the parents of what the launch before it gave.
struct Level {
    launch: Launch,
    /// Chaining values that are written.
    outputs: u64,
    /// The table's first byte among the tables.
    table: u64,
}

impl<D: Device> Hasher<D> {
    /// A hasher of tensors given by their offset and length in bytes.
    ///
    /// # Errors
    /// When the kernels cannot be compiled, or the device has not enough memory.
    pub fn new(device: &D, tensors: &[(u64, u64)]) -> Result<Hasher<D>, Error> {
        let chunks = |bytes: u64| bytes.div_ceil(CHUNK);
        let mut counts: Vec<u64> = tensors.iter().map(|(_, bytes)| chunks(*bytes)).collect();
        let mut words: Vec<u64> = Vec::new();
        let mut levels = Vec::new();
        let mut level = |entry: &str, outputs: &[u64], rows: Vec<[u64; 2]>| {
            let table = words.len() as u64 * 8;
            let total: u64 = outputs.iter().sum();
            words.extend([outputs.len() as u64, total]);
            let mut before = 0;
            for (count, row) in outputs.iter().zip(rows) {
                words.extend([before, row[0], row[1]]);
                before += count;
            }
            let grid = [total.div_ceil(BLOCK as u64) as u32, 1, 1];
            levels.push(Level {
                launch: launch(entry, grid),
                outputs: total,
                table,
            });
        };
        let rows = tensors.iter().map(|(offset, bytes)| [*offset, *bytes]);
        level("lockstep_chunks", &counts, rows.collect());
        while counts.iter().any(|count| *count > 1) {
            let parents: Vec<u64> = counts.iter().map(|count| count.div_ceil(2)).collect();
            let mut before = 0;
            let row = |count: &u64| {
                before += count;
                [before - count, *count]
            };
            level(
                "lockstep_parents",
                &parents,
                counts.iter().map(row).collect(),
            );
            counts = parents;
        }
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let tables = device.allocate(bytes.len() as u64)?;
        // SAFETY: it has just been allocated with this length.
        unsafe { device.upload(tables.address(), &bytes)? };
        let most = |parity: usize| {
            let outputs = levels.iter().skip(parity).step_by(2).map(|l| l.outputs);
            device.allocate(outputs.max().unwrap_or(0) * 32)
        };
        Ok(Hasher {
            module: device.compile(&source())?,
            values: [most(0)?, most(1)?],
            levels,
            tables,
            tensors: tensors.len(),
        })
    }

    /// The hashes of the tensors in the memory at `address`.
    ///
    /// # Errors
    /// When the device fails.
    ///
    /// # Safety
    /// The tensors' bytes, up to a multiple of 256 each, lie inside one memory that is alive.
    pub unsafe fn run(&self, device: &D, address: u64) -> Result<Vec<Hash>, Error> {
        let mut from = address;
        for (k, level) in self.levels.iter().enumerate() {
            let to = self.values[k % 2].address();
            let table = self.tables.address() + level.table;
            device.launch(&self.module, &level.launch, &[to, from, table])?;
            from = to;
        }
        let mut bytes = vec![0; self.tensors * 32];
        device.download(from, &mut bytes)?;
        let (hashes, _) = bytes.as_chunks::<32>();
        Ok(hashes.to_vec())
    }
}

fn launch(entry: &str, grid: [u32; 3]) -> Launch {
    Launch {
        entry: entry.into(),
        arguments: 3,
        grid,
        block: BLOCK,
        shared: 0,
        barriers: false,
    }
}

/// The kernels, which stand in one text.
pub fn source() -> Source {
    let entry = |name: &str| (launch(name, [1, 1, 1]), String::new());
    Source {
        common: format!("{PRELUDE}{}", include_str!("kernels/blake3.cuh")),
        entries: vec![entry("lockstep_chunks"), entry("lockstep_parents")],
    }
}
