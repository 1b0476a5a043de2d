//! Which pages in browsers may send: the origins each account lists.
//!
//! A preflight carries no key, so it is answered from all accounts' origins together; an answer to a caller that is known is
//! open to the origins of the caller's account only. Other origins get no such headers, and the browser stops them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use millrace_directory::{AccountId, Directory, Node};

use crate::limits::PREFLIGHT_AGE;

/// The account whose origins may read an answer; an extension of the answer.
#[derive(Debug, Clone)]
pub(crate) struct OfAccount(pub(crate) AccountId);

/// The origins of all accounts, of one state of the directory.
pub(crate) struct Origins {
    node: Arc<Node>,
    of_all: Mutex<(u64, Arc<HashSet<String>>)>,
}

impl Origins {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        let of_all = Mutex::new(union(&node.directory()));
        Self { node, of_all }
    }

    fn listed_by_any(&self, origin: &str) -> bool {
        let directory = self.node.directory();
        let mut of_all = self.of_all.lock().unwrap_or_else(PoisonError::into_inner);
        if of_all.0 != directory.position() {
            *of_all = union(&directory);
        }
        of_all.1.contains(origin)
    }

    fn listed_by(&self, account: &AccountId, origin: &str) -> bool {
        let directory = self.node.directory();
        directory.account(account).is_some_and(|account| account.origins.iter().any(|listed| listed == origin))
    }
}

fn union(directory: &Directory) -> (u64, Arc<HashSet<String>>) {
    let origins = directory.accounts().flat_map(|account| account.origins.iter().cloned()).collect();
    (directory.position(), Arc::new(origins))
}

/// axum middleware: answers preflights, and opens answers to the pages that may read them.
pub(crate) async fn cors(State(origins): State<Arc<Origins>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response =
        if preflight && origin.is_some() { StatusCode::OK.into_response() } else { next.run(request).await };
    let account = response.extensions_mut().remove::<OfAccount>();
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin else { return response };
    let listed = origin.to_str().is_ok_and(|origin| match &account {
        Some(OfAccount(account)) => origins.listed_by(account, origin),
        None => origins.listed_by_any(origin),
    });
    if listed {
        open(headers, origin, preflight);
    }
    response
}

fn open(headers: &mut HeaderMap, origin: HeaderValue, preflight: bool) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    if preflight {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, OPTIONS"));
        let allowed = HeaderValue::from_static("Content-Type, Authorization, X-API-Key");
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(PREFLIGHT_AGE.as_secs()));
    } else {
        let exposed = HeaderValue::from_static("X-Millrace-Accepted, X-Millrace-Rejected, X-Request-ID, Retry-After");
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}
