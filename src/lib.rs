#![doc = include_str!("../docs/ARCHITECTURE.md")]
//!
//! # This crate
//!
//! Wiring and nothing else: [`App::start`] opens a data folder, connects the services and stops them in order. A test hands in
//! its own clock, listeners and stop signal.

mod app;
pub mod cli;
pub mod config;
mod connect;
mod control;
mod demo;
mod error;
mod folder;
mod ground;
pub mod limits;
mod parts;
mod serve;
mod server_keys;
mod settings;
mod status;
mod trim;

pub use app::{App, Listeners};
pub use config::Config;
pub use demo::{Demo, Urls};
pub use error::{Failure, StartError};
