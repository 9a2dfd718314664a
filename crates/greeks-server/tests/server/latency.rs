//! How long answers take: `cargo test -p greeks-server --test server latency -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::Duration;

use crate::support::book::{large, row, series};
use crate::support::{config, no_database, start};
use greeks_model::{GreekSnapshot, Record, Series};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval};

const ASKED: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn answers_at_5000_lines_and_5000_rows_a_second() {
    let (book, all) = large(5_000);
    // A hundred lines that a filter can name.
    let hundred: Vec<_> = (1..=100).map(|n| series("two", "U7", &format!("AAPL  261218P{:08}", n * 500))).collect();
    let rows: Vec<_> = hundred.iter().map(|series| Record::Snapshot(whole(series, 230.0))).collect();
    book.accept(&rows);
    book.accept(&all.iter().map(|s| Record::Snapshot(whole(s, 640.0))).collect::<Vec<_>>());
    let server = start(config(), book, no_database()).await;
    let fed = Arc::clone(&server.book);
    let feed = tokio::spawn(async move {
        let mut pulse = interval(Duration::from_millis(10));
        pulse.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for begin in (0..all.len()).step_by(50).cycle() {
            pulse.tick().await;
            let rows: Vec<_> = all[begin..begin + 50].iter().map(|s| Record::Snapshot(whole(s, 640.0))).collect();
            fed.accept(&rows);
        }
    });
    let begin = server.book.version();
    let started = Instant::now();
    for target in ["/v1/greeks/latest?account_id=U7", "/v1/portfolio", "/v1/streaming/status", "/v1/greeks/latest"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let (mut took, mut size) = (Vec::new(), 0);
        for _ in 0..ASKED {
            let asked = Instant::now();
            stream.write_all(request.as_bytes()).await.unwrap();
            size = read_answer(&mut stream).await;
            took.push(asked.elapsed());
        }
        took.sort();
        println!("{target}: p50 {:?}, p99 {:?}, {size} bytes", took[ASKED / 2], took[ASKED * 99 / 100]);
    }
    let rate = (server.book.version() - begin) as f64 / started.elapsed().as_secs_f64();
    println!("{rate:.0} rows/s meanwhile");
    feed.abort();
}

fn whole(series: &Arc<Series>, price: f64) -> GreekSnapshot {
    let mut row = row(series, 1.0, -0.25, price);
    (row.gamma, row.theta, row.vega) = (Some(0.01), Some(-0.1), Some(0.2));
    row
}

async fn read_answer(stream: &mut TcpStream) -> usize {
    let mut bytes = Vec::with_capacity(1 << 16);
    let mut whole = usize::MAX;
    while bytes.len() < whole {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
        if whole == usize::MAX
            && let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n")
        {
            let head = std::str::from_utf8(&bytes[..end]).unwrap();
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            whole = end + 4 + length.parse::<usize>().unwrap();
        }
    }
    whole
}
