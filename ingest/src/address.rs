//! Which address a request came from, and how much of it is kept.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::HeaderMap;

use crate::config::Network;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The client's address: the peer, or, behind trusted proxies, the right-most address of `X-Forwarded-For` that is none
/// of them. What cannot be read ends the search: the address found so far counts.
pub(crate) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut found = peer.to_canonical();
    if !is_trusted(found) {
        return found;
    }
    let lines = headers.get_all(FORWARDED_FOR).iter().map(|line| String::from_utf8_lossy(line.as_bytes()));
    let lines: Vec<Cow<'_, str>> = lines.collect();
    for entry in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let Some(address) = parse(entry.trim()) else { break };
        found = address;
        if !is_trusted(found) {
            break;
        }
    }
    found
}

/// Some proxies write a port behind the address.
fn parse(entry: &str) -> Option<IpAddr> {
    let address = entry.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    address.or_else(bracketed).map(|address| address.to_canonical())
}

/// The address without what tells one household from another: the last octet of IPv4, the last 80 bits of IPv6.
pub(crate) fn anonymised(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn found(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
        }
        let trusted: Vec<Network> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        assert_eq!(found("192.0.2.1", &["198.51.100.7"], &[]), "192.0.2.1");
        assert_eq!(found("192.0.2.1", &["198.51.100.7"], &["10.0.0.0/8"]), "192.0.2.1");
        assert_eq!(found("10.0.0.1", &["198.51.100.7"], &["10.0.0.0/8"]), "198.51.100.7");
        assert_eq!(found("::ffff:10.0.0.1", &["198.51.100.7"], &["10.0.0.0/8"]), "198.51.100.7");
    }

    #[test]
    fn the_right_most_untrusted_address_counts() {
        let trusted = &["10.0.0.0/8"];
        assert_eq!(found("10.0.0.1", &["1.1.1.1, 198.51.100.7, 10.0.0.2"], trusted), "198.51.100.7");
        assert_eq!(found("10.0.0.1", &["1.1.1.1", "198.51.100.7", "10.0.0.2 "], trusted), "198.51.100.7");
        assert_eq!(found("10.0.0.1", &["198.51.100.7:4711"], trusted), "198.51.100.7");
        assert_eq!(found("10.0.0.1", &["[2001:db8::1]:4711"], trusted), "2001:db8::1");
        assert_eq!(found("10.0.0.1", &["[2001:db8::1]"], trusted), "2001:db8::1");
        assert_eq!(found("10.0.0.1", &["10.0.0.3, 10.0.0.2"], trusted), "10.0.0.3");
    }

    #[test]
    fn what_cannot_be_read_ends_the_search() {
        assert_eq!(found("10.0.0.1", &["198.51.100.7, unknown, 10.0.0.2"], &["10.0.0.0/8"]), "10.0.0.2");
        assert_eq!(found("10.0.0.1", &[], &["10.0.0.0/8"]), "10.0.0.1");
        assert_eq!(
            found("10.0.0.1", &["198.51.100.7", "ä"], &["10.0.0.0/8"]),
            "10.0.0.1",
            "the client wrote the first"
        );
    }

    #[test]
    fn the_last_octet_and_the_last_80_bits_are_dropped() {
        let of = |text: &str| anonymised(text.parse().unwrap()).to_string();
        assert_eq!(of("198.51.100.7"), "198.51.100.0");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1::");
    }
}
