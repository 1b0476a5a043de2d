//! Passwords, and the routes by which an operator changes the directory.
use std::sync::Arc;

use millrace_directory::Node;
use millrace_directory::audit::Auditor;

/// Passwords, hashed with argon2id.
pub mod password {}

/// The operator's routes.
pub fn local_router(_node: Arc<Node>, _auditor: Arc<Auditor>) -> axum::Router {
    axum::Router::new()
}
