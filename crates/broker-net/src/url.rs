//! Addresses.

use reqwest::Url;

/// Whether the host of `url` is this machine: `localhost`, 127.0.0.0/8 or `[::1]`. Plain text may go there.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
        None => false,
    }
}

/// Scheme, host and port of an address, for messages: paths and queries may hold tokens.
#[must_use]
pub fn host_only(text: &str) -> String {
    match Url::parse(text) {
        Ok(url) => match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{}://{host}:{port}", url.scheme()),
            (Some(host), None) => format!("{}://{host}", url.scheme()),
            (None, _) => format!("{}:", url.scheme()),
        },
        Err(_) => "(not a URL)".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_and_no_other() {
        for (url, expected) in [
            ("https://localhost:5000/v1/api", true),
            ("http://127.0.0.1", true),
            ("http://127.8.0.1:1", true),
            ("ws://[::1]:8080", true),
            ("https://127.0.0.1.example.com", false),
            ("https://localhost.example.com", false),
            ("https://10.0.0.1", false),
            ("https://[::2]", false),
            ("mailto:x@localhost", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn paths_users_and_queries_stay_out_of_messages() {
        for (url, expected) in [
            ("https://user:secret@localhost:5000/v1/secret?t=secret#secret", "https://localhost:5000"),
            ("wss://example.org/secret", "wss://example.org"),
            ("https://example.org:443", "https://example.org"),
            ("mailto:secret@example.org", "mailto:"),
            ("secret", "(not a URL)"),
        ] {
            assert_eq!(host_only(url), expected);
        }
    }
}
