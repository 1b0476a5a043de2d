//! Pages that are made from the code: they must say what the code says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::fmt::Write;
use std::path::{Path, PathBuf};

const INTRO: &str = "# Limits

Everything in Millrace is bounded, and every bound is here; a setting out of its range is refused with the range named. This page is made
from the `limits.rs` of each crate: after a change, run `MILLRACE_WRITE_DOCS=1 cargo test --release --test docs`.
";

#[test]
fn the_page_of_limits_says_what_the_code_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    limits_files(root, &mut files);
    files.sort();
    assert!(!files.is_empty(), "the crates have limits.rs files");
    let mut page = INTRO.to_owned();
    for file in files {
        let name = file.strip_prefix(root).unwrap().parent().unwrap().parent().unwrap().display().to_string();
        let name = if name.is_empty() { "the binary".to_owned() } else { name };
        let limits = limits(&std::fs::read_to_string(&file).unwrap());
        assert!(!limits.is_empty(), "{} holds no limit", file.display());
        write!(page, "\n## {name}\n\n| limit | value | what it bounds |\n|---|---|---|\n").unwrap();
        for limit in limits {
            writeln!(page, "| `{}` | `{}` | {} |", limit.name, limit.value, limit.doc).unwrap();
        }
    }
    let path = root.join("docs/LIMITS.md");
    if std::env::var_os("MILLRACE_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    // Line by line: the whole page in a message helps nobody.
    let lines = page.lines().zip(written.lines().chain(std::iter::repeat("")));
    for (number, (of_code, of_page)) in (1..).zip(lines) {
        assert_eq!(of_page, of_code, "docs/LIMITS.md:{number} (left) is not what the code says (right)");
    }
    assert_eq!(written, page, "docs/LIMITS.md has more than the code says");
}

struct Limit {
    name: String,
    value: String,
    doc: String,
}

/// The public constants of a file: `/// what it bounds`, then `pub const NAME: Type = value;`, perhaps over lines.
fn limits(code: &str) -> Vec<Limit> {
    let mut found = Vec::new();
    let mut doc = String::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("///") {
            doc.push_str(text);
        } else if let Some(rest) = constant(line) {
            let mut statement = rest.to_owned();
            while !statement.ends_with(';') {
                let next = lines.next().expect("a constant ends in a semicolon").trim();
                write!(statement, " {next}").unwrap();
            }
            let (name, rest) = statement.split_once(':').expect("a constant has a type");
            let value = rest.split_once('=').expect("a constant has a value").1.trim().trim_end_matches(';');
            let doc = std::mem::take(&mut doc).trim().replace('|', "\\|");
            found.push(Limit { name: name.to_owned(), value: value.to_owned(), doc });
        } else if !line.starts_with("#[") {
            doc.clear();
        }
    }
    found
}

fn constant(line: &str) -> Option<&str> {
    line.strip_prefix("pub const ").or_else(|| line.strip_prefix("pub(crate) const "))
}

fn limits_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir()
            && !name.starts_with('.')
            && !["target", "node_modules", "millrace-data"].contains(&name.as_str())
        {
            limits_files(&path, found);
        } else if name == "limits.rs" && path.parent().is_some_and(|parent| parent.ends_with("src")) {
            found.push(path);
        }
    }
}
