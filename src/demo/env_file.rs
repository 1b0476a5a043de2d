//! `demo.env`: lines `export NAME='value'` that a shell can source.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::folder::write_private;

/// The names the file has, in its order. The first three (two addresses and the bucket) may change from start to start.
pub(super) const NAMES: [&str; 8] = [
    "MILLRACE_API",
    "MILLRACE_S3",
    "MILLRACE_BUCKET",
    "MILLRACE_ACCOUNT",
    "MILLRACE_API_KEY",
    "MILLRACE_PAT",
    "MILLRACE_USER",
    "MILLRACE_PASSWORD",
];

/// Where the API and the gateway are reached from this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Urls {
    /// The API's address, `http://host:port`.
    pub api: String,
    /// The gateway's.
    pub s3: String,
}

impl Urls {
    /// The addresses clients on this machine use for listeners bound to these.
    #[must_use]
    pub fn of(api: SocketAddr, s3: SocketAddr) -> Self {
        Self { api: url(api), s3: url(s3) }
    }
}

/// A listener on all interfaces is reached by the loopback one.
fn url(mut bound: SocketAddr) -> String {
    if bound.ip().is_unspecified() {
        bound.set_ip(match bound {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    format!("http://{bound}")
}

/// Whether the text has all the names, so that the first start was finished.
pub(super) fn is_complete(text: &str) -> bool {
    NAMES.iter().all(|name| text.lines().any(|line| is_line_of(line, name)))
}

/// The file's text. `values` are in the order of [`NAMES`].
pub(super) fn text(values: &[&str; NAMES.len()]) -> String {
    NAMES.iter().zip(values).map(|(name, value)| line(name, value)).collect()
}

/// The text with its addresses and its bucket replaced; everything else stays as it is.
pub(super) fn with_places(text: &str, urls: &Urls, bucket: &str) -> String {
    let replaced = text.lines().map(|old| match old {
        _ if is_line_of(old, NAMES[0]) => line(NAMES[0], &urls.api),
        _ if is_line_of(old, NAMES[1]) => line(NAMES[1], &urls.s3),
        _ if is_line_of(old, NAMES[2]) => line(NAMES[2], bucket),
        _ => format!("{old}\n"),
    });
    replaced.collect()
}

/// Writes the file, readable by its owner only.
///
/// # Errors
/// The file system's.
pub(super) fn write(path: &Path, text: &str) -> std::io::Result<()> {
    write_private(path, text.as_bytes())
}

fn line(name: &str, value: &str) -> String {
    // Within single quotes a shell takes everything but a single quote as it is.
    format!("export {name}='{}'\n", value.replace('\'', r"'\''"))
}

fn is_line_of(line: &str, name: &str) -> bool {
    line.strip_prefix("export ").and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('='))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn urls(port: u16) -> Urls {
        Urls::of(([127, 0, 0, 1], port).into(), ([0, 0, 0, 0], port + 1).into())
    }

    #[test]
    fn a_shell_reads_every_value_as_it_was() {
        let values = ["http://127.0.0.1:1", "b", "c d", "$HOME", "`x`", "2:a\\b", "it's", "\"q\""];
        let print = NAMES.map(|name| format!("\"${name}\"")).join(" ");
        let script = format!("{}printf '%s\\n' {print}", text(&values));
        let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().lines().collect::<Vec<_>>(), values);
    }

    #[test]
    fn only_the_addresses_and_the_bucket_are_rewritten() {
        let first = text(&["http://127.0.0.1:1", "http://127.0.0.1:2", "bucket", "demo", "key", "pat", "user", "pass"]);
        let edited = format!("# mine\n{first}export MILLRACE_API_KEY_2='mine too'\n");
        let rewritten = with_places(&edited, &urls(7_000), "exports");
        let expected = edited
            .replace("http://127.0.0.1:1", "http://127.0.0.1:7000")
            .replace("http://127.0.0.1:2", "http://127.0.0.1:7001")
            .replace("'bucket'", "'exports'");
        assert_eq!(rewritten, expected, "the unspecified address becomes the loopback one");
    }

    #[test]
    fn a_file_that_lacks_a_name_is_not_complete() {
        let whole = text(&["1"; NAMES.len()]);
        assert!(is_complete(&whole));
        for missing in whole.lines() {
            assert!(!is_complete(&whole.replace(&format!("{missing}\n"), "")), "{missing}");
        }
    }
}
