//! Listings from outside: both versions, their paging, and what they show of the scope.

#![allow(clippy::unwrap_used, reason = "a test stops where its ground gives way")]

mod support;

use futures::TryStreamExt;
use millrace_directory::ExposeSecret;
use millrace_directory::mint::ScopedCredential;
use millrace_exporter_fetch::limits::CONTINUATION_BYTES_MAX;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use support::sign::Request;
use support::wire::Answer;
use support::{BUCKET, Gateway, House};

const DAY: &str = "v1/account_id=12/type=decisions/date=2026-03-01/";

fn listing(house: &House, gateway: &Gateway, credential: &ScopedCredential, prefix: &str) -> Request {
    let request = Request::get(gateway.address, credential, house.now_ms(), &format!("/{BUCKET}/"));
    request.query("prefix", prefix)
}

/// A day with these experiments, two files each, and what closes a day.
async fn day(house: &House, experiments: &[&str]) {
    for experiment in experiments {
        for file in ["part-000000-00010-0000-g0", "part-000010-00010-0000-g0"] {
            house.put(&format!("{DAY}experiment={experiment}/{file}.snappy.parquet"), file).await;
        }
    }
    house.put(&format!("{DAY}_SUCCESS"), "").await;
    house.put(&format!("{DAY}_manifest.json"), "{}").await;
}

#[tokio::test]
async fn a_day_lists_its_experiments_as_folders() {
    let house = House::new().await;
    day(&house, &["1", "1-b", "2", "NULL"]).await;
    let gateway = house.gateway().await;
    let credential = house.credential(None, None);
    for version in ["1", "2"] {
        let request = listing(&house, &gateway, &credential, DAY).query("list-type", version).query("delimiter", "/");
        let answer = request.send().await;
        let folders = ["1-b", "1", "2", "NULL"].map(|name| format!("<Prefix>{DAY}experiment={name}/</Prefix>"));
        assert_eq!(answer.elements("CommonPrefixes"), folders);
        assert_eq!(answer.elements("Key"), [format!("{DAY}_SUCCESS"), format!("{DAY}_manifest.json")]);
        assert_eq!(answer.element("IsTruncated"), Some("false"));
        assert_eq!(answer.element("KeyCount"), if version == "2" { Some("6") } else { None });
        let middle = listing(&house, &gateway, &credential, &format!("{DAY}experiment=1")).query("delimiter", "/");
        assert_eq!(middle.send().await.elements("CommonPrefixes").len(), 2, "a prefix may end within a name");
    }
}

#[tokio::test]
async fn many_folders_come_all_and_in_order_and_empty_ones_not() {
    let house = House::new().await;
    let names: Vec<String> = (100..140).map(|number| number.to_string()).collect();
    day(&house, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for empty in ["000", "115-", "999"] {
        std::fs::create_dir(house.folder.path().join(format!("{DAY}experiment={empty}"))).unwrap();
    }
    let gateway = house.gateway().await;
    let credential = house.credential(None, None);
    let request =
        |most: &str| listing(&house, &gateway, &credential, DAY).query("delimiter", "/").query("max-keys", most);
    let folders: Vec<String> = names.iter().map(|name| format!("<Prefix>{DAY}experiment={name}/</Prefix>")).collect();
    let all = request("1000").send().await;
    assert_eq!(all.elements("CommonPrefixes"), folders);
    let marker = format!("{DAY}experiment=119/");
    let rest = request("10").query("marker", &marker).send().await;
    assert_eq!(rest.elements("CommonPrefixes"), folders[20..30]);
    assert_eq!(rest.element("IsTruncated"), Some("true"));
}

#[tokio::test]
async fn version_2_pages_with_tokens_and_version_1_with_markers() {
    let house = House::new().await;
    day(&house, &["1", "2", "3"]).await;
    let gateway = house.gateway().await;
    let credential = house.credential(None, None);
    let all = listing(&house, &gateway, &credential, DAY).send().await;
    assert_eq!(all.elements("Key").len(), 8);
    assert_eq!(all.element("NextMarker"), None);
    let mut seen: Vec<String> = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let mut request = listing(&house, &gateway, &credential, DAY).query("list-type", "2").query("max-keys", "3");
        if let Some(token) = &token {
            request = request.query("continuation-token", token);
        }
        let page = request.send().await;
        seen.extend(page.elements("Key").into_iter().map(str::to_owned));
        token = page.element("NextContinuationToken").map(str::to_owned);
        assert_eq!(page.element("IsTruncated"), Some(if token.is_some() { "true" } else { "false" }));
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, all.elements("Key"));
    let request = |marker: &str| {
        let request = listing(&house, &gateway, &credential, DAY).query("delimiter", "/").query("max-keys", "2");
        request.query("marker", marker)
    };
    let first = request("").send().await;
    assert_eq!(first.elements("Key").len(), 2);
    let second = request(first.element("NextMarker").unwrap()).send().await;
    assert_eq!(second.element("NextMarker"), Some(format!("{DAY}experiment=2/").as_str()));
    let third = request(second.element("NextMarker").unwrap()).send().await;
    assert_eq!(third.elements("CommonPrefixes"), [format!("<Prefix>{DAY}experiment=3/</Prefix>")]);
    assert_eq!((third.element("NextMarker"), third.element("IsTruncated")), (None, Some("false")));
}

