//! `lockstep report`: a task in pictures.

use crate::args::ReportArgs;
use crate::context::Context;
use crate::report;
use crate::screen::print_json;
use anyhow::{Context as _, Result};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Writes the page, and beside it a PNG file for each picture, whose name begins as the page's.
pub fn run(context: &Context, args: &ReportArgs) -> Result<()> {
    let limit = Duration::from_millis(args.replay);
    let report = report::gather(context, args.task, limit)?;
    write(&args.output, report.html().as_bytes())?;
    let mut files = vec![args.output.clone()];
    for picture in report.pictures() {
        let file = beside(&args.output, &picture.name);
        write(&file, &picture.scene.png()?)?;
        files.push(file);
    }
    if context.json {
        return print_json(&json!({ "files": files }));
    }
    for file in files {
        println!("wrote {}", file.display());
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// `report-loss.png` for the page `report.html`.
fn beside(page: &Path, name: &str) -> PathBuf {
    let stem = page.file_stem().unwrap_or_default().to_string_lossy();
    page.with_file_name(format!("{stem}-{name}.png"))
}
