//! SigV4 by hand, after its public description, so that a test can sign what no client would.

use std::net::SocketAddr;

use chrono::DateTime;
use hmac::{Hmac, KeyInit, Mac};
use millrace_directory::ExposeSecret;
use millrace_directory::mint::ScopedCredential;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::wire::{Answer, send};

const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PATH: &AsciiSet = &VALUE.remove(b'/');
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// A request about to be signed.
#[derive(Clone)]
pub struct Request {
    pub address: SocketAddr,
    pub method: String,
    /// Not encoded; begins with `/`.
    pub path: String,
    /// As it goes over the wire, where that differs from the usual encoding.
    pub raw_path: Option<String>,
    pub query: Vec<(String, String)>,
    pub host: String,
    /// Signed along.
    pub headers: Vec<(String, String)>,
    /// Added after signing.
    pub unsigned: Vec<(String, String)>,
    pub region: String,
    pub access_key_id: String,
    pub secret: String,
    pub token: Option<String>,
    pub now_ms: i64,
    pub expires_s: i64,
}

impl Request {
    pub fn get(address: SocketAddr, credential: &ScopedCredential, now_ms: i64, path: &str) -> Self {
        Self {
            address,
            method: "GET".into(),
            path: path.into(),
            raw_path: None,
            query: Vec::new(),
            host: address.to_string(),
            headers: Vec::new(),
            unsigned: Vec::new(),
            region: "eu-north-1".into(),
            access_key_id: credential.access_key_id.clone(),
            secret: credential.secret_access_key.expose_secret().to_owned(),
            token: Some(credential.session_token.expose_secret().to_owned()),
            now_ms,
            expires_s: 300,
        }
    }

    pub fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn unsigned(mut self, name: &str, value: &str) -> Self {
        self.unsigned.push((name.into(), value.into()));
        self
    }

    fn target_path(&self) -> String {
        self.raw_path.clone().unwrap_or_else(|| encode_path(&self.path))
    }

    fn dates(&self) -> (String, String) {
        let time = DateTime::from_timestamp_millis(self.now_ms).unwrap();
        (time.format("%Y%m%dT%H%M%SZ").to_string(), time.format("%Y%m%d").to_string())
    }

    /// Signs in the header and sends.
    pub async fn send(&self) -> Answer {
        let (target, headers) = self.signed();
        send(self.address, &self.method, &target, &headers).await
    }

    /// The target and the headers, signed.
    pub fn signed(&self) -> (String, Vec<(String, String)>) {
        let (time, day) = self.dates();
        let mut headers = self.headers.clone();
        headers.push(("host".into(), self.host.clone()));
        headers.push(("x-amz-date".into(), time.clone()));
        headers.push(("x-amz-content-sha256".into(), UNSIGNED.into()));
        headers.extend(self.token.clone().map(|token| ("x-amz-security-token".into(), token)));
        headers.sort();
        let (signed, signature) = self.signature(&headers, &self.query, &time, &day);
        let credential = format!("{}/{day}/{}/s3/aws4_request", self.access_key_id, self.region);
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={signature}");
        headers.push(("authorization".into(), authorization));
        headers.extend(self.unsigned.clone());
        let query = canonical_query(&self.query);
        let target = if query.is_empty() { self.target_path() } else { format!("{}?{query}", self.target_path()) };
        (target, headers)
    }

    /// The presigned target, path and query.
    pub fn presigned(&self) -> String {
        let (time, day) = self.dates();
        let credential = format!("{}/{day}/{}/s3/aws4_request", self.access_key_id, self.region);
        let mut query = self.query.clone();
        for (name, value) in [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("X-Amz-Credential", credential),
            ("X-Amz-Date", time.clone()),
            ("X-Amz-Expires", self.expires_s.to_string()),
            ("X-Amz-SignedHeaders", "host".to_owned()),
        ] {
            query.push((name.into(), value));
        }
        query.extend(self.token.clone().map(|token| ("X-Amz-Security-Token".into(), token)));
        let (_, signature) = self.signature(&[("host".into(), self.host.clone())], &query, &time, &day);
        format!("{}?{}&X-Amz-Signature={signature}", self.target_path(), canonical_query(&query))
    }

    /// Signs in the URL and sends.
    pub async fn send_presigned(&self) -> Answer {
        let mut headers = vec![("host".to_owned(), self.host.clone())];
        headers.extend(self.unsigned.clone());
        send(self.address, &self.method, &self.presigned(), &headers).await
    }

    fn signature(
        &self,
        headers: &[(String, String)],
        query: &[(String, String)],
        time: &str,
        day: &str,
    ) -> (String, String) {
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let signed = headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
        let (path, query) = (encode_path(&self.path), canonical_query(query));
        let canonical = format!("{}\n{path}\n{query}\n{lines}\n{signed}\n{UNSIGNED}", self.method);
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
        let mut key = hmac(format!("AWS4{}", self.secret).as_bytes(), day);
        for part in [self.region.as_str(), "s3", "aws4_request"] {
            key = hmac(&key, part);
        }
        (signed, hex::encode(hmac(&key, &text)))
    }
}

fn encode_path(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}

fn canonical_query(query: &[(String, String)]) -> String {
    let encode = |text: &str| utf8_percent_encode(text, VALUE).to_string();
    let mut pairs: Vec<(String, String)> = query.iter().map(|(name, value)| (encode(name), encode(value))).collect();
    pairs.sort();
    pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}
