//! The S3-compatible gateway: reads only, one bucket, scoped credentials.
//!
//! `s3s` reads the requests, checks the signatures and writes the answers. What it leaves open is closed before it
//! ([`door`]) and behind it ([`access`]); no operation reaches the store but by an allowed key or prefix.

mod access;
mod answer;
mod conditions;
mod continuation;
mod door;
mod edge;
mod host;
mod lists;
mod objects;
mod serve;

use std::sync::Arc;

use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};

use crate::Services;

pub use serve::serve_gateway;

/// The operations' view of the house.
#[derive(Clone)]
struct Gateway {
    services: Services,
}

fn service(services: &Services) -> S3Service {
    let mut config = S3Config::default();
    // The door compares clocks, with the clock it was given. (`s3s` also looks at the machine's for the end of a signed
    // URL, and cannot be told not to: the earlier of the two counts.)
    config.presigned_url_max_skew_time_secs = u32::MAX;
    let mut builder = S3ServiceBuilder::new(Gateway { services: services.clone() });
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.set_host(host::Hosts::new(&services.config));
    builder.set_auth(access::Secrets::new(services));
    builder.set_access(access::Access::new(services));
    builder.build()
}
