//! The gateway from outside: who gets in, and what they get.

#![allow(clippy::unwrap_used, reason = "a test stops where its ground gives way")]

mod support;

use millrace_directory::mint::ScopedCredential;
use object_store::RetryConfig;
use object_store::aws::AmazonS3Builder;
use std::sync::Arc;
use support::sign::Request;
use support::{BUCKET, Gateway, House, key_entropy, keys};

const PART: &str =
    "v1/account_id=12/type=decisions/date=2026-03-01/experiment=e%3A1/part-000000-00010-0000-g0.snappy.parquet";

/// A house with one file of each kind, and its gateway.
async fn open() -> (House, Gateway) {
    let house = House::new().await;
    house.put(PART, "0123456789").await;
    house.put("v1/account_id=12/type=events/date=2026-03-01/_SUCCESS", "").await;
    house.put("v1/account_id=123/type=decisions/date=2026-03-01/secret.parquet", "theirs").await;
    house.put("rejected/v1/account_id=12/date=2026-03-01/part.parquet", "rejects").await;
    house.put("audit/v1/account_id=12/date=2026-03-01/part.parquet", "audit").await;
    house.put("_millrace/segments/log-1/x", "ours").await;
    let gateway = house.gateway().await;
    (house, gateway)
}

fn object(house: &House, gateway: &Gateway, credential: &ScopedCredential, key: &str) -> Request {
    Request::get(gateway.address, credential, house.now_ms(), &format!("/{BUCKET}/{key}"))
}

fn bucket(house: &House, gateway: &Gateway, credential: &ScopedCredential) -> Request {
    Request::get(gateway.address, credential, house.now_ms(), &format!("/{BUCKET}"))
}

#[tokio::test]
async fn an_object_comes_whole_with_what_there_is_to_know_of_it() {
    let (house, gateway) = open().await;
    let credential = house.credential(None, None);
    let answer = object(&house, &gateway, &credential, PART).send().await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "0123456789"));
    assert_eq!(answer.header("content-length"), Some("10"));
    assert_eq!(answer.header("accept-ranges"), Some("bytes"));
    assert!(answer.header("etag").is_some_and(|tag| tag.starts_with('"') && tag.ends_with('"')));
    assert!(answer.header("last-modified").is_some_and(|date| date.ends_with(" GMT")));
    assert!(answer.header("x-amz-request-id").is_some_and(|id| !id.is_empty()));
    assert_eq!(answer.header("x-amz-server-side-encryption"), None);
    let head = object(&house, &gateway, &credential, PART).method("HEAD").send().await;
    assert_eq!((head.status, head.body.as_str(), head.header("content-length")), (200, "", Some("10")));
    assert_eq!(
        (head.header("etag"), head.header("last-modified")),
        (answer.header("etag"), answer.header("last-modified"))
    );
    let missing = object(&house, &gateway, &credential, "v1/account_id=12/nothing").send().await;
    assert_eq!(missing.refusal(), (404, "NoSuchKey"));
}

#[tokio::test]
async fn encryption_at_rest_is_told() {
    let mut house = House::new().await;
    house.put(PART, "x").await;
    house.services.config.encryption = Some(millrace_exporter_fetch::Encryption::AwsKms);
    let gateway = house.gateway().await;
    let credential = house.credential(None, None);
    for method in ["GET", "HEAD"] {
        let answer = object(&house, &gateway, &credential, PART).method(method).send().await;
        assert_eq!(answer.header("x-amz-server-side-encryption"), Some("aws:kms"), "{method}");
    }
}

#[tokio::test]
async fn a_range_is_a_part_and_one_beyond_the_end_is_refused() {
    let (house, gateway) = open().await;
    let credential = house.credential(None, None);
    for (range, body, content_range) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=-99", "0123456789", "bytes 0-9/10"),
        ("bytes=5-99", "56789", "bytes 5-9/10"),
    ] {
        let answer = object(&house, &gateway, &credential, PART).header("range", range).send().await;
        assert_eq!((answer.status, answer.body.as_str()), (206, body), "{range}");
        assert_eq!(answer.header("content-range"), Some(content_range), "{range}");
        assert_eq!(answer.header("content-length"), Some(body.len().to_string().as_str()), "{range}");
    }
    for range in ["bytes=10-", "bytes=99-100", "bytes=-0"] {
        let answer = object(&house, &gateway, &credential, PART).header("range", range).send().await;
        assert_eq!(answer.refusal(), (416, "InvalidRange"), "{range}");
        assert_eq!(answer.header("content-range"), Some("bytes */10"), "{range}");
    }
}

