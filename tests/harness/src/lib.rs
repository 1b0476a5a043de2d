//! What the tests from outside share.
//!
//! A test starts the real binary ([`process`]), sends events to it ([`events`], [`api`], [`load`]) and reads what comes
//! out as a data team would ([`export`], [`rows`], [`follow`]). What Millrace runs on is real too: [`kafka`] (with a [`door`]), [`s3`];
//! a [`deployment`] is all of it, and [`faults`] break it. Nothing here knows how Millrace works inside.

pub mod api;
pub mod child;
pub mod clients;
pub mod crash;
pub mod day;
pub mod demo;
pub mod deployment;
pub mod door;
pub mod events;
pub mod export;
pub mod faults;
pub mod follow;
pub mod kafka;
pub mod load;
pub mod process;
pub mod proxy;
pub mod role;
pub mod rows;
pub mod s3;
pub mod wait;

pub use api::Api;
pub use demo::Demo;
pub use deployment::Deployment;
pub use export::Export;
pub use follow::Follower;
pub use process::{Launch, Server};
pub use wait::until;
