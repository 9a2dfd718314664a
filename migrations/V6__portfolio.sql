-- The book minute by minute, and indexes for questions that come in pages.

-- A line is worked out by one descent of an index per minute asked for, so the cost grows with minutes times lines held and
-- not with the rows stored: ask for hours or days of minutes, never for all. A row speaks for the minute it falls in and for
-- those that begin up to 15 minutes after it: without that a contract that is quoted every other minute would blink.
CREATE VIEW v_portfolio_1m AS
WITH blind AS MATERIALIZED (
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
            OR NOT coalesce(blind.stretches @> tstzrange(m.minute, m.minute + interval '1 minute'), false)) line
 GROUP BY line.minute, line.broker, line.account_id, line.underlying;

COMMENT ON VIEW v_portfolio_1m IS 'What was held at the end of each minute and its Greeks, position-signed (value * quantity * multiplier), per broker, account and underlying; always give bounds for minute';
COMMENT ON COLUMN v_portfolio_1m.minute IS 'Its beginning. What is held and known is that of its end; nothing is told of minutes to come';
COMMENT ON COLUMN v_portfolio_1m.delta IS 'In units of the underlying. As each figure: the sum over the lines in which it is known, NULL when it is in none';
COMMENT ON COLUMN v_portfolio_1m.delta_dollars IS 'delta times the price of the underlying';
COMMENT ON COLUMN v_portfolio_1m.gamma_1pct IS 'By how much delta_dollars changes when the underlying moves by 1 %, from gamma alone: gamma * price * price / 100';
COMMENT ON COLUMN v_portfolio_1m.theta IS 'Money per calendar day';
COMMENT ON COLUMN v_portfolio_1m.vega IS 'Money per 1 volatility point';
COMMENT ON COLUMN v_portfolio_1m.lines IS 'Contracts held';
COMMENT ON COLUMN v_portfolio_1m.lines_covered IS 'Those with a row in the minute or the 15 before it, all of its values known; none is carried through a minute in which the source was not heard. Less than lines: the figures are of a part';

-- Trades in the order in which they are listed, newest first; the id keeps apart those of one moment.
CREATE INDEX trades_newest ON trades (created_at, id);
DROP INDEX trades_created_at;

CREATE INDEX ingest_quarantine_at ON ingest_quarantine (quarantined_at);
