//! Whose certificate is trusted.

use broker_net::url::is_loopback;
use reqwest::Url;

/// A gateway by its host and port: what a pin belongs to, for REST and the websocket alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    host: String,
    port: u16,
    loopback: bool,
}

impl Peer {
    /// The host and port of an `https` or `http` URL; `None` when it has none.
    #[must_use]
    pub fn of(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Self { host, port: url.port_or_known_default()?, loopback: is_loopback(&url) })
    }

    /// Whether it runs on this machine: nobody can come between, so that its first certificate may be trusted unseen.
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// A name for the file that keeps its pin, such as `localhost_5000`, fit for every file system.
    #[must_use]
    pub fn file_name(&self) -> String {
        let fit = |byte: char| if byte.is_ascii_alphanumeric() || "-.".contains(byte) { byte } else { '_' };
        format!("{}_{}", self.host.chars().map(fit).collect::<String>(), self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_known_by_host_and_port() {
        for (url, name, loopback) in [
            ("https://localhost:5000/v1/api", "localhost_5000", true),
            ("https://LOCALHOST:5000", "localhost_5000", true),
            ("http://127.0.0.1:5000/v1/api", "127.0.0.1_5000", true),
            ("https://[::1]:5000", "__1_5000", true),
            ("https://gateway.example.org", "gateway.example.org_443", false),
            ("https://10.0.0.1:5000", "10.0.0.1_5000", false),
        ] {
            let peer = Peer::of(url).unwrap();
            assert_eq!((peer.file_name().as_str(), peer.is_loopback()), (name, loopback), "{url}");
        }
        for url in ["localhost", "mailto:x@example.org", "", "https://"] {
            assert_eq!(Peer::of(url), None, "{url}");
        }
    }
}
