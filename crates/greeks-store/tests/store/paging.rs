//! Pages of snapshots while rows are being stored.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::Database;
use greeks_store::{Queries, SnapshotFilter, SnapshotRow};
use tokio_postgres::Client;

/// 40 series of two brokers, four accounts, ten contracts.
const FILL: &str = "SELECT greekd_make_partition('2018-02-01'), greekd_make_partition('2018-03-01');
    INSERT INTO series (broker, account_id, contract_key, multiplier, underlying, expiration, strike, option_type)
    SELECT CASE WHEN n % 2 = 0 THEN 'ibkr' ELSE 'tastytrade' END, 'A' || n % 4, 'C' || n % 10, n, 'U' || n % 5,
           '2018-06-15', n, 'C' FROM generate_series(1, 40) n";

/// `$1` rows at random times of an hour in which a month ends, whole seconds: many share theirs.
const INSERT: &str = "INSERT INTO greek_ticks (event_time, seq, received_at, series_id, quantity)
    SELECT '2018-02-28 23:30:00+00'::timestamptz + floor(random() * 3600) * interval '1 second',
           nextval('numbers'), now(), 1 + floor(random() * 40)::int, 1 FROM generate_series(1, $1::int)";

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn filter(&mut self) -> SnapshotFilter {
        let mut filter = SnapshotFilter::default();
        filter.limit = [7, 50, 333][usize::try_from(self.below(3)).unwrap()];
        filter.broker = (self.below(3) == 0).then(|| "ibkr".into());
        filter.account_id = (self.below(4) == 0).then(|| format!("A{}", self.below(4)));
        filter.contract_key = (self.below(4) == 0).then(|| format!("C{}", self.below(10)));
        filter.underlying = (self.below(4) == 0).then(|| format!("U{}", self.below(5)));
        filter.from = (self.below(4) == 0).then(|| crate::support::at("2018-02-28T23:40:00Z"));
        filter.to = (self.below(4) == 0).then(|| crate::support::at("2018-03-01T00:20:00Z"));
        filter
    }
}

async fn filled() -> (Database, Client, Queries) {
    let database = Database::migrated().await;
    let client = database.client().await;
    client.batch_execute(FILL).await.unwrap();
    client.batch_execute("CREATE SEQUENCE numbers").await.unwrap();
    client.execute(INSERT, &[&3_000]).await.unwrap();
    client.batch_execute("ANALYZE").await.unwrap();
    let queries = Queries::new(&database.config, 2).unwrap();
    (database, client, queries)
}

fn place(row: &SnapshotRow) -> String {
    row.cursor().to_string()
}

/// What the database has for a filter at this moment, asked plainly.
async fn stored(client: &Client, filter: &SnapshotFilter) -> BTreeSet<String> {
    let sql = "SELECT (extract(epoch FROM t.event_time) * 1000000)::bigint || '.' || t.seq \
        FROM greek_ticks t JOIN series s USING (series_id) WHERE ($1::text IS NULL OR s.broker = $1) \
        AND ($2::text IS NULL OR s.account_id = $2) AND ($3::text IS NULL OR s.contract_key = $3) \
        AND ($4::text IS NULL OR s.underlying = $4) AND ($5::timestamptz IS NULL OR t.event_time >= $5) \
        AND ($6::timestamptz IS NULL OR t.event_time < $6)";
    let SnapshotFilter { broker, account_id, contract_key, underlying, .. } = filter;
    let [from, to] = [filter.from, filter.to].map(|time| time.map(greeks_model::UnixNanos::to_timestamp));
    let rows = client.query(sql, &[broker, account_id, contract_key, underlying, &from, &to]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_is_skipped_or_repeated_while_others_come() {
    let (database, client, queries) = filled().await;
    let writer = database.client().await;
    let ended = AtomicBool::new(false);
    let storing = async {
        let mut rows = 0;
        while !ended.load(Ordering::Relaxed) {
            rows += writer.execute(INSERT, &[&3]).await.unwrap();
        }
        rows
    };
    let paging = async {
        let (mut random, mut come_between) = (Random(0x9e37_79b9), 0);
        for _ in 0..40 {
            let mut filter = random.filter();
            let before = stored(&client, &filter).await;
            let (mut seen, mut last) = (BTreeSet::new(), None);
            loop {
                let page = queries.snapshots(&filter).await.unwrap();
                for row in &page.rows {
                    let at = (row.event_time, place(row));
                    assert!(last.as_ref().is_none_or(|(time, _)| row.event_time <= *time), "newest first: {filter:?}");
                    assert!(seen.insert(at.1.clone()), "{} twice: {filter:?}", at.1);
                    last = Some(at);
                }
                match page.next {
                    Some(next) => filter.cursor = Some(next.to_string().parse().unwrap()),
                    None => break,
                }
            }
            let skipped: Vec<_> = before.difference(&seen).collect();
            assert!(skipped.is_empty(), "{skipped:?} skipped: {filter:?}");
            let after = stored(&client, &filter).await;
            assert!(seen.is_subset(&after), "{filter:?}");
            come_between += seen.len() - before.len();
        }
        ended.store(true, Ordering::Relaxed);
        come_between
    };
    let (rows, come_between) = tokio::join!(storing, paging);
    assert!(rows > 0 && come_between > 0, "nothing came between: {rows}, {come_between}");
}

/// The control: pages by number, as many interfaces have them, repeat rows.
#[tokio::test]
async fn pages_by_number_would_repeat_rows() {
    let (_database, client, queries) = filled().await;
    let sql = "SELECT (extract(epoch FROM event_time) * 1000000)::bigint || '.' || seq \
               FROM greek_ticks ORDER BY event_time DESC, seq DESC LIMIT 100 OFFSET $1";
    let mut seen = BTreeSet::new();
    let mut repeated = 0;
    for page in 0..5_i64 {
        let rows = client.query(sql, &[&(page * 100)]).await.unwrap();
        repeated += rows.iter().filter(|row| !seen.insert(row.get::<_, String>(0))).count();
        client.execute(INSERT, &[&300]).await.unwrap();
    }
    assert!(repeated > 0);
    // The order itself is the same.
    let rows = client.query(sql, &[&0_i64]).await.unwrap();
    let page = queries.snapshots(&SnapshotFilter::default()).await.unwrap();
    assert_eq!(
        page.rows.iter().map(place).collect::<Vec<_>>(),
        rows.iter().map(|row| row.get(0)).collect::<Vec<String>>()
    );
}

/// Where the newest rows of all hold too few of those asked for, each series is asked: rare ones are found all the same.
#[tokio::test]
async fn many_quiet_series_are_found_behind_a_flood() {
    let (_database, client, queries) = filled().await;
    let flood = "INSERT INTO greek_ticks (event_time, seq, received_at, series_id, quantity)
        SELECT '2018-03-20'::timestamptz + n * interval '1 second', 1000000 + n, now(), 1, 1 FROM generate_series(1, 25000) n";
    client.batch_execute(flood).await.unwrap();
    let mut filter = SnapshotFilter::default();
    filter.broker = Some("ibkr".into());
    let expected = "SELECT (extract(epoch FROM event_time) * 1000000)::bigint || '.' || seq \
        FROM greek_ticks JOIN series USING (series_id) WHERE broker = 'ibkr' \
        ORDER BY event_time DESC, seq DESC LIMIT 100";
    let expected: Vec<String> = client.query(expected, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    let page = queries.snapshots(&filter).await.unwrap();
    assert_eq!(page.rows.iter().map(place).collect::<Vec<_>>(), expected);
    assert_eq!(page.next.map(|next| next.to_string()).as_ref(), expected.last());
}
