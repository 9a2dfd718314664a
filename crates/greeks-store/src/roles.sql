-- Three group roles that own nothing. May be run again: what an earlier version gave and this one does not is taken back.

DO $roles$
DECLARE
    home text := (SELECT nspname FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid
                   WHERE c.oid = 'greek_ticks'::regclass);
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['greekd_ingest', 'greekd_maintenance', 'greekd_read'] LOOP
        IF to_regrole(name) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- from another database of the same server, at the same time
            END;
        END IF;
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = name AND (rolcanlogin OR rolsuper OR rolcreaterole
                   OR rolcreatedb OR rolreplication OR rolbypassrls)) THEN
            RAISE EXCEPTION 'the role % may log in or has rights beyond those given here', name
                USING ERRCODE = 'duplicate_object';
        END IF;
        -- Both are everybody's unless an administrator has taken them away.
        IF NOT has_schema_privilege(name, home, 'USAGE') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', home, name);
        END IF;
        IF NOT has_database_privilege(name, current_database(), 'CONNECT') THEN
            EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), name);
        END IF;
    END LOOP;
END
$roles$;

REVOKE ALL ON greek_ticks, greek_ticks_default, series, trades, positions_history, ingest_gaps, ingest_progress,
    ingest_quarantine, portfolio_minutes, greek_snapshots, v_latest_greeks, v_positions, v_cross_broker, v_portfolio_1m,
    refinery_schema_history FROM greekd_ingest, greekd_maintenance, greekd_read;
REVOKE ALL ON FUNCTION greekd_partition_name(date), greekd_prepare_month(date), greekd_attach_month(date),
    greekd_make_partition(date), greekd_move_from_default(date), greekd_default_months()
    FROM greekd_ingest, greekd_maintenance, greekd_read;

-- Everybody looks whether the schema is the one they know.
GRANT SELECT ON refinery_schema_history TO greekd_ingest, greekd_maintenance, greekd_read;

-- The stream: it adds, moves its mark and closes gaps. At its start it reads what it stored last. Rows that refused to
-- be stored it only adds; trades are not its business.
GRANT INSERT, SELECT ON greek_ticks, series, positions_history, ingest_gaps, ingest_progress TO greekd_ingest;
GRANT UPDATE (last_seq, updated_at, closed_at) ON ingest_progress TO greekd_ingest;
GRANT UPDATE (gap_to, reason, events, seq) ON ingest_gaps TO greekd_ingest;
GRANT INSERT ON ingest_quarantine TO greekd_ingest;
-- What it has worked out of them it takes back when more comes.
GRANT INSERT, SELECT, DELETE ON portfolio_minutes TO greekd_ingest;

-- Partitions. The stream needs these too: a month may begin, or turn out to be missing, at any moment.
GRANT EXECUTE ON FUNCTION greekd_make_partition(date), greekd_move_from_default(date), greekd_default_months()
    TO greekd_ingest, greekd_maintenance;
GRANT SELECT ON greek_ticks TO greekd_maintenance;

GRANT SELECT ON greek_snapshots, v_latest_greeks, v_positions, v_cross_broker, v_portfolio_1m, greek_ticks, series,
    trades, positions_history, ingest_gaps, ingest_progress, ingest_quarantine, portfolio_minutes TO greekd_read;
-- Counts rows and does nothing else; what is in greek_ticks_default everybody who may read greek_ticks sees anyway.
GRANT EXECUTE ON FUNCTION greekd_default_months() TO greekd_read;
