//! Who is let in, over raw sockets.

use std::time::Duration;

use crate::support::{Running, config, no_database, start};
use greeks_processor::book::{BookConfig, LiveBook};
use greeks_server::{Server, ServerConfig, ServerError};
use secrecy::SecretString;

const TOKEN: &str = "a-token-of-20-letters";

async fn loopback() -> Running {
    let mut config = config();
    config.hosts = vec!["greeks.example".into(), "desk.example:8443".into()];
    start(config, LiveBook::new(BookConfig::default()), no_database()).await
}

#[tokio::test]
async fn hosts_that_are_not_ours_are_refused() {
    let server = loopback().await;
    let port = server.address.port();
    let other = port ^ 1;
    let cases = [
        (200, format!("Host: 127.0.0.1:{port}")),
        (200, format!("Host: localhost:{port}")),
        (200, format!("Host: LOCALHOST:{port}")),
        (200, format!("host: LocalHost:{port}")),
        (200, format!("Host: [::1]:{port}")),
        (200, "Host: localhost".into()),
        (200, "Host: 127.0.0.1".into()),
        (200, "Host: [::1]".into()),
        (200, "Host: greeks.example".into()),
        (200, "Host: greeks.example:8080".into()),
        (200, "Host: GREEKS.example".into()),
        (200, "Host: desk.example:8443".into()),
        (403, "Host: desk.example".into()),
        (403, "Host: desk.example:8444".into()),
        (403, "Host: evil.example".into()),
        (403, format!("Host: evil.example:{port}")),
        (403, format!("Host: 127.0.0.1.nip.io:{port}")),
        (403, format!("Host: localhost.evil.example:{port}")),
        (403, format!("Host: localhost.:{port}")),
        (403, format!("Host: 127.0.0.1.:{port}")),
        (403, format!("Host: 127.1:{port}")),
        (403, format!("Host: 2130706433:{port}")),
        (403, format!("Host: 0x7f.0.0.1:{port}")),
        (403, format!("Host: 127.0.0.2:{port}")),
        (403, format!("Host: 0.0.0.0:{port}")),
        (403, format!("Host: [::ffff:127.0.0.1]:{port}")),
        (403, format!("Host: evil.example@localhost:{port}")),
        (403, format!("Host: localhost:{port}@evil.example")),
        (403, format!("Host: localhost:{port}/evil")),
        (403, format!("Host: localhost:{port}#evil")),
        (403, format!("Host: localhost:{other}")),
        (403, "Host: localhost:".into()),
        (403, format!("Host: localhost:0{port}")),
        (403, format!("Host: localhost%00.evil.example:{port}")),
        (403, format!("Host: localhost,evil.example:{port}")),
        (403, format!("Host: localhost evil.example:{port}")),
        (403, "Host:".into()),
        (400, "X-Nothing: here".into()),
        (400, format!("Host: localhost:{port}\r\nHost: localhost:{port}")),
        (400, format!("Host: localhost:{port}\r\nHost: evil.example")),
    ];
    for (status, host) in cases {
        let answer =
            server.raw(format!("GET /healthz HTTP/1.1\r\n{host}\r\nConnection: close\r\n\r\n").as_bytes()).await;
        assert_eq!(answer.status, status, "{host}: {answer:?}");
        let kind = if status == 200 { "application/json" } else { "application/problem+json" };
        assert_eq!(answer.header("content-type"), Some(kind), "{host}: {answer:?}");
    }
}

