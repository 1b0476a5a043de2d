//! Which bucket a host name means: the gateway's own name means none, `bucket.` before it means that bucket.

use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

use crate::Config;

/// Tells virtual-host style from path style.
pub(super) struct Hosts {
    bucket: String,
    own: String,
}

impl Hosts {
    pub(super) fn new(config: &Config) -> Self {
        Self { bucket: config.bucket.clone(), own: config.s3_host().unwrap_or_default() }
    }

    /// The bucket in a host name without port. Under a name we do not know as ours (a tunnel, a container's name) only
    /// our own bucket is recognised; anything else is path style.
    fn bucket_of<'h>(&self, name: &'h str) -> Option<&'h str> {
        if name.eq_ignore_ascii_case(&self.own) {
            return None;
        }
        let end = |suffix: &str| name.len().checked_sub(suffix.len()).filter(|at| name.is_char_boundary(*at));
        if let Some(at) = end(&self.own).filter(|_| !self.own.is_empty())
            && name[at..].eq_ignore_ascii_case(&self.own)
            && let Some(bucket) = name[..at].strip_suffix('.')
        {
            return Some(bucket);
        }
        let rest = name.strip_prefix(self.bucket.as_str())?;
        rest.starts_with('.').then(|| &name[..self.bucket.len()])
    }
}

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let found = VirtualHost::new(host);
        Ok(match self.bucket_of(name) {
            Some(bucket) => found.with_bucket(bucket),
            None => found,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_is_what_stands_before_our_own_name() {
        let config =
            Config { bucket: "millrace-events".into(), s3_url: "https://s3.example.com".into(), encryption: None };
        let hosts = Hosts::new(&config);
        for (host, bucket) in [
            ("s3.example.com", None),
            ("S3.Example.com:9000", None),
            ("millrace-events.s3.example.com", Some("millrace-events")),
            ("other.s3.example.com:443", Some("other")),
            ("millrace-events.localhost:9000", Some("millrace-events")),
            ("localhost:9000", None),
            ("evil-s3.example.com", None),
            ("gateway", None),
        ] {
            assert_eq!(hosts.parse_host_header(host).unwrap().bucket(), bucket, "{host}");
        }
        let own = Config { s3_url: "https://millrace-events.example.com".into(), ..config };
        assert_eq!(Hosts::new(&own).parse_host_header("millrace-events.example.com").unwrap().bucket(), None);
    }
}
