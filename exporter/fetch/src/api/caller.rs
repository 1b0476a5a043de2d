//! Who asks: a personal access token as `Authorization: Bearer`, or an API key as `X-API-Key`. Nowhere else.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use http::HeaderMap;
use http::request::Parts;
use millrace_directory::{Actor, AuthError, Kind, Node, Presented, Principal};
use millrace_telemetry::RequestId;

use super::error::ApiError;
use crate::limits::USER_AGENT_BYTES_MAX;

/// The caller, authenticated.
///
/// # Errors
/// 401 without a credential or with a wrong API key, 403 with a wrong token, 400 with two, 503 when it cannot be told.
pub(super) async fn authenticate(node: &Node, parts: &Parts) -> Result<Principal, ApiError> {
    let (kind, presented) = presented(&parts.headers)?;
    let found = match peer(parts) {
        Some(address) => node.authenticate_from(&presented, address).await,
        None => node.authenticate(&presented).await,
    };
    found.map_err(|error| match error {
        AuthError::Unavailable(cause) => ApiError::Unavailable(cause),
        AuthError::Unknown { .. } | AuthError::Inactive { .. } if kind == Kind::ApiKey => ApiError::InvalidApiKey,
        AuthError::Unknown { .. } | AuthError::Inactive { .. } => ApiError::AuthenticationFailed,
    })
}

/// The caller as the audit trail names them.
pub(super) fn actor(principal: &Principal, parts: &Parts) -> Actor {
    let agent = parts.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let request_id = parts.extensions.get::<RequestId>().map_or("", RequestId::as_str);
    Actor {
        source_ip: peer(parts),
        user_agent: agent[..agent.floor_char_boundary(USER_AGENT_BYTES_MAX)].to_owned(),
        request_id: request_id.to_owned(),
        ..Actor::new(principal.kind().name(), principal.credential_id().as_ref())
    }
}

fn peer(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip().to_canonical())
}

/// The credential, and the kind its header takes.
fn presented(headers: &HeaderMap) -> Result<(Kind, Presented), ApiError> {
    let authorization = one(headers, "authorization")?;
    let api_key = one(headers, "x-api-key")?;
    match (authorization, api_key) {
        (Some(_), Some(_)) => Err(ApiError::BadRequest(vec!["send one credential, not two".to_owned()])),
        (Some(text), None) => {
            let (scheme, token) = text.trim().split_once(' ').ok_or(ApiError::Unauthorized)?;
            if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
                return Err(ApiError::Unauthorized);
            }
            Ok((Kind::Pat, of_kind(token.trim(), Kind::Pat)))
        }
        (None, Some(key)) if !key.trim().is_empty() => Ok((Kind::ApiKey, of_kind(key.trim(), Kind::ApiKey))),
        (None, _) => Err(ApiError::Unauthorized),
    }
}

/// What was presented. Each header takes one kind: another is nobody's there, and is counted like a guess.
fn of_kind(text: &str, kind: Kind) -> Presented {
    let presented = Presented::parse(text);
    if presented.kind() == Some(kind) { presented } else { Presented::Unrecognised }
}

fn one<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(ApiError::BadRequest(vec![format!("the header {name} stands twice")]));
    }
    Ok(first.map(|value| value.to_str().unwrap_or("not text")))
}
