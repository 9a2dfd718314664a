-- A figure of what was held, over time. $1, $2, $3: each bucket's beginning, end, and how far back a value may come from;
-- $4 the metric; $5 to $8 broker, account, contract, underlying, where NULL does not restrict.
-- The rules are those of v_portfolio_1m (migrations/V6__portfolio.sql), for buckets of any length.
WITH stretches AS MATERIALIZED (
    SELECT s.series_id, s.broker, p.quantity * s.multiplier::double precision AS units, p.observed_at AS held_from,
           min(p.observed_at) OVER (PARTITION BY s.series_id ORDER BY p.positions_history_id DESC
                                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS held_to
      FROM series s
      JOIN positions_history p USING (broker, account_id, contract_key, multiplier)
     WHERE ($5::text IS NULL OR s.broker = $5) AND ($6::text IS NULL OR s.account_id = $6)
       AND ($7::text IS NULL OR s.contract_key = $7) AND ($8::text IS NULL OR s.underlying = $8)),
held AS MATERIALIZED (
    SELECT * FROM stretches
     WHERE units <> 0 AND held_from < ($2::timestamptz[])[cardinality($2::timestamptz[])]
       AND (held_to IS NULL OR held_to >= ($2::timestamptz[])[1])),
brokers AS MATERIALIZED (
    SELECT k.broker, k.first_seen, g.blind
      FROM (SELECT broker, min(held_from) AS first_seen FROM stretches GROUP BY broker) k
      LEFT JOIN LATERAL (
           SELECT range_agg(tstzrange(gap_from, gap_to)) AS blind FROM ingest_gaps
            WHERE source IN (k.broker, 'journal') AND (gap_to IS NULL OR gap_to > gap_from)) g ON true),
buckets AS MATERIALIZED (
    SELECT * FROM unnest($1::timestamptz[], $2::timestamptz[], $3::timestamptz[]) AS b(bucket, until, since)
     WHERE b.bucket <= statement_timestamp()),
heard AS MATERIALIZED (
    SELECT b.bucket, r.broker, NOT coalesce(r.blind @> tstzrange(b.bucket, b.until), false) AS heard
      FROM buckets b
      JOIN brokers r ON r.first_seen < b.until),
lines AS (
    SELECT b.bucket, h.units * CASE $4::text
               WHEN 'delta' THEN t.delta
               WHEN 'delta_dollars' THEN t.delta * t.underlying_price
               WHEN 'gamma_1pct' THEN t.gamma * t.underlying_price * t.underlying_price * 0.01
               WHEN 'theta' THEN t.theta
               WHEN 'vega' THEN t.vega END AS value
      FROM buckets b
      JOIN held h ON h.held_from < b.until AND (h.held_to IS NULL OR h.held_to >= b.until)
      JOIN heard ON heard.bucket = b.bucket AND heard.broker = h.broker
      LEFT JOIN LATERAL (
           SELECT k.* FROM greek_ticks k
            WHERE k.series_id = h.series_id AND k.event_time >= b.since AND k.event_time < b.until
            ORDER BY k.event_time DESC, k.seq DESC
            LIMIT 1) t
        ON t.event_time >= b.bucket OR heard.heard)
SELECT b.bucket,
       -- Zero only where somebody has said that nothing was held.
       CASE WHEN count(l.bucket) > 0 THEN sum(l.value)
            WHEN EXISTS (SELECT FROM heard WHERE heard.bucket = b.bucket AND heard.heard) THEN 0 END,
       count(l.value), count(l.bucket)
  FROM buckets b
  LEFT JOIN lines l USING (bucket)
 GROUP BY b.bucket
 ORDER BY b.bucket
