//! Who may do what, and that it is enough.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{Database, WallClock, at, series, tick, ticks};
use greeks_model::{GapReason, GapRecord, PositionsRecord, Record, Seq, Series, ShedRecord, UnixNanos, testkit};
use greeks_store::private::{PrivateConfig, PrivateServer};
use greeks_store::{
    Committer, CommitterConfig, DatabaseConfig, INGEST_ROLE, MAINTENANCE_ROLE, Queries, READ_ROLE, RolesError,
    SnapshotFilter, make_roles, migrate,
};
use tokio_postgres::Client;

const CALL: &str = "AAPL  261218C00232500";

/// A role that can log in and has what `group` has; the name is that of the database, which no two tests share.
async fn login(database: &Database, group: Option<&str>) -> tokio_postgres::Config {
    let client = database.client().await;
    let name = format!("{}_{}", database.config.database(), group.unwrap_or("nobody"));
    client.batch_execute(&format!("CREATE ROLE {name} LOGIN")).await.unwrap();
    if let Some(group) = group {
        client.batch_execute(&format!("GRANT {group} TO {name}")).await.unwrap();
    }
    let mut config = database.driver.clone();
    config.user(&name);
    config
}

/// No row has such a quantity here.
const REFUSED: f64 = -1.0;

async fn with_roles() -> Database {
    let database = Database::migrated().await;
    let rule = format!("ALTER TABLE greek_ticks ADD CHECK (quantity <> {REFUSED})");
    database.client().await.batch_execute(&rule).await.unwrap();
    make_roles(&database.config).await.unwrap();
    database
}

/// A right that is missing makes the committer wait for a person, for ever.
const ENOUGH: Duration = Duration::from_secs(45);

async fn store(config: DatabaseConfig, records: Vec<Record>) -> Seq {
    let log = Box::new(testkit::MemoryLog::new(records));
    let config = CommitterConfig::new(config, "test");
    let (committer, status) = Committer::new(config, log, Box::new(()), Arc::new(WallClock));
    match tokio::time::timeout(ENOUGH, committer.run()).await {
        Ok(stored) => stored.unwrap(),
        Err(_) => panic!("{:?}", status.borrow()),
    }
}

/// Ticks of an old and a coming month, positions, a gap that ends, shed events, and a row the database refuses.
fn mixed(series: &Arc<Series>) -> Vec<Record> {
    let (source, now) = (series.broker.clone(), at("2026-11-20T15:00:00Z"));
    let positions = |quantity| {
        Record::Positions(PositionsRecord {
            source: source.clone(),
            account_id: series.account_id.clone(),
            observed_at: now,
            positions: vec![(Arc::clone(series), quantity)],
        })
    };
    let gap =
        |to| Record::Gap(GapRecord { source: source.clone(), from: now, to, reason: GapReason::Silence, count: None });
    let at_time = |time: UnixNanos| {
        let mut tick = tick(series, 1);
        tick.event_time = time;
        tick
    };
    let mut refused = at_time(now);
    refused.quantity = REFUSED;
    let shed = ShedRecord { source: source.clone(), from: now, to: now, count: 9 };
    let mut records = ticks(series, 0..20);
    records.extend([positions(2.0), gap(None), Record::Shed(shed), Record::Snapshot(refused)]);
    records.extend([positions(3.0), gap(Some(at("2026-11-20T15:01:00Z")))]);
    records.extend(["2018-02-05T21:00:00Z", "2031-01-01T00:00:00Z"].map(|time| Record::Snapshot(at_time(at(time)))));
    records
}

