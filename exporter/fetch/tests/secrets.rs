//! No secret in a log, at any level.

#![allow(clippy::unwrap_used, reason = "a test stops where its ground gives way")]

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};

use millrace_directory::ExposeSecret;
use support::sign::Request;
use support::{BUCKET, House};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn requests_leave_no_token_secret_or_signature_in_a_log_of_any_level() {
    let lines = Lines::default();
    let written = lines.clone();
    let everything = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || written.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(everything);
    let house = House::new().await;
    house.put("v1/account_id=12/x", "x").await;
    let gateway = house.gateway().await;
    let credential = house.credential(None, None);
    let good = Request::get(gateway.address, &credential, house.now_ms(), &format!("/{BUCKET}/v1/account_id=12/x"));
    let forged = Request { secret: "guessed".into(), ..good.clone() };
    let outside = Request { path: format!("/{BUCKET}/v1/account_id=1/x"), ..good.clone() };
    assert_eq!(good.send().await.status, 200);
    assert_eq!(good.send_presigned().await.status, 200);
    assert_eq!(forged.send().await.status, 403);
    assert_eq!(forged.send_presigned().await.status, 403);
    assert_eq!(outside.send().await.status, 403);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains(&credential.access_key_id), "the test sees the log: {text}");
    assert!(text.contains("bytes_out=1"), "the line says how much was sent: {text}");
    let signature = good.presigned().rsplit_once("X-Amz-Signature=").unwrap().1.to_owned();
    for secret in [
        credential.secret_access_key.expose_secret(),
        credential.session_token.expose_secret(),
        signature.as_str(),
        "X-Amz-Signature",
        "Signature=",
        "x-amz-security-token",
    ] {
        assert!(!text.contains(secret), "{secret} is in the log:\n{text}");
    }
}
