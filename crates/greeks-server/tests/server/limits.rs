//! What a client may take, over raw sockets: time, bytes, connections.

use std::time::Duration;

use crate::support::{Running, SOON, config, no_database, start};
use greeks_processor::book::{BookConfig, LiveBook};
use greeks_server::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

async fn limited(change: impl FnOnce(&mut Limits)) -> Running {
    let mut config = config();
    change(&mut config.limits);
    start(config, LiveBook::new(BookConfig::default()), no_database()).await
}

fn keep_alive(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// Reads one answer that has a length, and leaves the connection open.
async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let whole = async {
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
                if body.len() >= length.parse().unwrap() {
                    return text;
                }
            }
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "closed after {text:?}");
        }
    };
    timeout(SOON, whole).await.expect("no whole answer")
}

/// Sends a byte every 20 ms until the server closes; how long that took.
async fn drip(stream: &mut TcpStream, text: &str) -> Duration {
    let (begin, mut pulse) = (Instant::now(), interval(Duration::from_millis(20)));
    let (mut reader, mut writer) = stream.split();
    let mut bytes = text.bytes().cycle();
    let mut into = [0; 64];
    loop {
        tokio::select! {
            read = reader.read(&mut into) => if !matches!(read, Ok(1..)) { return begin.elapsed() },
            _ = pulse.tick() => if writer.write_all(&[bytes.next().unwrap()]).await.is_err() { return begin.elapsed() },
        }
        assert!(begin.elapsed() < SOON, "a dripper lives");
    }
}

#[tokio::test]
async fn drippers_are_reaped_and_others_served() {
    let head = Duration::from_millis(500);
    let server = limited(|limits| limits.head = head).await;
    let mut drippers = JoinSet::new();
    for _ in 0..100 {
        let address = server.address;
        drippers.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            drip(&mut stream, "GET / HTTP/1.1\r\nHost: localhost\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").await
        });
    }
    let mut served = 0;
    while let Some(lived) = drippers.join_next().await {
        let lived = lived.unwrap();
        assert!(lived >= head - Duration::from_millis(50) && lived < head * 4, "{lived:?}");
        assert_eq!(server.get("/healthz").await.status, 200);
        served += 1;
    }
    assert_eq!(served, 100);
}

