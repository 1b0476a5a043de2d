//! The HTTP API as an application sees it.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

use crate::demo::Demo;

/// The API at one address, with one key.
#[derive(Clone)]
pub struct Api {
    client: reqwest::Client,
    base: String,
    key: String,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value; empty where it is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Api {
    /// The API of a running Millrace, with its demo key.
    #[must_use]
    pub fn of(demo: &Demo) -> Self {
        Self::at(demo.api(), demo.api_key())
    }

    /// The API at a base address, with a key.
    #[must_use]
    pub fn at(base: &str, key: &str) -> Self {
        Self { client: client(), base: base.to_owned(), key: key.to_owned() }
    }

    /// The same API with another key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// Posts a body to the Event API.
    ///
    /// # Errors
    /// No answer came: it is unknown whether the events were taken.
    pub async fn post(&self, body: &Value) -> anyhow::Result<Answer> {
        self.post_bytes("/v1/events", &[], body.to_string().into()).await
    }

    /// Posts a body and asserts that it was taken.
    ///
    /// # Panics
    /// The answer is not 204.
    pub async fn post_taken(&self, body: &Value) {
        let answer = self.post(body).await.expect("an answer to an event");
        assert_eq!((answer.status, answer.text().as_str()), (204, ""), "the events were not taken");
    }

    /// Posts bytes with headers of the test's choice besides the key.
    ///
    /// # Errors
    /// No answer came.
    pub async fn post_bytes(&self, path: &str, headers: &[(&str, &str)], body: Bytes) -> anyhow::Result<Answer> {
        let mut request = self.client.post(format!("{}{path}", self.base)).body(body);
        if !self.key.is_empty() {
            request = request.header("X-API-Key", &self.key);
        }
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            request = request.header("Content-Type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request).await
    }

    /// Gets a path, with headers of the test's choice and no key.
    ///
    /// # Errors
    /// No answer came.
    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let mut request = self.client.get(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request).await
    }
}

/// A client that gives up late enough for every answer Millrace promises.
fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(Duration::from_secs(15)).build().expect("a client without TLS can be made")
}

async fn read(request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
    let response = request.send().await.context("sending a request")?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.bytes().await.context("reading an answer")?;
    Ok(Answer { status, headers, body })
}