async fn with(request: Request, token: &str) -> Answer {
    request.query("continuation-token", token).send().await
}

#[tokio::test]
async fn a_continuation_token_belongs_to_its_scope_and_listing() {
    let house = House::new().await;
    day(&house, &["1", "2"]).await;
    house.put("v1/account_id=123/type=decisions/x", "theirs").await;
    let gateway = house.gateway().await;
    let credential = house.credential(None, None);
    let request = |credential: &ScopedCredential, prefix: &str| {
        listing(&house, &gateway, credential, prefix).query("list-type", "2").query("max-keys", "1")
    };
    let page = request(&credential, DAY).send().await;
    let token = page.element("NextContinuationToken").unwrap();
    assert_eq!(with(request(&credential, DAY), token).await.status, 200);
    let refreshed = house.credential(None, None);
    assert_eq!(with(request(&refreshed, DAY), token).await.status, 200, "credentials are refreshed within a listing");
    let refused = (400, "InvalidArgument");
    let long = "x".repeat(CONTINUATION_BYTES_MAX + 1);
    assert_eq!(with(request(&credential, DAY), &long).await.refusal(), refused);
    let other = house.credential_of("123", None, None);
    assert_eq!(with(request(&other, "v1/account_id=123/"), token).await.refusal(), refused);
    assert_eq!(with(request(&house.credential(Some("decisions"), None), DAY), token).await.refusal(), refused);
    assert_eq!(with(request(&credential, "v1/account_id=12/"), token).await.refusal(), refused);
    assert_eq!(with(request(&credential, DAY).query("delimiter", "/"), token).await.refusal(), refused);
    let swapped = if &token[50..51] == "A" { "B" } else { "A" };
    let altered = format!("{}{swapped}{}", &token[..50], &token[51..]);
    for token in [altered.as_str(), "x", &token.repeat(40)] {
        assert_eq!(with(request(&credential, DAY), token).await.refusal(), refused, "{token}");
    }
}

