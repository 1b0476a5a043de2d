#![doc = include_str!("../docs/ARCHITECTURE.md")]
//!
//! # This crate
//!
//! Wiring and nothing else: [`App::start`] opens a data folder, connects the services and stops them in order; [`run_role`] does
//! the same for one role of a cluster. A test hands in its own clock, listeners and stop signal.

mod app;
pub mod cli;
mod cluster;
pub mod config;
mod connect;
mod control;
mod demo;
mod door;
mod error;
mod folder;
mod ground;
mod host;
pub mod limits;
mod parts;
mod serve;
mod server_keys;
mod settings;
mod status;
mod trim;

pub use app::{App, Listeners};
pub use cluster::{Role, run_role};
pub use config::Config;
pub use demo::{Demo, Urls};
pub use error::{Failure, StartError};
