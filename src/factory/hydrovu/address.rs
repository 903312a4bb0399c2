//! [`Guard`]: which addresses requests may go to.

use std::error::Error as StdError;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Refuses addresses, whether a URL names them or its host's name stands for them. As the resolver of the connections themselves
/// it sees what they use: a name that stands for one address when it is looked at and for another when it is used gains nothing.
#[derive(Clone, Copy)]
pub(super) struct Guard {
    refuses: fn(IpAddr) -> bool,
}

impl Guard {
    /// Addresses of the public internet alone.
    pub(super) fn public() -> Self {
        Self { refuses: is_private }
    }

    /// Any address.
    pub(super) fn any() -> Self {
        Self { refuses: |_| false }
    }

    #[cfg(test)]
    pub(super) fn new(refuses: fn(IpAddr) -> bool) -> Self {
        Self { refuses }
    }

    /// Refuses a URL that names an address; names of hosts are looked up when a connection is made.
    pub(super) fn check(self, url: &Url) -> Result<(), RefusedAddress> {
        let address = match url.host() {
            Some(url::Host::Ipv4(address)) => IpAddr::V4(address),
            Some(url::Host::Ipv6(address)) => IpAddr::V6(address),
            Some(url::Host::Domain(_)) | None => return Ok(()),
        };
        self.check_address(address.to_string(), address)
    }

    fn check_address(self, host: String, address: IpAddr) -> Result<(), RefusedAddress> {
        match (self.refuses)(address) {
            true => Err(RefusedAddress { host, address }),
            false => Ok(()),
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = *self;
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let addresses: Vec<_> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            for address in &addresses {
                guard.check_address(host.clone(), address.ip())?;
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// An address that requests must not go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefusedAddress {
    host: String,
    address: IpAddr,
}

impl RefusedAddress {
    /// The one among the causes of `error`, if it is there.
    pub(super) fn within<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(at) = next {
            if let Some(refused) = at.downcast_ref::<Self>() {
                return Some(refused);
            }
            next = at.source();
        }
        None
    }
}

impl fmt::Display for RefusedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address.to_string();
        match self.host == address {
            true => write!(f, "{address} is a private address")?,
            false => write!(f, "{} is at the private address {address}", self.host)?,
        }
        f.write_str("; the option 'allow_private' 'true' allows it")
    }
}

impl StdError for RefusedAddress {}

/// Whether an address is not one of the public internet.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        // Shared by a provider's customers, protocol assignments, benchmarks.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let within = match address.segments() {
        // An IPv4 address in another dress: mapped, compatible, NAT64, 6to4.
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            is_private_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Teredo, which hides one, and documentation.
        [0x2001, 0 | 0xdb8, ..] => true,
        _ => false,
    };
    within
        || address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unique_local()
        || address.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_in_every_dress() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::7f00:1",
            "64:ff9b::10.0.0.1",
            "2002:7f00:1::",
            "2001::1",
        ] {
            assert!(is_private(text.parse().unwrap()), "{text}");
        }
        for text in ["8.8.8.8", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"] {
            assert!(!is_private(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn urls_that_name_an_address() {
        let check = |text: &str| Guard::public().check(&Url::parse(text).unwrap());
        for text in ["http://127.1/", "http://2130706433/", "http://0x7f.1/", "http://[::1]:80/"] {
            assert!(
                check(text).unwrap_err().to_string().contains("is a private address; the option 'allow_private'"),
                "{text}"
            );
        }
        assert_eq!(check("https://www.hydrovu.com/"), Ok(()));
        assert_eq!(Guard::any().check(&Url::parse("http://127.0.0.1/").unwrap()), Ok(()));
    }

    #[tokio::test]
    async fn names_of_private_addresses_are_refused() {
        let error = Guard::public().resolve("localhost".parse().unwrap()).await.err().unwrap();
        let refused = RefusedAddress::within(error.as_ref()).unwrap();
        assert!(refused.to_string().starts_with("localhost is at the private address "), "{refused}");
        assert!(Guard::any().resolve("localhost".parse().unwrap()).await.unwrap().count() > 0);
    }
}
