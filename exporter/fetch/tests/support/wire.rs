//! HTTP said word for word: doubled headers, odd paths and all.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than any answer should take.
const DEADLINE: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The text of the first element of that name.
    pub fn element(&self, name: &str) -> Option<&str> {
        self.elements(name).into_iter().next()
    }

    /// The texts of all elements of that name.
    pub fn elements(&self, name: &str) -> Vec<&str> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        self.body.split(&open).skip(1).filter_map(|rest| rest.split(&close).next()).collect()
    }

    /// Status and S3's code.
    pub fn refusal(&self) -> (u16, &str) {
        (self.status, self.element("Code").unwrap_or_default())
    }
}

/// Sends one request on a connection of its own.
pub async fn send(address: SocketAddr, method: &str, target: &str, headers: &[(String, String)]) -> Answer {
    rest(begin(address, method, target, headers).await).await
}

/// Sends one request and leaves the answer to be read.
pub async fn begin(address: SocketAddr, method: &str, target: &str, headers: &[(String, String)]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// The answer on a connection.
pub async fn rest(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A refusal of a too large head may come with a reset behind it.
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("an answer in time");
    read(&String::from_utf8_lossy(&bytes))
}

fn read(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status line");
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Answer { status, headers, body: body.to_owned() }
}