#[tokio::test]
async fn an_empty_object_has_no_part() {
    let (house, gateway) = open().await;
    let credential = house.credential(None, None);
    let success = "v1/account_id=12/type=events/date=2026-03-01/_SUCCESS";
    let whole = object(&house, &gateway, &credential, success).send().await;
    assert_eq!((whole.status, whole.header("content-length")), (200, Some("0")));
    for range in ["bytes=0-", "bytes=0-0", "bytes=-5"] {
        let answer = object(&house, &gateway, &credential, success).header("range", range).send().await;
        assert_eq!(answer.refusal(), (416, "InvalidRange"), "{range}");
    }
}

#[tokio::test]
async fn a_large_object_arrives_byte_for_byte() {
    let house = House::new().await;
    let text: String = (0..200_000).map(|line| format!("{line:07}\n")).collect();
    house.put(PART, &text).await;
    let gateway = house.gateway().await;
    let credential = house.credential(None, None);
    let answer = object(&house, &gateway, &credential, PART).send().await;
    assert!(answer.body == text, "{} of {} bytes", answer.body.len(), text.len());
    let part = object(&house, &gateway, &credential, PART).header("range", "bytes=300001-900000").send().await;
    assert!(part.body == text[300_001..=900_000]);
}

#[tokio::test]
async fn an_answer_the_store_cuts_in_the_middle_never_looks_whole() {
    let (house, gateway) = open().await;
    let text = "0123456789abcdef".repeat(2 << 20); // more than sockets hold
    house.put(PART, &text).await;
    let credential = house.credential(None, None);
    let (target, headers) = object(&house, &gateway, &credential, PART).signed();
    let stream = support::wire::begin(gateway.address, "GET", &target, &headers).await;
    stream.readable().await.unwrap();
    std::fs::OpenOptions::new().write(true).open(house.folder.path().join(PART)).unwrap().set_len(64).unwrap();
    let answer = support::wire::rest(stream).await;
    assert_eq!((answer.status, answer.header("content-length")), (200, Some(text.len().to_string().as_str())));
    assert!(answer.body.len() < text.len() && text.starts_with(&answer.body), "{} bytes", answer.body.len());
}

#[tokio::test]
async fn conditions_are_those_of_http() {
    let (house, gateway) = open().await;
    let credential = house.credential(None, None);
    let known = object(&house, &gateway, &credential, PART).send().await;
    let (tag, date) = (known.header("etag").unwrap(), known.header("last-modified").unwrap());
    let (before, after) = ("Mon, 01 Jan 2024 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT");
    for (name, value, status) in [
        ("if-none-match", tag, 304),
        ("if-none-match", "*", 304),
        ("if-none-match", "\"other\"", 200),
        ("if-modified-since", date, 304),
        ("if-modified-since", after, 304),
        ("if-modified-since", before, 200),
        ("if-match", tag, 200),
        ("if-match", "*", 200),
        ("if-match", "\"other\"", 412),
        ("if-unmodified-since", date, 200),
        ("if-unmodified-since", before, 412),
    ] {
        for method in ["GET", "HEAD"] {
            let request = object(&house, &gateway, &credential, PART).method(method).header(name, value);
            let answer = request.send().await;
            assert_eq!(answer.status, status, "{method} with {name}: {value}");
            if status == 304 {
                assert_eq!((answer.body.as_str(), answer.header("etag")), ("", Some(tag)), "{method} {name}");
            }
        }
    }
    let both =
        object(&house, &gateway, &credential, PART).header("if-match", tag).header("if-unmodified-since", before);
    assert_eq!(both.send().await.status, 200, "a matching tag decides alone");
    let both =
        object(&house, &gateway, &credential, PART).header("if-none-match", "\"o\"").header("if-modified-since", after);
    assert_eq!(both.send().await.status, 200, "a differing tag decides alone");
}