#[tokio::test]
async fn the_committer_needs_no_more_than_the_ingest_role() {
    let database = with_roles().await;
    // Rows that an earlier run could not put where they belong.
    let sql = "INSERT INTO greek_ticks (event_time, seq, received_at, series_id, quantity) \
               VALUES ('2019-03-03 00:00+00', 1, now(), 1, 1)";
    database.client().await.batch_execute(sql).await.unwrap();
    let config = DatabaseConfig::new(login(&database, Some(INGEST_ROLE)).await);
    // What the daemon does at its start.
    migrate(&config).await.unwrap();
    let queries = Queries::new(&config, 1).unwrap();
    assert_eq!((queries.last_rows().await.unwrap().len(), queries.open_gaps().await.unwrap().len()), (0, 0));
    assert_eq!(store(config.clone(), mixed(&series("5WT00001", CALL))).await, Seq(28));
    assert_eq!((queries.last_rows().await.unwrap().len(), queries.open_gaps().await.unwrap().len()), (1, 0));
    for (expected, sql) in [
        (23, "SELECT count(*) FROM greek_ticks"),
        (0, "SELECT count(*) FROM greek_ticks_default"),
        (1, "SELECT count(*) FROM greek_ticks_2019_03"),
        (1, "SELECT count(*) FROM greek_ticks_2031_01"),
        (2, "SELECT count(*) FROM positions_history"),
        (2, "SELECT count(*) FROM ingest_gaps WHERE gap_to IS NOT NULL"),
        (1, "SELECT count(*) FROM ingest_quarantine WHERE sqlstate = '23514'"),
        (28, "SELECT last_seq FROM ingest_progress WHERE closed_at IS NOT NULL"),
        (0, "SELECT count(*) FROM pg_class WHERE relowner NOT IN (SELECT oid FROM pg_roles WHERE rolsuper)"),
    ] {
        assert_eq!(database.count(sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn questions_need_no_more_than_the_read_role() {
    let database = with_roles().await;
    store(database.config.clone(), mixed(&series("5WT00001", CALL))).await;
    let config = DatabaseConfig::new(login(&database, Some(READ_ROLE)).await);
    migrate(&config).await.unwrap();
    let queries = Queries::new(&config, 1).unwrap();
    let mut filter = SnapshotFilter::default();
    assert_eq!(queries.snapshots(&filter).await.unwrap().rows.len(), 22);
    filter.contract_key = Some(CALL.into());
    assert_eq!(queries.snapshots(&filter).await.unwrap().rows.len(), 22);
    assert_eq!(queries.latest(&filter).await.unwrap().len(), 1);
    assert_eq!(queries.last_rows().await.unwrap().len(), 1);
    assert_eq!(queries.positions().await.unwrap().len(), 1);
    assert_eq!(queries.cross_broker().await.unwrap().len(), 0);
    assert_eq!(queries.open_gaps().await.unwrap().len(), 0);
    assert!(queries.partitions().await.unwrap().iter().any(|partition| partition.rows == 20));
    let check = queries.check().await.unwrap();
    assert!(check.schema_version.is_some());
    assert_eq!((check.may_store, check.may_create), (Some(false), false), "it may only read");
    for (group, may_store) in [(INGEST_ROLE, true), (MAINTENANCE_ROLE, false)] {
        let config = DatabaseConfig::new(login(&database, Some(group)).await);
        let check = Queries::new(&config, 1).unwrap().check().await.unwrap();
        assert_eq!((check.may_store, check.may_create), (Some(may_store), false), "{group}");
    }
    // What everybody may make in the schema changes nothing of tables that are somebody else's.
    let owner = crate::support::client(&database.driver).await;
    owner.batch_execute("GRANT CREATE ON SCHEMA public TO PUBLIC").await.unwrap();
    assert!(!queries.check().await.unwrap().may_create);
    let views = "SELECT (SELECT count(*) FROM greek_snapshots) + (SELECT count(*) FROM v_latest_greeks) \
                 + (SELECT count(*) FROM v_positions) + (SELECT count(*) FROM v_cross_broker) \
                 + (SELECT count(*) FROM v_portfolio_1m WHERE minute = 'epoch') \
                 + (SELECT count(*) FROM trades) + (SELECT count(*) FROM ingest_quarantine)";
    let reader = crate::support::client(&login_again(&database, READ_ROLE)).await;
    assert_eq!(reader.query_one(views, &[]).await.unwrap().get::<_, i64>(0), 22 + 1 + 1 + 1);
}

fn login_again(database: &Database, group: &str) -> tokio_postgres::Config {
    let mut config = database.driver.clone();
    config.user(format!("{}_{group}", database.config.database()));
    config
}

/// What each role may do, as `verb relation` or `EXECUTE function`. Everything else is refused.
fn allowed(group: Option<&str>) -> BTreeSet<String> {
    let list: &[(&str, &str)] = match group {
        Some(INGEST_ROLE) => &[
            ("SELECT", "greek_ticks series positions_history ingest_gaps ingest_progress refinery_schema_history"),
            ("INSERT", "greek_ticks series positions_history ingest_gaps ingest_progress ingest_quarantine"),
            ("SELECT", "portfolio_minutes"),
            ("INSERT", "portfolio_minutes"),
            ("DELETE", "portfolio_minutes"),
            ("UPDATE", "ingest_gaps.gap_to ingest_gaps.reason ingest_gaps.events ingest_gaps.seq"),
            ("UPDATE", "ingest_progress.last_seq ingest_progress.updated_at ingest_progress.closed_at"),
            ("EXECUTE", "greekd_make_partition greekd_move_from_default greekd_default_months"),
        ],
        Some(MAINTENANCE_ROLE) => &[
            ("SELECT", "greek_ticks refinery_schema_history"),
            ("EXECUTE", "greekd_make_partition greekd_move_from_default greekd_default_months"),
        ],
        Some(READ_ROLE) => &[
            (
                "SELECT",
                "greek_snapshots v_latest_greeks v_positions v_cross_broker v_portfolio_1m greek_ticks series trades",
            ),
            ("SELECT", "positions_history ingest_gaps ingest_progress ingest_quarantine refinery_schema_history"),
            ("SELECT", "portfolio_minutes"),
            ("EXECUTE", "greekd_default_months"),
        ],
        _ => &[],
    };
    let each = list.iter().flat_map(|(verb, names)| names.split(' ').map(move |name| format!("{verb} {name}")));
    each.collect()
}

/// Whether the statement gets past the check of rights; it is undone in any case.
async fn passes(client: &Client, sql: &str) -> bool {
    let outcome = client.batch_execute(&format!("BEGIN; {sql}; ROLLBACK")).await;
    client.batch_execute("ROLLBACK").await.unwrap();
    let Err(error) = outcome else { return true };
    match error.code().unwrap().code() {
        // Not allowed; and not possible with a view, for anybody.
        "42501" | "55000" | "42809" => false,
        // Refused for what it would store, as the rights would have allowed: not null, unique, check, no partition.
        "23502" | "23505" | "23514" | "22023" | "0A000" | "2BP01" => true,
        other => panic!("{sql}: {other} {error}"),
    }
}

/// Everything a role could try on the schema as it is, by what the statement says.
async fn attempts(owner: &Client) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let sql = "SELECT relname::text, relkind = 'v', (SELECT array_agg(attname::text) FROM pg_attribute \
               WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) FROM pg_class c \
               WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') ORDER BY relname";
    for row in owner.query(sql, &[]).await.unwrap() {
        let (name, view, columns): (String, bool, Vec<String>) = (row.get(0), row.get(1), row.get(2));
        let kind = if view { "VIEW" } else { "TABLE" };
        let mut add = |verb: &str, what: &str, sql: String| all.push((format!("{verb} {what}"), sql));
        add("SELECT", &name, format!("SELECT * FROM {name} LIMIT 0"));
        add("INSERT", &name, format!("INSERT INTO {name} DEFAULT VALUES"));
        add("DELETE", &name, format!("DELETE FROM {name}"));
        add("TRUNCATE", &name, format!("TRUNCATE {name}"));
        add("DROP", &name, format!("DROP {kind} {name} CASCADE"));
        add("ALTER", &name, format!("ALTER {kind} {name} RENAME TO taken"));
        add("OWN", &name, format!("ALTER {kind} {name} OWNER TO CURRENT_USER"));
        for column in columns {
            add("UPDATE", &format!("{name}.{column}"), format!("UPDATE {name} SET {column} = DEFAULT"));
        }
    }
    let sql = "SELECT proname::text, pronargs = 0 FROM pg_proc WHERE pronamespace = 'public'::regnamespace";
    for row in owner.query(sql, &[]).await.unwrap() {
        let (name, bare): (String, bool) = (row.get(0), row.get(1));
        let argument = if bare { "" } else { "DATE '2031-01-01'" };
        all.push((format!("EXECUTE {name}"), format!("SELECT {name}({argument})")));
    }
    all.push(("CREATE".into(), "CREATE TABLE public.mine (a int)".into()));
    all.push(("CREATE SCHEMA".into(), "CREATE SCHEMA mine".into()));
    all.push(("CREATE PARTITION".into(), "CREATE TABLE public.mine PARTITION OF greek_ticks DEFAULT".into()));
    all.push((
        "CREATE TRIGGER".into(),
        "CREATE TRIGGER t BEFORE INSERT ON series EXECUTE FUNCTION suppress_redundant_updates_trigger()".into(),
    ));
    all
}

#[tokio::test]
async fn each_role_may_do_what_is_listed_and_nothing_else() {
    let database = with_roles().await;
    let owner = database.client().await;
    let mut counted = 0;
    store(database.config.clone(), mixed(&series("5WT00001", CALL))).await;
    let attempts = attempts(&owner).await;
    for group in [None, Some(INGEST_ROLE), Some(MAINTENANCE_ROLE), Some(READ_ROLE)] {
        let client = crate::support::client(&login(&database, group).await).await;
        let mut found = BTreeSet::new();
        for (what, sql) in &attempts {
            counted += 1;
            if passes(&client, sql).await {
                found.insert(what.clone());
            }
        }
        assert_eq!(found, allowed(group), "{group:?}");
    }
    println!("{counted} attempts");
    let memberships = "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member \
                       WHERE r.rolname LIKE 'greekd\\_%'";
    assert_eq!(database.count(memberships).await, 0, "no group has another one's rights");
}

#[tokio::test]
async fn a_second_run_takes_back_what_is_not_listed() {
    let database = with_roles().await;
    let client = database.client().await;
    client.batch_execute("GRANT DELETE ON greek_ticks, trades TO greekd_ingest, greekd_read").await.unwrap();
    let again = make_roles(&database.config).await.unwrap();
    assert_eq!(again.made, Vec::<&str>::new());
    let sql = "SELECT count(*) FROM pg_class, unnest(ARRAY['greekd_ingest', 'greekd_read']) role \
               WHERE relname IN ('greek_ticks', 'trades') AND has_table_privilege(role, oid, 'DELETE')";
    assert_eq!(database.count(sql).await, 0);
}

#[tokio::test]
async fn arguments_of_the_functions_are_checked() {
    let database = with_roles().await;
    let client = crate::support::client(&login(&database, Some(MAINTENANCE_ROLE)).await).await;
    let relations = "SELECT count(*) FROM pg_class";
    let before = database.count(relations).await;
    for (argument, code) in [
        ("NULL", "22023"),
        ("'infinity'", "22023"),
        ("'-infinity'", "22023"),
        ("'2026-11-02'", "22023"),
        ("'1677-08-01'", "22023"),
        ("'2262-05-01'", "22023"),
        ("'0001-01-01 BC'", "22023"),
        ("'2030-01-01''); DROP TABLE trades; --'", "22007"),
        ("'2030-01-01 OF trades'", "22007"),
        ("'2030-01-01; DROP TABLE trades'::text", "42883"),
    ] {
        for function in ["greekd_make_partition", "greekd_move_from_default"] {
            let error = client.simple_query(&format!("SELECT {function}({argument})")).await.unwrap_err();
            assert_eq!(error.code().unwrap().code(), code, "{function}({argument}): {error}");
        }
    }
    assert_eq!(database.count(relations).await, before);
    // The time zone and the style of dates are the caller's; a month is one of UTC all the same.
    client.batch_execute("SET timezone = 'Asia/Tokyo'; SET datestyle = 'SQL, DMY'").await.unwrap();
    let sql = "SELECT greekd_make_partition(make_date(2030, 3, 1)), greekd_make_partition(make_date(2030, 3, 1))";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get::<_, bool>(0), row.get::<_, bool>(1)), (true, false));
    let owner = database.client().await;
    owner.batch_execute("SET timezone = 'UTC'").await.unwrap();
    let sql = "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'greek_ticks_2030_03'";
    let bounds: String = owner.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(bounds, "FOR VALUES FROM ('2030-03-01 00:00:00+00') TO ('2030-04-01 00:00:00+00')");
}

#[tokio::test]
async fn what_a_caller_puts_on_the_search_path_has_no_effect() {
    let database = with_roles().await;
    let config = login(&database, Some(MAINTENANCE_ROLE)).await;
    let caller = config.get_user().unwrap();
    // As much as can be had: before PostgreSQL 15 everybody may make things in public.
    let owner = database.client().await;
    let sql = format!("CREATE SCHEMA evil AUTHORIZATION {caller}; GRANT CREATE ON SCHEMA public TO {caller}");
    owner.batch_execute(&sql).await.unwrap();
    let client = crate::support::client(&config).await;
    let trap = "LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped as %', current_user; END $$";
    for schema in ["evil", "public"] {
        let sql = format!(
            "CREATE FUNCTION {schema}.to_char(date, text) RETURNS text {trap}; \
             CREATE FUNCTION {schema}.to_char(timestamp, text) RETURNS text {trap}; \
             CREATE FUNCTION {schema}.format(text, text, text) RETURNS text {trap}; \
             CREATE FUNCTION {schema}.format(text, text, text, text, text) RETURNS text {trap}; \
             CREATE FUNCTION {schema}.date_trunc(text, timestamp) RETURNS timestamp {trap}; \
             CREATE FUNCTION {schema}.quote_ident(text) RETURNS text {trap}; \
             CREATE FUNCTION {schema}.cat(text, text) RETURNS text {trap}; \
             CREATE OPERATOR {schema}.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = {schema}.cat)"
        );
        client.batch_execute(&sql).await.unwrap();
    }
    client
        .batch_execute(
            "SET search_path = evil, public; \
             CREATE TABLE evil.greek_ticks (event_time timestamptz NOT NULL) PARTITION BY RANGE (event_time); \
             CREATE TABLE evil.greek_ticks_default PARTITION OF evil.greek_ticks DEFAULT; \
             CREATE TEMP TABLE greek_ticks_default (LIKE public.greek_ticks); \
             INSERT INTO evil.greek_ticks VALUES ('2030-02-03'); \
             CREATE TEMP TABLE pg_class (relname text)",
        )
        .await
        .unwrap();
    let sql = "INSERT INTO public.greek_ticks (event_time, seq, received_at, series_id, quantity) \
               VALUES ('2030-02-04', 1, now(), 1, 1)";
    owner.batch_execute(sql).await.unwrap();
    let sql = "SELECT public.greekd_make_partition('2030-01-01')::text, \
               (SELECT count(*) FROM public.greekd_default_months())::text, \
               public.greekd_move_from_default('2030-02-01')::text";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert_eq!([0, 1, 2].map(|place| row.get::<_, String>(place)), ["true", "1", "1"]);
    let sql = "SELECT string_agg(inhparent::regclass || ' ' || inhrelid::regclass, ', ' ORDER BY inhrelid) \
               FROM pg_inherits i JOIN pg_class c ON c.oid = inhrelid \
               WHERE c.relkind = 'r' AND c.relname LIKE 'greek_ticks_2030%'";
    let made: String = owner.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(made, "greek_ticks greek_ticks_2030_01, greek_ticks greek_ticks_2030_02");
    assert_eq!(database.count("SELECT count(*) FROM evil.greek_ticks").await, 1);
}

/// The owner of a database is nobody special on its server.
#[tokio::test]
async fn an_ordinary_owner_migrates_and_is_told_who_can_make_roles() {
    let dir = tempfile::tempdir().unwrap();
    let server = PrivateServer::start(PrivateConfig::throwaway(dir.path())).await.unwrap();
    let mut driver = server.create_database("theirs").await.unwrap();
    let admin = crate::support::client(&driver).await;
    // A schema of their own, with a name that has to be quoted.
    let sql = "CREATE ROLE owner LOGIN; ALTER DATABASE theirs OWNER TO owner; \
               CREATE SCHEMA \"o'd %d\" AUTHORIZATION owner; ALTER DATABASE theirs SET search_path = \"o'd %d\"";
    admin.batch_execute(sql).await.unwrap();
    let config = DatabaseConfig::new(driver.user("owner").clone());
    migrate(&config).await.unwrap();
    match make_roles(&config).await {
        Err(RolesError::MayNotCreate { missing }) => assert_eq!(missing, [INGEST_ROLE, MAINTENANCE_ROLE, READ_ROLE]),
        other => panic!("{other:?}"),
    }
    let sql = "CREATE ROLE greekd_ingest; CREATE ROLE greekd_maintenance; CREATE ROLE greekd_read CREATEDB; \
               CREATE ROLE stranger LOGIN IN ROLE greekd_ingest";
    admin.batch_execute(sql).await.unwrap();
    let refused = make_roles(&config).await;
    assert!(matches!(&refused, Err(RolesError::Sql(error)) if error.code().unwrap().code() == "42710"), "{refused:?}");
    admin.batch_execute("ALTER ROLE greekd_read NOCREATEDB").await.unwrap();
    let made = make_roles(&config).await.unwrap();
    assert_eq!((made.made, made.public_may_create), (vec![], false));
    let stranger = DatabaseConfig::new(driver.user("stranger").clone());
    assert!(matches!(make_roles(&stranger).await, Err(RolesError::NotOwner)));
    migrate(&stranger).await.unwrap();
    store(stranger, mixed(&series("5WT00001", CALL))).await;
    let theirs = crate::support::client(driver.user("owner")).await;
    let sql = "SELECT count(*) FROM greek_ticks_2031_01";
    assert_eq!(theirs.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 1);
    drop((admin, theirs));
    server.stop().await.unwrap();
}