#[tokio::test]
async fn request_lines_that_name_another_server_are_refused() {
    let server = loopback().await;
    let port = server.address.port();
    for (status, line) in [
        (200, format!("GET http://localhost:{port}/healthz HTTP/1.1")),
        (200, "GET http://localhost/healthz HTTP/1.1".into()),
        (403, format!("GET http://evil.example:{port}/healthz HTTP/1.1")),
        (403, format!("GET http://evil@localhost:{port}/healthz HTTP/1.1")),
        (400, format!("GET https://localhost:{port}/healthz HTTP/1.1")),
        (400, format!("CONNECT localhost:{port} HTTP/1.1")),
        (404, "OPTIONS * HTTP/1.1".into()),
        (405, "OPTIONS /healthz HTTP/1.1".into()),
        (405, "TRACE /healthz HTTP/1.1".into()),
        (404, "GET //healthz HTTP/1.1".into()),
        (404, "GET /healthz/ HTTP/1.1".into()),
        (404, "GET /v1/../healthz HTTP/1.1".into()),
    ] {
        let text = format!("{line}\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
        let answer = server.raw(text.as_bytes()).await;
        assert_eq!(answer.status, status, "{line}: {answer:?}");
    }
    let old = server.raw(b"GET /healthz HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.status, 400, "{old:?}");
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let server = loopback().await;
    let port = server.address.port();
    let own = format!("127.0.0.1:{port}");
    let cases = [
        (true, format!("Origin: http://{own}")),
        (true, format!("Origin: http://{own}\r\nSec-Fetch-Site: same-origin")),
        (true, "Sec-Fetch-Site: none".into()),
        (false, "Origin: null".into()),
        (false, "Origin:".into()),
        (false, "Origin: http://evil.example".into()),
        (false, format!("Origin: http://evil.example:{port}")),
        (false, format!("Origin: https://{own}")),
        (false, format!("Origin: http://localhost:{port}")),
        (false, format!("Origin: http://127.0.0.1:{}", port ^ 1)),
        (false, "Origin: http://127.0.0.1".into()),
        (false, format!("Origin: http://{own}.evil.example")),
        (false, format!("Origin: http://{own}@evil.example")),
        (false, format!("Origin: http://evil@{own}")),
        (false, format!("Origin: http://{own}/")),
        (false, format!("Origin: {own}")),
        (false, format!("Origin: file://{own}")),
        (false, "Sec-Fetch-Site: cross-site".into()),
        (false, "Sec-Fetch-Site: same-site".into()),
        (false, format!("Origin: http://{own}\r\nSec-Fetch-Site: cross-site")),
    ];
    for (fine, headers) in &cases {
        let read = server.request("GET", "/v1/streaming/status", &format!("{headers}\r\n"), "").await;
        assert_eq!(read.status, if *fine { 200 } else { 403 }, "GET {headers}: {read:?}");
        let json = format!("Content-Type: application/json\r\n{headers}\r\n");
        let write = server.request("POST", "/v1/streaming/stop", &json, r#"{"broker":"two"}"#).await;
        assert_eq!(write.status, if *fine { 200 } else { 403 }, "POST {headers}: {write:?}");
        assert_eq!(read.header("access-control-allow-origin"), None);
    }
    let twice = format!("Origin: http://{own}\r\nOrigin: http://{own}\r\n");
    assert_eq!(server.request("GET", "/healthz", &twice, "").await.status, 400);
    // A link on another site may be followed; that site may not act.
    let link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n";
    assert_eq!(server.request("GET", "/", link, "").await.status, 200);
    let form = format!("Content-Type: application/json\r\n{link}");
    assert_eq!(server.request("POST", "/v1/streaming/stop", &form, r#"{"broker":"two"}"#).await.status, 403);
    // Behind a proxy that speaks TLS.
    let proxied = |origin: &str| {
        format!("GET /healthz HTTP/1.1\r\nHost: greeks.example\r\nConnection: close\r\nOrigin: {origin}\r\n\r\n")
    };
    assert_eq!(server.raw(proxied("https://greeks.example").as_bytes()).await.status, 200);
    assert_eq!(server.raw(proxied("https://evil.example").as_bytes()).await.status, 403);
}

#[tokio::test]
async fn every_answer_has_the_headers_that_keep_others_out() {
    let server = loopback().await;
    for target in ["/", "/healthz", "/nowhere", "/v1/greeks/latest?x=1", "/v1/greeks/snapshots"] {
        let answer = server.get(target).await;
        for (name, value) in [
            (
                "content-security-policy",
                "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
            ),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{target}: {answer:?}");
        }
        assert!(!answer.head.to_ascii_lowercase().contains("access-control"), "{answer:?}");
        assert!(!answer.body.contains("<script>"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_token_is_asked_for_everywhere_but_at_healthz() {
    let mut config = config();
    config.token = Some(SecretString::from(TOKEN));
    let server = start(config, LiveBook::new(BookConfig::default()), no_database()).await;
    let target = "/v1/streaming/status";
    for (status, target, header) in [
        (200, "/healthz", String::new()),
        (401, target, String::new()),
        (401, "/", String::new()),
        (401, "/metrics", String::new()),
        (401, "/openapi.json", String::new()),
        (401, "/nowhere", String::new()),
        (200, target, format!("Authorization: Bearer {TOKEN}")),
        (200, target, format!("authorization: bearer {TOKEN}")),
        (401, target, format!("Authorization: Bearer {TOKEN}x")),
        (401, target, "Authorization: Bearer ".into()),
        (401, target, format!("Authorization: Basic {TOKEN}")),
        (401, target, format!("Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer {TOKEN}")),
        (401, target, format!("Cookie: greeks_{}={TOKEN}", server.address.port())),
        (401, "/v1/streaming/status?token=a-token-of-20-letters", String::new()),
        (401, "/?token=wrong", String::new()),
        (401, "/?token=", String::new()),
    ] {
        let header = if header.is_empty() { header } else { format!("{header}\r\n") };
        let answer = server.request("GET", target, &header, "").await;
        assert_eq!(answer.status, status, "{target} {header}: {answer:?}");
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401, "{answer:?}");
        assert!(!answer.head.contains("set-cookie"));
    }
    let answer = server.get(&format!("/?token={TOKEN}")).await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{answer:?}");
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains(TOKEN), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    let header = format!("Cookie: other=1; {pair}\r\n");
    assert_eq!(server.request("GET", target, &header, "").await.status, 200);
    let (name, _) = pair.split_once('=').unwrap();
    assert_eq!(server.request("GET", target, &format!("Cookie: {name}=0\r\n"), "").await.status, 401);
    let evil = server
        .raw(
            format!(
                "GET / HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
            )
            .as_bytes(),
        )
        .await;
    assert_eq!(evil.status, 403, "a token does not help another host");
}

#[tokio::test]
async fn addresses_that_cannot_be_had_say_why() {
    let server = loopback().await;
    let error = Server::bind(ServerConfig::new(server.address)).await.unwrap_err();
    assert!(matches!(error, ServerError::Occupied { address } if address == server.address), "{error}");
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let mut config = ServerConfig::new(listen.parse().unwrap());
        let error = Server::bind(config.clone()).await.unwrap_err();
        assert!(matches!(error, ServerError::NeedsToken { .. }), "{error}");
        config.token = Some(SecretString::from("short"));
        let error = Server::bind(config.clone()).await.unwrap_err();
        assert!(matches!(error, ServerError::WeakToken { least: 16 }), "{error}");
    }
    for limit in ["tick", "ping"] {
        let mut config = ServerConfig::new("127.0.0.1:0".parse().unwrap());
        let limits = &mut config.limits;
        let value = if limit == "tick" { &mut limits.tick } else { &mut limits.ping };
        *value = Duration::ZERO;
        let error = Server::bind(config).await.unwrap_err().to_string();
        assert!(error.contains(limit), "{error}");
    }
    let mut config = ServerConfig::new("0.0.0.0:0".parse().unwrap());
    config.token = Some(SecretString::from(TOKEN));
    config.limits.streams = usize::MAX;
    assert!(Server::bind(config).await.is_ok());
}