/// A store that fails whenever it is asked anything: what is refused all the same was refused before.
fn failing_store() -> Arc<dyn object_store::ObjectStore> {
    let store = AmazonS3Builder::new()
        .with_endpoint("http://127.0.0.1:1")
        .with_allow_http(true)
        .with_bucket_name("nowhere")
        .with_access_key_id("a")
        .with_secret_access_key("b")
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() });
    Arc::new(store.build().unwrap())
}

#[tokio::test]
async fn what_is_outside_the_scope_is_refused_before_the_store_is_asked_and_looks_alike() {
    let (mut house, open) = open().await;
    house.services.store = failing_store();
    let blind = house.gateway().await;
    let credential = house.credential(None, None);
    assert_eq!(object(&house, &blind, &credential, PART).send().await.refusal(), (503, "ServiceUnavailable"));
    let reference = object(&house, &open, &credential, "v1/account_id=123/missing").send().await;
    assert_eq!(reference.refusal(), (403, "AccessDenied"));
    for gateway in [&open, &blind] {
        for key in [
            "v1/account_id=123/type=decisions/date=2026-03-01/secret.parquet",
            "v1/account_id=123/missing",
            "v1/account_id=1",
            "v1/",
            "_millrace/segments/log-1/x",
            "_millrace/missing",
            "rejected/v1/account_id=12/date=2026-03-01/part.parquet",
            "audit/v1/account_id=12/date=2026-03-01/part.parquet",
            "v1/account_id=12/../account_id=123/type=decisions/date=2026-03-01/secret.parquet",
            "v1/account_id=12/type=decisions/../../account_id=123/type=decisions/date=2026-03-01/secret.parquet",
            "v1/account_id=12/%2e%2e/account_id=123/type=decisions/date=2026-03-01/secret.parquet",
            "v1/account_id=12/type=decisions//date=2026-03-01/x",
            "/v1/account_id=12/type=decisions/x",
        ] {
            let answer = object(&house, gateway, &credential, key).send().await;
            assert_eq!((answer.status, &answer.body), (403, &reference.body), "GET {key}");
            let answer = object(&house, gateway, &credential, key).method("HEAD").send().await;
            assert_eq!((answer.status, answer.body.as_str()), (403, ""), "HEAD {key}");
        }
        for prefix in ["", "v1", "v1/", "v1/account_id=12", "v1/account_id=123/", "_millrace/", "v1/account_id=12/.."] {
            for version in ["1", "2"] {
                let request = bucket(&house, gateway, &credential).query("list-type", version).query("prefix", prefix);
                let answer = request.send().await;
                assert_eq!((answer.status, &answer.body), (403, &reference.body), "list {prefix:?}");
            }
        }
        for path in ["/", "/other-bucket", "/other-bucket/v1/account_id=12/x"] {
            let answer = Request::get(gateway.address, &credential, house.now_ms(), path).send().await;
            assert_eq!((answer.status, &answer.body), (403, &reference.body), "{path}");
        }
    }
}

#[tokio::test]
async fn a_narrow_credential_opens_its_type_and_day_only() {
    let (house, gateway) = open().await;
    let other = "v1/account_id=12/type=events/date=2026-03-01/_SUCCESS";
    for (export, date, opens) in [
        (None, None, true),
        (Some("decisions"), None, true),
        (Some("decisions"), Some("2026-03-01"), true),
        (Some("decisions"), Some("2026-02-28..2026-03-02"), true),
        (Some("decisions"), Some("2026-03-02"), false),
        (Some("decisions"), Some("2026-03-02..2026-03-09"), false),
        (Some("events"), None, false),
        (Some("rejected"), None, false),
    ] {
        let credential = house.credential(export, date);
        let answer = object(&house, &gateway, &credential, PART).send().await;
        assert_eq!(answer.status == 200, opens, "{export:?} {date:?}: {}", answer.status);
        let answer = object(&house, &gateway, &credential, other).send().await;
        assert_eq!(answer.status == 200, matches!(export, None | Some("events")), "{export:?} {date:?}");
    }
    let rejected = house.credential(Some("rejected"), Some("2026-03-01"));
    let answer =
        object(&house, &gateway, &rejected, "rejected/v1/account_id=12/date=2026-03-01/part.parquet").send().await;
    assert_eq!(answer.body, "rejects");
}

