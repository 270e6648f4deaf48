//! Any bytes as a file of tokens and as one of records, for any windows and fields.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use lockstep_data::{Dataset, Field, Layout, Windows};
use lockstep_data_fuzz::DTYPES;
use std::path::PathBuf;

#[derive(Debug, Arbitrary)]
struct Shape {
    token: u8,
    context: u16,
    stride: u16,
    share: u8,
    fields: [(u8, u16); 3],
}

/// Cuts the file both ways; `None` where there are no windows or fields like these.
fn read(shape: &Shape, path: &PathBuf) -> Option<()> {
    let share = f64::from(shape.share) / 255.0;
    let windows = Windows {
        dtype: DTYPES[shape.token as usize % DTYPES.len()],
        context: u32::from(shape.context).max(1),
        stride: u32::from(shape.stride).max(1),
    };
    let layout = windows.layout().ok()?;
    let _ = windows.split(path, &layout, share);
    if let Ok(dataset) = windows.read(path, &layout) {
        let _ = dataset.hold_out(&layout, share);
    }
    let field = |&(dtype, count): &(u8, u16)| {
        let dtype = DTYPES[dtype as usize % DTYPES.len()];
        Field::new("x", dtype, u32::from(count))
    };
    let fields: Vec<Field> = shape.fields.iter().map(field).collect();
    let used = fields.iter().take_while(|field| field.count > 0).cloned();
    let layout = Layout::packed(used.collect()).ok()?;
    let dataset = Dataset::raw(path, &layout).ok()?;
    let _ = dataset.check(&layout, "x", |word| (word > 9).then(String::new));
    let _ = dataset.hold_out(&layout, share);
    Some(())
}

fuzz_target!(|bytes: &[u8]| {
    let mut u = Unstructured::new(bytes);
    let Ok(shape) = Shape::arbitrary(&mut u) else {
        return;
    };
    let path = std::env::temp_dir().join(format!("lockstep-fuzz-{}", std::process::id()));
    std::fs::write(&path, u.take_rest()).expect("the folder of temporary files takes a file");
    read(&shape, &path);
});
