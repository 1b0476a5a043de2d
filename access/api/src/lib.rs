//! Passwords, and the routes by which an operator changes the directory.
//!
//! | file | does |
//! |---|---|
//! | `password` | argon2id: hashing, verifying, making passwords |
//! | `operator` | the routes below `/local`, for whoever may open the control socket |
//! | `authorise` | the step between a valid request and its execution |
//! | `shown` | what an account, a user, a key, a token looks like in JSON |
//! | `error` | every error, and the answer it makes |
//!
//! Every request goes the same way: validate, authorise, act. [`millrace_directory::Node::execute`] acts, and writes the
//! audit entry.

mod authorise;
mod error;
pub mod limits;
mod operator;
pub mod password;
mod shown;

pub use operator::local_router;
pub use password::{PasswordError, hash_password};