#[tokio::test]
async fn everything_but_six_reads_is_access_denied() {
    let (house, gateway) = open().await;
    let credential = house.credential(None, None);
    for method in ["PUT", "POST", "DELETE", "PATCH", "OPTIONS"] {
        for request in [object(&house, &gateway, &credential, PART), bucket(&house, &gateway, &credential)] {
            assert_eq!(request.method(method).send().await.refusal(), (403, "AccessDenied"), "{method}");
        }
    }
    for what in ["acl", "tagging", "attributes", "torrent", "uploadId", "retention", "legal-hold"] {
        let answer = object(&house, &gateway, &credential, PART).query(what, "").send().await;
        assert_ne!(answer.status, 200, "?{what}");
        assert!((400..500).contains(&answer.status), "?{what}: {}", answer.status);
    }
    for what in ["acl", "uploads", "versions", "policy", "versioning", "cors", "encryption", "session"] {
        let answer = bucket(&house, &gateway, &credential).query(what, "").send().await;
        assert_eq!(answer.refusal(), (403, "AccessDenied"), "?{what}");
    }
    let answer = bucket(&house, &gateway, &credential).query("location", "").send().await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("LocationConstraint") && !answer.body.contains("us-"), "{}", answer.body);
    let answer = bucket(&house, &gateway, &credential).method("HEAD").send().await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
}

#[tokio::test]
async fn a_session_token_is_needed_and_must_be_the_credentials_own() {
    let (house, gateway) = open().await;
    let credential = house.credential(Some("events"), None);
    let wide = house.credential(None, None);
    let request = object(&house, &gateway, &wide, PART);
    assert_eq!(request.send().await.status, 200);
    let with_token = |token: Option<String>| Request { token, ..request.clone() };
    assert_eq!(with_token(None).send().await.refusal(), (403, "AccessDenied"));
    assert_eq!(with_token(None).send_presigned().await.refusal(), (403, "AccessDenied"));
    assert_eq!(with_token(Some(String::new())).send().await.refusal(), (403, "AccessDenied"));
    let mut altered = request.token.clone().unwrap();
    let middle = altered.len() / 2;
    altered.replace_range(middle..=middle, if &altered[middle..=middle] == "A" { "B" } else { "A" });
    assert_eq!(with_token(Some(altered)).send().await.refusal(), (403, "AccessDenied"));
    let narrow_key_wide_token = Request { token: request.token.clone(), ..object(&house, &gateway, &credential, PART) };
    assert_eq!(narrow_key_wide_token.send().await.refusal(), (403, "AccessDenied"));
    let wrong_secret = Request { secret: "guessed".into(), ..request.clone() };
    assert_eq!(wrong_secret.send().await.refusal(), (403, "SignatureDoesNotMatch"));
    let unknown_key = Request { access_key_id: "AKIAIOSFODNN7EXAMPLE".into(), ..request };
    assert_eq!(unknown_key.send().await.refusal(), (403, "InvalidAccessKeyId"));
}

#[tokio::test]
async fn a_credential_ends_when_it_said_it_would() {
    let (house, gateway) = open().await;
    let credential = house.credential(None, None);
    house.world.clock.set_wall(credential.expiration_ms - 1_000);
    assert_eq!(object(&house, &gateway, &credential, PART).send().await.status, 200);
    house.world.clock.set_wall(credential.expiration_ms);
    let over = object(&house, &gateway, &credential, PART);
    assert_eq!(over.send().await.element("Code"), Some("ExpiredToken"));
    assert_eq!(over.send_presigned().await.element("Code"), Some("ExpiredToken"));
}

