-- What only the owner of the tables may do, behind functions, so that the program that stores rows need own nothing.
--
-- The functions run with the rights of their owner. Nothing a caller can change has a part in what they do: names are
-- written with their schema, the search path holds only what PostgreSQL brings along, the one argument is a date and
-- is checked, and lock_timeout is theirs. Who may call them is granted (`greekd db roles`), to nobody at first.

DO $migration$
DECLARE
    -- Where V1 has put the tables: the schema that is first on the search path of whoever migrates.
    home text := (SELECT nspname FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
                   WHERE c.oid = 'greek_ticks'::regclass);
    step text;
BEGIN
    FOREACH step IN ARRAY ARRAY[

-- The name of the month's partition. Outside of these years no record has a time.
$sql$
CREATE FUNCTION @home@.greekd_partition_name(month date) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF month IS NULL OR month NOT BETWEEN DATE '1677-09-01' AND DATE '2262-04-01' OR extract(day FROM month) <> 1 THEN
        RAISE EXCEPTION 'not the first day of a month from 1677-09 to 2262-04' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN 'greek_ticks_' || to_char(month, 'YYYY_MM');
END
$body$
$sql$,

-- A table for the month, not yet a partition; false when the month has its partition. The CHECK spares ATTACH a scan.
$sql$
CREATE FUNCTION @home@.greekd_prepare_month(month date) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    name text := @home@.greekd_partition_name(month);
BEGIN
    IF EXISTS (SELECT FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent JOIN pg_class c ON c.oid = i.inhrelid
                WHERE p.relname = 'greek_ticks' AND c.relname = name
                  AND p.relnamespace = c.relnamespace AND p.relnamespace = quote_ident(@schema@)::regnamespace) THEN
        RETURN false;
    END IF;
    -- Where the name is taken, by a month that was detached, this fails as it should.
    EXECUTE format('CREATE TABLE %1$I.%2$I (LIKE %1$I.greek_ticks INCLUDING ALL, '
                   'CONSTRAINT month CHECK (event_time >= %3$L AND event_time < %4$L))', @schema@, name,
                   to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00',
                   to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00');
    RETURN true;
END
$body$
$sql$,

$sql$
CREATE FUNCTION @home@.greekd_attach_month(month date) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    name text := @home@.greekd_partition_name(month);
BEGIN
    EXECUTE format('ALTER TABLE %1$I.greek_ticks ATTACH PARTITION %1$I.%2$I FOR VALUES FROM (%3$L) TO (%4$L)',
                   @schema@, name,
                   to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00',
                   to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00');
    EXECUTE format('ALTER TABLE %I.%I DROP CONSTRAINT month', @schema@, name);
END
$body$
$sql$,

-- Readers of other months are let in, and waited for only where they hold DEFAULT. Writers are kept out: one that chose
-- DEFAULT by the old list of partitions would be refused by the new one.
$sql$
CREATE FUNCTION @home@.greekd_make_partition(month date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $body$
BEGIN
    LOCK TABLE ONLY @home@.greek_ticks IN SHARE ROW EXCLUSIVE MODE;
    IF NOT @home@.greekd_prepare_month(month) THEN
        RETURN false;
    END IF;
    PERFORM @home@.greekd_attach_month(month);
    RETURN true;
END
$body$
$sql$,

-- Readers are kept out too: one that had planned without the new partition would miss the rows that have moved to it.
-- (One whose REPEATABLE READ snapshot is older than the move and that reads greek_ticks only afterwards still does.)
$sql$
CREATE FUNCTION @home@.greekd_move_from_default(month date) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $body$
DECLARE
    name text := @home@.greekd_partition_name(month);
    moved bigint;
BEGIN
    LOCK TABLE ONLY @home@.greek_ticks IN ACCESS EXCLUSIVE MODE;
    LOCK TABLE @home@.greek_ticks_default IN ACCESS EXCLUSIVE MODE;
    -- Where the month has its partition DEFAULT holds nothing of it.
    IF NOT @home@.greekd_prepare_month(month) THEN
        RETURN 0;
    END IF;
    EXECUTE format('WITH moved AS (DELETE FROM %1$I.greek_ticks_default WHERE event_time >= $1 AND event_time < $2 '
                   'RETURNING *) INSERT INTO %1$I.%2$I SELECT * FROM moved', @schema@, name)
      USING month::timestamp AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC';
    GET DIAGNOSTICS moved = ROW_COUNT;
    PERFORM @home@.greekd_attach_month(month);
    RETURN moved;
END
$body$
$sql$,

-- The month is NULL for times that no partition is made for. Costs nothing while DEFAULT is empty, as it should be.
$sql$
CREATE FUNCTION @home@.greekd_default_months() RETURNS TABLE (month date, month_rows bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $body$
BEGIN
    RETURN QUERY
    SELECT CASE WHEN event_time >= '1677-09-01 00:00:00+00' AND event_time < '2262-05-01 00:00:00+00'
                THEN date_trunc('month', event_time AT TIME ZONE 'UTC')::date END, count(*)
      FROM @home@.greek_ticks_default GROUP BY 1 ORDER BY 1;
END
$body$
$sql$,

$sql$
REVOKE ALL ON FUNCTION @home@.greekd_partition_name(date), @home@.greekd_prepare_month(date),
    @home@.greekd_attach_month(date), @home@.greekd_make_partition(date), @home@.greekd_move_from_default(date),
    @home@.greekd_default_months() FROM PUBLIC
$sql$

    ] LOOP
        EXECUTE replace(replace(step, '@home@', quote_ident(home)), '@schema@', quote_literal(home));
    END LOOP;
END
$migration$;

COMMENT ON FUNCTION greekd_make_partition(date) IS 'Makes the partition of a month unless it is there; true when made';
COMMENT ON FUNCTION greekd_move_from_default(date) IS 'Makes the partition of a month and moves its rows out of greek_ticks_default; how many';
COMMENT ON FUNCTION greekd_default_months() IS 'Months that have rows in greek_ticks_default, and how many';
