-- The minutes of the book, worked out once. A question about a day of a book asks for a line of every minute: what has been
-- worked out of closed minutes is kept, and the view says the same as without it, only sooner.

-- Written and kept true by the program that stores the rows: what is stored later and belongs to a minute takes it away, to
-- be worked out anew. Sums over a whole account have no underlying, those over everything neither broker nor account; the
-- last is there for every minute stored, even where nothing was held.
CREATE TABLE portfolio_minutes (
    minute              timestamptz NOT NULL,
    broker              text        NOT NULL,
    account_id          text        NOT NULL,
    underlying          text        NOT NULL,
    delta               double precision,
    delta_dollars       double precision,
    gamma_1pct          double precision,
    theta               double precision,
    vega                double precision,
    lines               integer     NOT NULL,
    lines_covered       integer     NOT NULL,
    lines_delta         integer     NOT NULL,
    lines_delta_dollars integer     NOT NULL,
    lines_gamma_1pct    integer     NOT NULL,
    lines_theta         integer     NOT NULL,
    lines_vega          integer     NOT NULL,
    PRIMARY KEY (minute, underlying, account_id, broker)
);

COMMENT ON TABLE portfolio_minutes IS 'Closed minutes of v_portfolio_1m, kept; query the view instead. Nothing is lost with its rows: they are worked out anew. After a change of greek_ticks, positions_history or ingest_gaps by hand the minutes from the first one touched on have to be deleted';
COMMENT ON COLUMN portfolio_minutes.minute IS 'Its beginning';
COMMENT ON COLUMN portfolio_minutes.broker IS 'Empty in the sum over everything';
COMMENT ON COLUMN portfolio_minutes.account_id IS 'Empty in the sum over everything';
COMMENT ON COLUMN portfolio_minutes.underlying IS 'Empty in the sums over an account and over everything';
COMMENT ON COLUMN portfolio_minutes.delta IS 'As each figure that of v_portfolio_1m; NULL when it is known of no line';
COMMENT ON COLUMN portfolio_minutes.lines IS 'Contracts held';
COMMENT ON COLUMN portfolio_minutes.lines_covered IS 'Those of which everything is known';
COMMENT ON COLUMN portfolio_minutes.lines_delta IS 'Those of which this figure is known, as for the next ones';

-- As before, but for the minutes that are stored. LIMIT keeps the planner from reading all of them to leave them out.
CREATE OR REPLACE VIEW v_portfolio_1m AS
SELECT p.minute, p.broker, p.account_id, p.underlying, p.delta, p.delta_dollars, p.gamma_1pct, p.theta, p.vega,
       p.lines::bigint AS lines, p.lines_covered::bigint AS lines_covered
  FROM portfolio_minutes p
 WHERE p.underlying <> ''
UNION ALL
(WITH blind AS MATERIALIZED (
    -- Stretches in which the source was not heard. The journal's own are anybody's.
    SELECT b.broker, range_agg(tstzrange(g.gap_from, g.gap_to)) AS stretches
      FROM (SELECT DISTINCT broker FROM series) b
      JOIN ingest_gaps g ON g.source IN (b.broker, 'journal')
     WHERE g.gap_to IS NULL OR g.gap_to > g.gap_from
     GROUP BY b.broker)
SELECT line.minute, line.broker, line.account_id, line.underlying,
       sum(line.units * line.delta) AS delta,
       sum(line.units * line.delta * line.underlying_price) AS delta_dollars,
       sum(line.units * line.gamma * line.underlying_price * line.underlying_price * 0.01) AS gamma_1pct,
       sum(line.units * line.theta) AS theta,
       sum(line.units * line.vega) AS vega,
       count(*) AS lines,
       count(*) FILTER (WHERE line.delta IS NOT NULL AND line.gamma IS NOT NULL AND line.theta IS NOT NULL
                          AND line.vega IS NOT NULL AND line.underlying_price IS NOT NULL) AS lines_covered
  FROM (SELECT m.minute, h.broker, h.account_id, h.underlying, h.quantity * h.multiplier::double precision AS units,
               t.delta, t.gamma, t.theta, t.vega, t.underlying_price
          FROM (SELECT generate_series(
                           date_trunc('minute', (SELECT min(event_time) FROM greek_ticks)),
                           least((SELECT max(event_time) FROM greek_ticks) + interval '15 minutes', statement_timestamp()),
                           interval '1 minute') AS minute) m
          LEFT JOIN LATERAL (
               SELECT true AS is_stored FROM portfolio_minutes p
                WHERE p.underlying = '' AND p.minute = m.minute AND p.account_id = '' AND p.broker = ''
                LIMIT 1) stored ON true
          JOIN (SELECT s.series_id, s.broker, s.account_id, s.underlying, s.multiplier, p.quantity,
                       p.observed_at AS held_from,
                       -- The first change of those written later; a clock may have been set back between them.
                       min(p.observed_at) OVER (
                           PARTITION BY s.broker, s.account_id, s.underlying, s.series_id
                           ORDER BY p.positions_history_id DESC
                           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS held_to
                  FROM series s
                  JOIN positions_history p USING (broker, account_id, contract_key, multiplier)) h
            ON h.quantity <> 0 AND h.held_from < m.minute + interval '1 minute'
           AND (h.held_to IS NULL OR h.held_to >= m.minute + interval '1 minute')
          LEFT JOIN blind ON blind.broker = h.broker
          LEFT JOIN LATERAL (
               SELECT k.event_time, k.delta, k.gamma, k.theta, k.vega, k.underlying_price
                 FROM greek_ticks k
                WHERE k.series_id = h.series_id
                  AND k.event_time >= m.minute - interval '15 minutes' AND k.event_time < m.minute + interval '1 minute'
                ORDER BY k.event_time DESC, k.seq DESC
                LIMIT 1) t
            ON t.event_time >= m.minute
            OR NOT coalesce(blind.stretches @> tstzrange(m.minute, m.minute + interval '1 minute'), false)
         WHERE stored.is_stored IS NULL) line
 GROUP BY line.minute, line.broker, line.account_id, line.underlying);

COMMENT ON COLUMN v_portfolio_1m.minute IS 'Its beginning. What is held and known is that of its end; nothing is told of minutes to come. Of those that lie 15 minutes and more behind the last row, of which nothing is known, some may be left out';

-- Who had the rights of the stream or of readers before this version (`greekd db roles`) has them for the new table too.
DO $rights$
BEGIN
    IF has_table_privilege('greekd_ingest', 'greek_ticks', 'INSERT') THEN
        GRANT INSERT, SELECT, DELETE ON portfolio_minutes TO greekd_ingest;
    END IF;
    IF has_table_privilege('greekd_read', 'greek_ticks', 'SELECT') THEN
        GRANT SELECT ON portfolio_minutes TO greekd_read;
    END IF;
EXCEPTION WHEN undefined_object THEN
    NULL; -- there are no such roles
END
$rights$;