#[tokio::test]
async fn credentials_outlive_a_rotation_of_the_server_keys() {
    let (mut house, _before) = open().await;
    let credential = house.credential(None, None);
    let now_ms = house.now_ms();
    let announced = keys(1).announce(key_entropy(77)).unwrap();
    house.services.keys = Arc::new(announced.rotate(now_ms, now_ms).unwrap());
    let after = house.gateway().await;
    assert_eq!(object(&house, &after, &credential, PART).send().await.status, 200);
    house.services.keys = Arc::new(keys(77));
    let replaced = house.gateway().await;
    assert_eq!(object(&house, &replaced, &credential, PART).send().await.refusal(), (403, "InvalidAccessKeyId"));
}

#[tokio::test]
async fn clocks_may_differ_by_a_quarter_of_an_hour() {
    let (house, gateway) = open().await;
    let credential = house.credential(None, None);
    let minute = 60_000;
    for (off, code) in
        [(-14, None), (14, None), (-16, Some("RequestTimeTooSkewed")), (16, Some("RequestTimeTooSkewed"))]
    {
        let mut request = object(&house, &gateway, &credential, PART);
        request.now_ms += off * minute;
        assert_eq!(request.send().await.element("Code"), code, "{off} minutes");
    }
}

#[tokio::test]
async fn a_presigned_url_works_until_it_expires() {
    let (house, gateway) = open().await;
    let credential = house.credential(None, None);
    let request = object(&house, &gateway, &credential, PART);
    assert_eq!(request.send_presigned().await.body, "0123456789");
    let ranged = request.clone().unsigned("range", "bytes=0-1");
    assert_eq!(ranged.send_presigned().await.body, "01");
    let listing = bucket(&house, &gateway, &credential).query("list-type", "2").query("prefix", "v1/account_id=12/");
    assert_eq!(listing.send_presigned().await.elements("Key").len(), 2);
    let mut late = request.clone();
    late.now_ms -= 301_000;
    assert_eq!(late.send_presigned().await.refusal(), (403, "AccessDenied"));
    late.expires_s = 400;
    assert_eq!(late.send_presigned().await.status, 200);
    let mut early = request.clone();
    early.now_ms += 16 * 60_000;
    assert_eq!(early.send_presigned().await.refusal(), (403, "RequestTimeTooSkewed"));
    for expires_s in [0, -1, 7 * 24 * 3_600 + 1] {
        let answer = Request { expires_s, ..request.clone() }.send_presigned().await;
        assert_eq!(answer.refusal(), (400, "InvalidArgument"), "{expires_s} s");
    }
    let other = Request { path: request.path.replace("account_id=12", "account_id=123"), ..request.clone() };
    assert_eq!(other.send_presigned().await.refusal(), (403, "AccessDenied"));
    let moved = request.presigned().replace("experiment%3De%253A1", "experiment%3De%253A2");
    let answer = support::wire::send(gateway.address, "GET", &moved, &[("host".into(), request.host.clone())]).await;
    assert_eq!(answer.refusal(), (403, "SignatureDoesNotMatch"));
}

#[tokio::test]
async fn two_of_a_deciding_header_or_parameter_are_refused() {
    let (house, gateway) = open().await;
    let credential = house.credential(None, None);
    let request = object(&house, &gateway, &credential, PART);
    let (token, host) = (request.token.clone().unwrap(), request.host.clone());
    for (name, value) in [
        ("x-amz-security-token", token.as_str()),
        ("x-amz-date", "20260301T000000Z"),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ("authorization", "AWS4-HMAC-SHA256 x"),
        ("host", host.as_str()),
    ] {
        let answer = request.clone().unsigned(name, value).send().await;
        assert_eq!(answer.status, 400, "{name} twice: {}", answer.body);
    }
    let ranges = request.clone().unsigned("range", "bytes=0-1").unsigned("Range", "bytes=2-3");
    assert_eq!(ranges.send().await.refusal(), (400, "InvalidRequest"));
    let listing = bucket(&house, &gateway, &credential).query("prefix", "v1/account_id=12/").query("prefix", "v1/");
    assert_eq!(listing.send().await.refusal(), (400, "InvalidArgument"));
    let listing = bucket(&house, &gateway, &credential).query("prefix", "v1/account_id=12/").query("Prefix", "v1/");
    assert_eq!(listing.send().await.refusal(), (400, "InvalidArgument"));
    let both = Request { query: vec![("X-Amz-Signature".into(), "0".repeat(64))], ..request.clone() };
    assert_eq!(both.send().await.refusal(), (400, "InvalidArgument"));
    let old = Request { query: vec![("Signature".into(), "x".into())], ..request.clone() };
    assert_eq!(old.send().await.refusal(), (400, "InvalidArgument"));
    let token_elsewhere = request.clone().query("X-Amz-Security-Token", &token);
    assert_eq!(token_elsewhere.send().await.refusal(), (400, "InvalidArgument"));
}

