//! The stream: what clients get, in which order, and what slow ones cost.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::book::{CALL, FUTURE, PUT, filled, large, positions, row, series};
use crate::support::sse::{Event, Sse};
use crate::support::{NOW, Running, SOON, config, no_database, start};
use greeks_model::{Record, SessionState, SourceId};
use greeks_server::{Alert, AlertKind, Limits, Time};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

async fn server(change: impl FnOnce(&mut Limits)) -> Running {
    let mut config = config();
    config.limits.tick = Duration::from_millis(20);
    change(&mut config.limits);
    start(config, filled(), no_database()).await
}

fn keys(event: &Event) -> Vec<&str> {
    event.data["lines"].as_array().unwrap().iter().map(|line| line["contract_key"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_stream_begins_with_all_and_goes_on_with_what_changes() {
    let server = server(|_| {}).await;
    let mut stream = Sse::open(server.address, "/v1/stream?group_by=broker", "").await;
    let head = stream.head.to_lowercase();
    for line in ["content-type: text/event-stream", "cache-control: no-store", "x-accel-buffering: no"] {
        assert!(head.contains(line), "{head}");
    }
    let snapshot = stream.next().await.unwrap();
    assert_eq!((snapshot.name.as_str(), keys(&snapshot)), ("snapshot", vec![FUTURE, CALL, PUT]));
    assert_eq!(snapshot.data["portfolio"], server.get("/v1/portfolio?group_by=broker").await.json());
    assert_eq!(snapshot.data["status"], server.get("/v1/streaming/status").await.json());
    assert_eq!(snapshot.data["lines"], server.get("/v1/greeks/latest").await.json()["lines"]);

    let put = series("one", "5WT00001", PUT);
    server.book.accept(&[Record::Snapshot(row(&put, -3.0, -0.5, 640.0))]);
    let delta = stream.named("delta").await;
    assert_eq!(keys(&delta), [PUT]);
    assert_eq!((&delta.data["lines"][0]["delta"], &delta.data["closed"]), (&json!(-0.5), &json!([])));
    assert_eq!(delta.data["total"]["delta_dollars"]["value"], 96_000.0 + 23_000.0);
    let portfolio = server.get("/v1/portfolio?group_by=broker").await.json();
    assert_eq!((&delta.data["groups"], &delta.data["total"]), (&portfolio["groups"], &portfolio["total"]));
    assert_ne!(delta.data["groups"], snapshot.data["portfolio"]["groups"]);
    assert_eq!(delta.data["since"], snapshot.data["version"]);
    assert_eq!(delta.version(), server.book.version());

    let id = |event: &Event, key: &str| {
        let lines = event.data["lines"].as_array().unwrap().iter();
        lines.filter(|line| line["contract_key"] == key).map(|line| line["id"].as_u64().unwrap()).next().unwrap()
    };
    server.book.accept(&[positions("two", "U7", &[(&series("two", "U7", FUTURE), 1.0)])]);
    let closed = stream.named("delta").await;
    assert_eq!((keys(&closed), &closed.data["closed"]), (vec![], &json!([id(&snapshot, CALL)])));
    assert_eq!(closed.data["total"]["lines"], 2);
    assert_eq!(closed.data["since"], delta.data["version"]);

    server.book.source_state(&SourceId::new("one").unwrap(), &SessionState::Disconnected { retry_at: None }, NOW);
    let stale = stream.named("delta").await;
    assert_eq!((keys(&stale), &stale.data["lines"][0]["stale"]), (vec![PUT], &json!("source_down")));
}

#[tokio::test]
async fn status_alerts_and_pings_are_events_without_an_id() {
    let server = server(|limits| limits.ping = Duration::from_millis(300)).await;
    let mut stream = Sse::open(server.address, "/v1/stream", "").await;
    assert_eq!(stream.next().await.unwrap().name, "snapshot");
    let ping = stream.next().await.unwrap();
    assert_eq!((ping.name.as_str(), ping.id, ping.data), ("ping", None, json!({"as_of": "2026-11-20T15:00:00Z"})));
    server.desk.set(|document| document.gaps_open = 5);
    let status = stream.named("status").await;
    assert_eq!((status.id, &status.data["gaps_open"]), (None, &json!(5)));
    let alert = Alert {
        kind: AlertKind::SourceDown,
        source: Some("two".into()),
        message: "two does not stream".into(),
        since: Time(NOW),
        active: true,
    };
    assert_eq!(server.alerts.send(alert).unwrap(), 1);
    let alert = stream.named("alert").await;
    let expected = json!({
        "kind": "source_down", "source": "two", "message": "two does not stream", "since": "2026-11-20T15:00:00Z",
        "active": true,
    });
    assert_eq!((alert.id, alert.data), (None, expected));
}

#[tokio::test]
async fn a_client_that_comes_back_gets_what_it_missed_or_all() {
    let server = server(|_| {}).await;
    let mut stream = Sse::open(server.address, "/v1/stream", "").await;
    let id = stream.next().await.unwrap().id.unwrap();
    drop(stream);
    let (instance, version) = id.split_once('-').unwrap();
    assert_eq!(version.parse::<u64>().unwrap(), server.book.version());

    let put = series("one", "5WT00001", PUT);
    for delta in [-0.3, -0.4, -0.5] {
        server.book.accept(&[Record::Snapshot(row(&put, -3.0, delta, 640.0))]);
    }
    for (target, header) in [
        ("/v1/stream".to_owned(), format!("Last-Event-ID: {id}\r\n")),
        (format!("/v1/stream?last_event_id={id}"), String::new()),
    ] {
        let mut again = Sse::open(server.address, &target, &header).await;
        let missed = again.named("delta").await;
        assert_eq!((keys(&missed), &missed.data["lines"][0]["delta"]), (vec![PUT], &json!(-0.5)), "{target}");
        assert_eq!(missed.data["since"].to_string(), version);
    }
    for other in [
        format!("00000000000000000000000000000000-{version}"),
        format!("{instance}-{}", u64::MAX),
        format!("{instance}-x"),
        format!("{instance}-"),
        instance.to_owned(),
        "-".to_owned(),
        "é".to_owned(),
    ] {
        let mut again = Sse::open(server.address, "/v1/stream", &format!("Last-Event-ID: {other}\r\n")).await;
        assert_eq!(again.next().await.unwrap().name, "snapshot", "{other}");
    }
}

/// What a client knows: lines by id.
#[derive(Default)]
struct Known {
    version: u64,
    lines: BTreeMap<u64, Value>,
    total: Value,
}

impl Known {
    fn take(&mut self, event: &Event) {
        match event.name.as_str() {
            "snapshot" => {
                self.lines.clear();
                self.total = event.data["portfolio"]["total"].clone();
            }
            "delta" => {
                assert_eq!(event.data["since"], self.version, "nothing is left out between two events");
                for id in event.data["closed"].as_array().unwrap() {
                    self.lines.remove(&id.as_u64().unwrap());
                }
                self.total = event.data["total"].clone();
            }
            _ => return,
        }
        self.version = event.version();
        for line in event.data["lines"].as_array().unwrap() {
            self.lines.insert(line["id"].as_u64().unwrap(), line.clone());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_clients_come_to_know_the_same_book() {
    let (book, all) = large(200);
    let mut config = config();
    config.limits.tick = Duration::from_millis(10);
    let server = start(config, book, no_database()).await;
    let last = server.book.version() + 300;
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        let mut stream = Sse::open(server.address, "/v1/stream", "").await;
        clients.spawn(async move {
            let (mut known, mut events) = (Known::default(), 0);
            while known.version < last {
                known.take(&stream.next().await.expect("the stream ended"));
                events += 1;
            }
            (known, events)
        });
    }
    for number in 0..300_u32 {
        let series = &all[number as usize % all.len()];
        server.book.accept(&[Record::Snapshot(row(series, 1.0, -f64::from(number) / 1_000.0, 640.0))]);
        if number % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
    assert_eq!(server.book.version(), last, "each row is one version here");
    let latest = server.get("/v1/greeks/latest").await.json();
    let total = server.get("/v1/portfolio").await.json()["total"].clone();
    while let Some(client) = timeout(SOON, clients.join_next()).await.expect("a client is missing something") {
        let (known, events) = client.unwrap();
        let lines: Vec<&Value> = known.lines.values().collect();
        let mut expected: Vec<&Value> = latest["lines"].as_array().unwrap().iter().collect();
        expected.sort_by_key(|line| line["id"].as_u64());
        assert_eq!(lines, expected);
        assert_eq!(known.total, total);
        assert!(events < 200, "{events} events for 300 rows are not gathered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_gets_the_latest_and_keeps_nothing_waiting() {
    let (book, all) = large(400);
    let mut config = config();
    config.limits.tick = Duration::from_millis(5);
    let server = start(config, book, no_database()).await;
    let mut slow = Sse::open(server.address, "/v1/stream", "").await;
    let mut quick = Sse::open(server.address, "/v1/stream", "").await;
    let first = slow.next().await.unwrap();
    let mut known = Known::default();
    known.take(&first);
    let (mut seen, mut deltas) = (quick.next().await.unwrap().version(), 0);
    // Rounds of changes of every line, each taken by the quick client while the slow one reads nothing.
    for round in 1..=100_u32 {
        let rows: Vec<_> =
            all.iter().map(|series| Record::Snapshot(row(series, 1.0, -f64::from(round) / 1_000.0, 640.0))).collect();
        server.book.accept(&rows);
        let target = server.book.version();
        while seen < target {
            seen = quick.named("delta").await.version();
            deltas += 1;
        }
    }
    assert!(deltas >= 100, "{deltas}");
    let begin = Instant::now();
    let mut late = 0;
    while known.version < server.book.version() {
        known.take(&slow.named("delta").await);
        late += 1;
    }
    // What was on its way when it stopped reading, then one with all the rest. Each delta here has 200 KB, so the few
    // that the kernel's buffers of both ends can hold are far from the hundred that were sent to the other.
    assert!(late <= 40, "{late} deltas waited for a slow client, which then took {:?}", begin.elapsed());
    assert!(known.lines.values().all(|line| line["delta"] == json!(-0.1)), "the latest");
}

#[tokio::test]
async fn clients_that_take_nothing_are_cut_off_and_others_are_not() {
    let (book, all) = large(400);
    let mut config = config();
    config.limits.tick = Duration::from_millis(5);
    config.limits.stall = Duration::from_millis(300);
    let server = start(config, book, no_database()).await;
    let mut deaf = Sse::open(server.address, "/v1/stream", "").await;
    let mut quick = Sse::open(server.address, "/v1/stream", "").await;
    quick.next().await.unwrap();
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        let rows: Vec<_> = all.iter().map(|series| Record::Snapshot(row(series, 1.0, -0.25, 640.0))).collect();
        server.book.accept(&rows);
        quick.named("delta").await;
    }
    let mut events = 0;
    while deaf.next().await.is_some() {
        events += 1;
    }
    assert!(events < 100, "it ends, with what the buffers held: {events}");
    server.book.accept(&[Record::Snapshot(row(&all[0], 1.0, -0.75, 640.0))]);
    assert_eq!(quick.named("delta").await.data["lines"][0]["delta"], json!(-0.75));
}