#[tokio::test]
async fn a_head_that_drips_after_a_request_is_reaped_too_and_silence_has_its_own_time() {
    let (head, idle) = (Duration::from_millis(400), Duration::from_secs(2));
    let server = limited(|limits| (limits.head, limits.idle) = (head, idle)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for _ in 0..3 {
        stream.write_all(keep_alive("/healthz").as_bytes()).await.unwrap();
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
    }
    let lived = drip(&mut stream, "GET /healthz HTTP/1.1\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").await;
    assert!(lived < idle, "{lived:?}");

    let mut silent = TcpStream::connect(server.address).await.unwrap();
    silent.write_all(keep_alive("/healthz").as_bytes()).await.unwrap();
    answer(&mut silent).await;
    let begin = Instant::now();
    assert_eq!(timeout(SOON, silent.read(&mut [0; 8])).await.unwrap().unwrap(), 0);
    let lived = begin.elapsed();
    assert!(lived >= idle - Duration::from_millis(100) && lived < idle * 3, "{lived:?}");

    let mut mute = TcpStream::connect(server.address).await.unwrap();
    let begin = Instant::now();
    assert_eq!(timeout(SOON, mute.read(&mut [0; 8])).await.unwrap().unwrap(), 0);
    assert!(begin.elapsed() < idle, "a connection that never asks has the time of a head");
}

#[tokio::test]
async fn bodies_are_limited_in_time_and_size() {
    let server = limited(|limits| limits.body = Duration::from_millis(300)).await;
    let head = "POST /v1/streaming/stop HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let slow = server.raw(format!("{head}Content-Length: 100\r\n\r\n{{\"broker\"").as_bytes()).await;
    assert_eq!(slow.status, 408, "{slow:?}");

    let (largest, padding) = (64 * 1024, r#"{"broker":"two"}"#.len());
    let body = |size: usize| format!("{}{}", r#"{"broker":"two"}"#, " ".repeat(size - padding));
    assert_eq!(server.post("/v1/streaming/stop", &body(largest)).await.status, 200);
    assert_eq!(server.post("/v1/streaming/stop", &body(largest + 1)).await.status, 413);
    let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", largest + 1, body(largest + 1));
    let chunked = server.raw(format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}").as_bytes()).await;
    assert_eq!(chunked.status, 413, "{chunked:?}");
    assert_eq!(chunked.header("content-type"), Some("application/problem+json"));

    for (status, headers, body) in [
        (415, "", r#"{"broker":"two"}"#),
        (415, "Content-Type: text/plain\r\n", r#"{"broker":"two"}"#),
        (415, "Content-Type: application/x-www-form-urlencoded\r\n", "broker=two"),
        (400, "Content-Type: application/json\r\n", "{"),
        (400, "Content-Type: application/json\r\n", ""),
        (422, "Content-Type: application/json\r\n", "{}"),
        (422, "Content-Type: application/json\r\n", r#"{"broker":7}"#),
        (422, "Content-Type: application/json\r\n", r#" ["two"]"#),
        (422, "Content-Type: application/json\r\n", r#"{"broker":"two","also":1}"#),
        (422, "Content-Type: application/json\r\n", r#"{"broker":"Two"}"#),
        (200, "Content-Type: application/json; charset=utf-8\r\n", r#"{"broker":"two"}"#),
    ] {
        let answer = server.request("POST", "/v1/streaming/stop", headers, body).await;
        assert_eq!(answer.status, status, "{headers} {body}: {answer:?}");
    }
}

#[tokio::test]
async fn heads_are_limited_in_size() {
    let server = limited(|_| {}).await;
    assert_eq!(server.request("GET", "/healthz", &format!("X: {}\r\n", "a".repeat(16_000)), "").await.status, 200);
    assert_eq!(server.request("GET", "/healthz", &format!("X: {}\r\n", "a".repeat(70_000)), "").await.status, 431);
    assert_eq!(server.request("GET", "/healthz", &"X: a\r\n".repeat(200), "").await.status, 431);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off() {
    let server = limited(|limits| (limits.stall, limits.send_buffer) = (Duration::from_millis(400), 16 * 1024)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // More answers than any buffer holds, and none is read.
    let asked = 2_000;
    let all = keep_alive("/openapi.json").repeat(asked);
    let begin = Instant::now();
    // It ends with an error when the server closes: until then there is always something left to write.
    let cut = async { while stream.write_all(all.as_bytes()).await.is_ok() {} };
    timeout(SOON, cut).await.expect("the stalled client lives");
    assert!(begin.elapsed() >= Duration::from_millis(350), "{:?}", begin.elapsed());
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn the_oldest_unused_connection_gives_way_and_busy_ones_do_not() {
    let server = limited(|limits| limits.connections = 3).await;
    let mut unused = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(keep_alive("/healthz").as_bytes()).await.unwrap();
        answer(&mut stream).await;
        unused.push(stream);
    }
    assert_eq!(server.get("/healthz").await.status, 200, "a fourth is served");
    let first = timeout(SOON, unused[0].read(&mut [0; 8])).await.unwrap();
    assert!(matches!(first, Ok(0) | Err(_)), "the oldest was closed: {first:?}");
    let last = unused.last_mut().unwrap();
    last.write_all(keep_alive("/healthz").as_bytes()).await.unwrap();
    assert!(answer(last).await.starts_with("HTTP/1.1 200"), "the newest was not");
    drop(unused);

    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(keep_alive("/v1/stream").as_bytes()).await.unwrap();
        let mut begin = [0; 12];
        timeout(SOON, stream.read_exact(&mut begin)).await.unwrap().unwrap();
        assert_eq!(&begin, b"HTTP/1.1 200");
        streams.push(stream);
    }
    let mut refused = TcpStream::connect(server.address).await.unwrap();
    let mut text = String::new();
    timeout(SOON, refused.read_to_string(&mut text)).await.unwrap().unwrap();
    assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("\r\nretry-after: 5\r\n"), "{text}");
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", body.len())), "{text}");
    assert!(serde_json::from_str::<serde_json::Value>(body).unwrap()["status"] == 503, "{text}");
}

#[tokio::test]
async fn streams_leave_room_for_other_requests() {
    let server = limited(|limits| limits.streams = 2).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(keep_alive("/v1/stream").as_bytes()).await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        open.push(stream);
    }
    let third = server.get("/v1/stream").await;
    assert_eq!((third.status, third.header("retry-after")), (429, Some("5")), "{third:?}");
    assert_eq!(server.get("/healthz").await.status, 200);
    drop(open);
    // Closed streams give their place back as soon as the server has noticed.
    let again = async {
        loop {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(keep_alive("/v1/stream").as_bytes()).await.unwrap();
            let mut begin = [0; 12];
            stream.read_exact(&mut begin).await.unwrap();
            if &begin == b"HTTP/1.1 200" {
                return;
            }
        }
    };
    timeout(SOON, again).await.expect("a place is never given back");
}

#[tokio::test]
async fn an_end_waits_for_requests_but_not_for_ever() {
    let mut server = limited(|limits| limits.drain = Duration::from_millis(500)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(keep_alive("/v1/stream").as_bytes()).await.unwrap();
    stream.read_exact(&mut [0; 12]).await.unwrap();
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(keep_alive("/healthz").as_bytes()).await.unwrap();
    answer(&mut idle).await;
    let begin = Instant::now();
    server.stop.take().unwrap().send(()).unwrap();
    timeout(SOON, &mut server.serving).await.unwrap().unwrap();
    assert!(begin.elapsed() < Duration::from_millis(400), "streams and idle ones are no reason to wait");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "the stream ended in good order: {rest:?}");
    assert!(TcpStream::connect(server.address).await.is_err());

    let mut server = limited(|limits| limits.drain = Duration::from_millis(500)).await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    let text = "POST /v1/trades HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    slow.write_all(text.as_bytes()).await.unwrap();
    slow.read_exact(&mut [0; 12]).await.unwrap();
    let begin = Instant::now();
    server.stop.take().unwrap().send(()).unwrap();
    timeout(SOON, &mut server.serving).await.unwrap().unwrap();
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(450) && took < Duration::from_secs(3), "{took:?}");
}
