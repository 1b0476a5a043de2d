//! Writes the golden segment of the present format, for a release that changes it: `cargo run --example golden_segment FILE`.
//! Files that are there are never written again: every format ever written must be read.

use std::fs::OpenOptions;
use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args_os().nth(1).ok_or("say which file to write")?;
    let bytes = millrace_exporter_write::measured::golden::segment()?;
    OpenOptions::new().write(true).create_new(true).open(file)?.write_all(&bytes)?;
    Ok(())
}
