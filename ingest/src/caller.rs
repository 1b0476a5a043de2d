//! Who sends: the credential of a request, and what it may do.

use std::net::{IpAddr, Ipv4Addr};

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use millrace_directory::{AccountId, AuthError, Node, Presented, Principal};

use crate::refusal::Refusal;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const IN_QUERY: &str = "access_token_query";

/// Somebody who may send events of an account.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) account: AccountId,
    /// Kind and id of the credential, as kept with every event.
    pub(crate) source: String,
}

/// Where a credential stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Header,
    /// Public by nature: only what can do nothing but send is taken there.
    Query,
}

/// Authenticates a request and checks that it may send events.
pub(crate) async fn caller(node: &Node, request: &Parts, client: Option<IpAddr>) -> Result<Caller, Refusal> {
    let (secret, place) = credential(request)?;
    let presented = match Presented::parse(&secret) {
        // Personal access tokens fetch exports and send nothing: here they count as a wrong key.
        Presented::Pat(_) => Presented::Unrecognised,
        other => other,
    };
    let client = client.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    let principal = node.authenticate_from(&presented, client).await.map_err(|error| match error {
        AuthError::Unknown { .. } | AuthError::Inactive { .. } => Refusal::InvalidKey,
        AuthError::Unavailable(cause) => Refusal::DirectoryBehind(cause),
    })?;
    let source = principal.source();
    let Principal::ApiKey { account, scopes, .. } = principal else { return Err(Refusal::InvalidKey) };
    if place == Place::Query && !scopes.is_write_only() {
        return Err(Refusal::InvalidKey);
    }
    if !scopes.write {
        return Err(Refusal::MissingScope);
    }
    Ok(Caller { account, source })
}

/// The credential a request carries: a header wins over the query.
fn credential(request: &Parts) -> Result<(String, Place), Refusal> {
    if let Some(key) = only(&request.headers, API_KEY, "X-API-Key")? {
        return Ok((key.to_owned(), Place::Header));
    }
    if let Some(bearer) = only(&request.headers, AUTHORIZATION, "Authorization")?.and_then(bearer) {
        return Ok((bearer.to_owned(), Place::Header));
    }
    let query = request.uri.query().unwrap_or_default();
    let mut found = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == IN_QUERY);
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(Refusal::Twice(IN_QUERY)),
        (Some((_, secret)), None) if !secret.is_empty() => Ok((secret.into_owned(), Place::Query)),
        _ => Err(Refusal::NotAuthenticated),
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, secret) = value.split_once(' ')?;
    let secret = secret.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !secret.is_empty()).then_some(secret)
}

/// The value of a header that decides something: it may stand once, and must be text. Empty counts as absent.
pub(crate) fn only<'a>(
    headers: &'a HeaderMap,
    name: HeaderName,
    shown: &'static str,
) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Refusal::Twice(shown));
    }
    let Some(value) = first else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| Refusal::NoText(shown))?.trim();
    Ok((!text.is_empty()).then_some(text))
}