#[tokio::test]
async fn only_version_4_signatures_over_every_amz_header_are_taken() {
    let (house, gateway) = open().await;
    let credential = house.credential(None, None);
    let request = object(&house, &gateway, &credential, PART);
    let host = ("host".to_owned(), request.host.clone());
    let target = format!("/{BUCKET}/{}", PART.replace('%', "%25"));
    let old = format!("AWS {}:c2lnbmF0dXJl", credential.access_key_id);
    for (headers, code) in [
        (vec![host.clone()], (403, "AccessDenied")),
        (vec![host.clone(), ("authorization".into(), old)], (400, "InvalidRequest")),
        (vec![host.clone(), ("authorization".into(), "Bearer x".into())], (400, "InvalidRequest")),
    ] {
        assert_eq!(support::wire::send(gateway.address, "GET", &target, &headers).await.refusal(), code);
    }
    let url = format!("{target}?AWSAccessKeyId={}&Signature=x&Expires=9999999999", credential.access_key_id);
    assert_eq!(support::wire::send(gateway.address, "GET", &url, &[host]).await.refusal(), (400, "InvalidRequest"));
    for name in ["x-amz-expected-bucket-owner", "x-amz-anything"] {
        let added = request.clone().unsigned(name, "1");
        assert_eq!(added.send().await.refusal(), (403, "AccessDenied"), "{name} unsigned");
        assert_eq!(added.send_presigned().await.refusal(), (403, "AccessDenied"), "{name} unsigned, presigned");
    }
}

#[tokio::test]
async fn any_region_either_style_and_every_encoding_of_a_key_will_do() {
    let (house, gateway) = open().await;
    let credential = house.credential(None, None);
    let request = object(&house, &gateway, &credential, PART);
    for region in ["us-east-1", "auto", "eu-central-1"] {
        assert_eq!(Request { region: region.into(), ..request.clone() }.send().await.status, 200, "{region}");
    }
    let virtual_host =
        Request { path: format!("/{PART}"), host: format!("{BUCKET}.localhost:9000"), ..request.clone() };
    assert_eq!(virtual_host.send().await.body, "0123456789");
    assert_eq!(virtual_host.send_presigned().await.body, "0123456789");
    let other = Request { host: "other-bucket.127.0.0.1.example.com".into(), ..virtual_host.clone() };
    assert_ne!(other.send().await.status, 200);
    let listing = Request { path: "/".into(), ..virtual_host }.query("prefix", "v1/account_id=12/");
    assert_eq!(listing.send().await.elements("Key").len(), 2);
    // `=` may stand in a path as it is; some clients encode it, some do not.
    let plain = format!("/{BUCKET}/{}", PART.replace('%', "%25"));
    assert_eq!(Request { raw_path: Some(plain), ..request.clone() }.send().await.status, 200);
    let house_of_names = ["ä ö+&", "a~b", "日本", "'quoted'"];
    for name in house_of_names {
        let key = format!("v1/account_id=12/type=events/date=2026-03-01/event={name}/part");
        house.put(&key, name).await;
        assert_eq!(object(&house, &gateway, &credential, &key).send().await.body, name);
        assert_eq!(object(&house, &gateway, &credential, &key).send_presigned().await.body, name);
    }
}

