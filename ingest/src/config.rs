//! What an operator can set.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::Deserialize;

use crate::limits::IN_FLIGHT_BYTES_DEFAULT;

/// How ingest runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// What bodies and records may hold together while they are in flight, in bytes. One account alone gets half of it.
    pub in_flight_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { trusted_proxies: Vec::new(), in_flight_bytes: IN_FLIGHT_BYTES_DEFAULT }
    }
}

/// An address, or a range of them: `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network(IpNet);

impl Network {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        parsed.map(Self).map_err(|_| format!("{text:?} is neither an address nor a range like 10.0.0.0/8"))
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_or_a_range() {
        let network = |text: &str| text.parse::<Network>();
        assert!(network("10.0.0.0/8").unwrap().contains("10.200.3.4".parse().unwrap()));
        assert!(!network("10.0.0.7").unwrap().contains("10.0.0.8".parse().unwrap()));
        assert!(network("fd00::/8").unwrap().contains("fd12::1".parse().unwrap()));
        assert!(network("localhost").unwrap_err().contains("localhost"));
        assert!(network("10.0.0.0/33").is_err());
    }

    #[test]
    fn unknown_keys_are_refused() {
        let config: Result<Config, _> = serde_json::from_str(r#"{"in_flight_byte": 1}"#);
        assert!(config.unwrap_err().to_string().contains("in_flight_byte"));
        let config: Config = serde_json::from_str(r#"{"trusted_proxies": ["10.0.0.1"]}"#).unwrap();
        assert_eq!(config.in_flight_bytes, IN_FLIGHT_BYTES_DEFAULT);
    }
}