#[tokio::test]
async fn keys_are_encoded_when_that_is_asked_for() {
    let house = House::new().await;
    let key = "v1/account_id=12/type=events/date=2026-03-01/event=a%3Ab c+d&é<>/part";
    house.put(key, "x").await;
    let gateway = house.gateway().await;
    let credential = house.credential(None, None);
    let plain = listing(&house, &gateway, &credential, "v1/account_id=12/").send().await;
    assert_eq!(
        plain.element("Key"),
        Some(key.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").as_str())
    );
    let encoded =
        listing(&house, &gateway, &credential, "v1/account_id=12/").query("encoding-type", "url").send().await;
    let text = encoded.element("Key").unwrap();
    assert_eq!(percent_encoding::percent_decode_str(text).decode_utf8().unwrap(), key);
    assert!(!text.contains([' ', '+', '&', '=']), "{text}");
    assert_eq!(encoded.element("Prefix"), Some("v1/account_id%3D12/"));
    let other =
        listing(&house, &gateway, &credential, "v1/account_id=12/").query("encoding-type", "base64").send().await;
    assert_eq!(other.refusal(), (400, "InvalidArgument"));
}

#[tokio::test]
async fn a_page_has_at_most_a_thousand_keys_and_may_have_none() {
    let house = House::new().await;
    for number in 0..1_003 {
        house.put(&format!("{DAY}experiment=1/part-{number:04}"), "").await;
    }
    let gateway = house.gateway().await;
    let credential = house.credential(None, None);
    for (most, keys, truncated) in
        [("5000", 1_000, "true"), ("1000", 1_000, "true"), ("7", 7, "true"), ("0", 0, "false")]
    {
        let answer = listing(&house, &gateway, &credential, DAY).query("max-keys", most).send().await;
        assert_eq!((answer.elements("Key").len(), answer.element("IsTruncated")), (keys, Some(truncated)), "{most}");
    }
    let last = format!("{DAY}experiment=1/part-1000");
    let rest = listing(&house, &gateway, &credential, DAY).query("list-type", "2").query("start-after", &last);
    assert_eq!(rest.send().await.elements("Key").len(), 2);
    let negative = listing(&house, &gateway, &credential, DAY).query("max-keys", "-1").send().await;
    assert_eq!(negative.refusal(), (400, "InvalidArgument"));
    let long = "/".repeat(millrace_exporter_fetch::limits::DELIMITER_BYTES_MAX + 1);
    let long = listing(&house, &gateway, &credential, DAY).query("delimiter", &long).send().await;
    assert_eq!(long.refusal(), (400, "InvalidArgument"));
}

#[tokio::test]
async fn object_stores_own_s3_client_lists_and_reads() {
    let house = House::new().await;
    day(&house, &["1", "a%3Ab", "é"]).await;
    let gateway = house.gateway().await;
    let credential = house.credential(None, None);
    let client = AmazonS3Builder::new()
        .with_endpoint(format!("http://{}", gateway.address))
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_bucket_name(BUCKET)
        .with_access_key_id(&credential.access_key_id)
        .with_secret_access_key(credential.secret_access_key.expose_secret())
        .with_token(credential.session_token.expose_secret())
        .build()
        .unwrap();
    let prefix = Path::parse(DAY).unwrap();
    let listed: Vec<_> = client.list(Some(&prefix)).try_collect().await.unwrap();
    let mut stored: Vec<_> = house.services.store.list(Some(&prefix)).try_collect::<Vec<_>>().await.unwrap();
    stored.sort_by(|a, b| a.location.as_ref().cmp(b.location.as_ref()));
    assert_eq!(listed.len(), 8);
    for (listed, stored) in listed.iter().zip(&stored) {
        assert_eq!((&listed.location, listed.size, &listed.e_tag), (&stored.location, stored.size, &stored.e_tag));
        let bytes = client.get(&listed.location).await.unwrap().bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, stored.size);
    }
    assert_eq!(client.list_with_delimiter(Some(&prefix)).await.unwrap().common_prefixes.len(), 3);
    let offset = listed[3].location.clone();
    let rest: Vec<_> = client.list_with_offset(Some(&prefix), &offset).try_collect().await.unwrap();
    assert_eq!(rest, listed[4..]);
    let part = GetOptions { range: Some(GetRange::Bounded(2..4)), ..GetOptions::default() };
    let part = client.get_opts(&listed[3].location, part).await.unwrap().bytes().await.unwrap();
    assert_eq!(part, "rt");
    let missing = client.get(&Path::parse(format!("{DAY}nothing")).unwrap()).await;
    assert!(matches!(missing, Err(object_store::Error::NotFound { .. })), "{missing:?}");
    assert!(client.put(&Path::parse(format!("{DAY}new")).unwrap(), "x".into()).await.is_err());
}
