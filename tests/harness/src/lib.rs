//! What the tests from outside share.
//!
//! A test starts the real binary ([`process`]), sends events to it ([`events`], [`api`], [`load`]) and reads what comes
//! out as a data team would ([`export`], [`rows`], [`follow`]). Nothing here knows how Millrace works inside.

pub mod api;
pub mod clients;
pub mod crash;
pub mod demo;
pub mod events;
pub mod export;
pub mod follow;
pub mod load;
pub mod process;
pub mod rows;
pub mod wait;

pub use api::Api;
pub use demo::Demo;
pub use export::Export;
pub use follow::Follower;
pub use process::{Launch, Server};
pub use wait::until;