#[tokio::test]
async fn a_slash_too_many_after_the_account_is_tolerated() {
    let (house, gateway) = open().await;
    let credential = house.credential(None, None);
    let key = PART.replace("account_id=12/", "account_id=12//");
    assert_eq!(object(&house, &gateway, &credential, &key).send().await.body, "0123456789");
    let listing = bucket(&house, &gateway, &credential).query("list-type", "2").query("delimiter", "/");
    let folders = listing.query("prefix", "v1/account_id=12//type=decisions/").send().await;
    assert_eq!(
        folders.element("CommonPrefixes"),
        Some("<Prefix>v1/account_id=12//type=decisions/date=2026-03-01/</Prefix>")
    );
    let first = bucket(&house, &gateway, &credential).query("prefix", "v1/account_id=12//").query("max-keys", "1");
    let marker = first.send().await.element("Key").unwrap().to_owned();
    assert!(marker.starts_with("v1/account_id=12//type=decisions/"), "{marker}");
    let rest = bucket(&house, &gateway, &credential).query("prefix", "v1/account_id=12//").query("marker", &marker);
    assert_eq!(rest.send().await.elements("Key"), ["v1/account_id=12//type=events/date=2026-03-01/_SUCCESS"]);
}

#[tokio::test]
async fn a_file_in_progress_is_not_there() {
    let (house, gateway) = open().await;
    let folder = "v1/account_id=12/type=decisions/date=2026-03-01/experiment=e%3A1";
    std::fs::write(house.folder.path().join(folder).join("part.parquet#1"), "half").unwrap();
    let credential = house.credential(None, None);
    for (key, status) in
        [(format!("{folder}/part.parquet#1"), 403), (folder.to_owned(), 404), (format!("{PART}/below"), 404)]
    {
        assert_eq!(object(&house, &gateway, &credential, &key).send().await.status, status, "{key}");
    }
    let listing = bucket(&house, &gateway, &credential).query("prefix", folder).send().await;
    assert_eq!(listing.elements("Key"), [PART]);
}

#[tokio::test]
async fn a_gateway_that_stops_finishes_what_it_took() {
    let (house, gateway) = open().await;
    let text = "0123456789abcdef".repeat(2 << 20); // more than sockets hold
    house.put(PART, &text).await;
    let credential = house.credential(None, None);
    let (target, headers) = object(&house, &gateway, &credential, PART).signed();
    let stream = support::wire::begin(gateway.address, "GET", &target, &headers).await;
    stream.readable().await.unwrap();
    house.world.stop.cancel();
    let closed = async {
        while tokio::net::TcpStream::connect(gateway.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(support::directory::DEADLINE, closed).await.expect("takes no more");
    assert!(!gateway.running.is_finished(), "an answer is under way");
    let answer = support::wire::rest(stream).await;
    assert!(answer.body == text, "{} of {} bytes", answer.body.len(), text.len());
    tokio::time::timeout(support::directory::DEADLINE, gateway.running).await.expect("stops in time").unwrap();
}

#[tokio::test]
async fn a_gateway_does_not_wait_for_ever_for_a_client_that_reads_nothing() {
    let (house, gateway) = open().await;
    house.put(PART, &"0123456789abcdef".repeat(2 << 20)).await;
    let credential = house.credential(None, None);
    let (target, headers) = object(&house, &gateway, &credential, PART).signed();
    let stream = support::wire::begin(gateway.address, "GET", &target, &headers).await;
    stream.readable().await.unwrap();
    house.world.stop.cancel();
    let mut running = gateway.running;
    let stopped = async {
        while !running.is_finished() {
            house.world.clock.advance(millrace_exporter_fetch::limits::DRAIN_WAIT);
            tokio::task::yield_now().await;
        }
        (&mut running).await.unwrap();
    };
    tokio::time::timeout(support::directory::DEADLINE, stopped).await.expect("stops in time");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let (house, gateway) = open().await;
    let credential = house.credential(None, None);
    let bound = millrace_exporter_fetch::limits::HEAD_BYTES_MAX;
    let fits = object(&house, &gateway, &credential, PART).header("x-fill", &"x".repeat(bound / 2)).send().await;
    assert_eq!(fits.status, 200);
    let large = object(&house, &gateway, &credential, PART).header("x-fill", &"x".repeat(2 * bound)).send().await;
    assert_eq!(large.status, 431);
}
