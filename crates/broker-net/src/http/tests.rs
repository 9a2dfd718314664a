//! The pace under paused time, the limits against a small server.

use futures_util::future::join_all;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::advance;

use super::*;

const SPACING: Duration = Duration::from_millis(143);
const SECOND: Duration = Duration::from_secs(1);

fn http(spacing: Duration, burst: u32) -> Http {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let config = HttpConfig {
        user_agent: "test/1".into(),
        timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        spacing,
        burst,
    };
    Http::new(&config, &Arc::new(tls)).unwrap()
}

/// The most starts in any stretch of `length`.
fn most_within(starts: &[Duration], length: Duration) -> usize {
    let count = |from: Duration| starts.iter().filter(|at| **at >= from && **at < from + length).count();
    starts.iter().map(|from| count(*from)).max().unwrap_or_default()
}

/// When calls start that are asked for at these moments.
async fn starts(http: &Http, asked: &[Duration]) -> Vec<Duration> {
    let began = Instant::now();
    let calls = asked.iter().map(|after| async move {
        tokio::time::sleep_until(began + *after).await;
        http.wait_for_turn().await.unwrap();
        began.elapsed()
    });
    let mut starts = join_all(calls).await;
    starts.sort();
    starts
}

#[tokio::test(start_paused = true)]
async fn a_swarm_starts_at_the_pace_that_was_set() {
    let http = http(SPACING, 2);
    let all = starts(&http, &[Duration::ZERO; 60]).await;
    assert_eq!(all[..3], [Duration::ZERO, Duration::ZERO, SPACING]);
    assert_eq!(all[59], SPACING * 58, "and not slower than that");
    assert!(most_within(&all, SECOND) <= 9, "{}", most_within(&all, SECOND));
    // A pause earns the burst again, and no more than that.
    advance(SECOND * 60).await;
    let all = starts(&http, &[Duration::ZERO; 4]).await;
    assert_eq!(all, [Duration::ZERO, Duration::ZERO, SPACING, SPACING * 2]);
}

#[tokio::test(start_paused = true)]
async fn no_spacing_is_no_pace_and_no_burst_is_one() {
    assert_eq!(starts(&http(Duration::ZERO, 1), &[Duration::ZERO; 100]).await, [Duration::ZERO; 100]);
    assert_eq!(starts(&http(SPACING, 0), &[Duration::ZERO; 3]).await, [Duration::ZERO, SPACING, SPACING * 2]);
}

#[tokio::test(start_paused = true)]
async fn a_call_given_up_uses_nothing_and_keeps_the_others_in_order() {
    let http = http(SPACING, 1);
    http.wait_for_turn().await.unwrap();
    let patience = Duration::from_millis(43);
    let gave_up = tokio::time::timeout(patience, http.wait_for_turn()).await;
    assert!(gave_up.is_err());
    assert_eq!(starts(&http, &[Duration::ZERO; 2]).await, [SPACING - patience, SPACING * 2 - patience]);
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_while_held() {
    let http = http(SECOND, 1);
    http.wait_for_turn().await.unwrap();
    let waiting = async {
        let result = http.wait_for_turn().await;
        (result, Instant::now())
    };
    let began = Instant::now();
    let hold = async {
        tokio::time::sleep(SECOND / 2).await;
        http.hold(began + SECOND * 10);
        http.hold(began + SECOND * 2);
    };
    let ((result, ended), ()) = tokio::join!(waiting, hold);
    assert!(matches!(result, Err(HttpError::Held { remaining }) if remaining == SECOND * 9), "{result:?}");
    assert_eq!(ended - began, SECOND, "told at its turn, not minutes later");
    advance(SECOND * 8).await;
    assert!(matches!(http.wait_for_turn().await, Err(HttpError::Held { remaining }) if remaining == SECOND));
    advance(SECOND).await;
    http.wait_for_turn().await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn never_more_than_the_burst_and_what_was_earned(
        asked in prop::collection::vec(0u64..3_000, 1..40),
        spacing in 1u64..300,
        burst in 0u32..5,
        length in 1u64..2_000,
    ) {
        let asked: Vec<Duration> = asked.into_iter().map(Duration::from_millis).collect();
        let (spacing, length) = (Duration::from_millis(spacing), Duration::from_millis(length));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let all = runtime.block_on(async { starts(&http(spacing, burst), &asked).await });
        prop_assert_eq!(all.len(), asked.len());
        // A stretch without its end holds one call for each whole or begun spacing, beside the burst.
        let earned = length.as_millis().div_ceil(spacing.as_millis());
        let most = u128::from(burst.max(1)) - 1 + earned;
        prop_assert!(most_within(&all, length) as u128 <= most, "{:?} of {}", most_within(&all, length), most);
    }
}

#[tokio::test]
async fn a_port_where_nothing_listens_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let http = http(Duration::ZERO, 1);
    let call = || http.send(http.request(Method::GET, Url::parse(&format!("http://{address}/secret")).unwrap()));
    let (error, ()) = tokio::join!(call(), async {
        drop(listener.accept().await.unwrap());
    });
    let error = error.unwrap_err();
    assert!(matches!(error, HttpError::Transport { .. }), "{error:?}");
    drop(listener);
    let error = call().await.unwrap_err();
    assert!(matches!(&error, HttpError::Refused { source } if !source.to_string().contains("secret")), "{error:?}");
}

#[tokio::test]
async fn answers_are_whole_or_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let server = tokio::spawn(async move {
        for (status, body) in [("429 X\r\nRetry-After: 7", 3), ("200 X", MAX_BODY_BYTES), ("200 X", MAX_BODY_BYTES + 1)]
        {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && socket.read_buf(&mut head).await.unwrap() > 0 {}
            let answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {body}\r\n\r\n");
            socket.write_all(answer.as_bytes()).await.unwrap();
            // The client may hang up before the end.
            if socket.write_all(&vec![b'x'; body]).await.is_ok() {
                socket.shutdown().await.ok();
            }
        }
    });
    let http = http(Duration::ZERO, 1);
    let call = || http.send(http.request(Method::GET, url.clone()));
    let answer = call().await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.retry_after, &answer.body[..]), (429, Some(SECOND * 7), &b"xxx"[..]));
    let answer = call().await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.retry_after, answer.body.len()), (200, None, MAX_BODY_BYTES));
    assert!(matches!(call().await, Err(HttpError::BodyTooLarge { limit: MAX_BODY_BYTES })));
    server.await.unwrap();
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let date = "Mon, 23 Nov 2026 10:00:00 GMT";
    for (asked, now, expected) in [
        ("7", None, Some(SECOND * 7)),
        (" 7 ", None, Some(SECOND * 7)),
        ("99999999999", None, Some(LONGEST_RETRY_AFTER)),
        ("Mon, 23 Nov 2026 10:02:00 GMT", Some(date), Some(SECOND * 120)),
        ("Mon, 23 Nov 2026 09:00:00 GMT", Some(date), Some(Duration::ZERO)),
        ("Mon, 23 Nov 2026 10:02:00 GMT", None, None),
        ("soon", Some(date), None),
        ("-1", Some(date), None),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, asked.parse().unwrap());
        if let Some(now) = now {
            headers.insert(header::DATE, now.parse().unwrap());
        }
        assert_eq!(retry_after(&headers), expected, "{asked}");
    }
    assert_eq!(retry_after(&HeaderMap::new()), None);
}
