//! Authorising: the step between a valid request and its execution. What is executed must have come through here.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use millrace_directory::{Actor, Command};
use millrace_telemetry::RequestId;

/// The operator at the machine: whoever may open the control socket. The socket's file mode is the check.
pub(crate) struct LocalOperator {
    actor: Actor,
}

/// A command its caller may give. Made by authorising only.
pub(crate) struct Authorised(Command);

impl LocalOperator {
    /// A local operator may do everything: the data folder is theirs already.
    pub(crate) fn authorise(&self, valid: Command) -> Authorised {
        Authorised(valid)
    }

    /// Who it is, for the fact and the audit trail.
    pub(crate) fn actor(&self) -> &Actor {
        &self.actor
    }
}

impl Authorised {
    /// The command, to execute it.
    pub(crate) fn into_command(self) -> Command {
        self.0
    }
}

impl<S: Sync> FromRequestParts<S> for LocalOperator {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let mut actor = Actor::local();
        if let Some(request_id) = parts.extensions.get::<RequestId>() {
            actor.request_id = request_id.to_string();
        }
        if let Some(agent) = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()) {
            actor.user_agent = agent.to_owned();
        }
        Ok(Self { actor })
    }
}
