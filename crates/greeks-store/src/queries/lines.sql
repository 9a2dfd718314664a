-- What every line held had in each bucket. $1 and $2: the buckets' beginnings and ends; $3: of how many microseconds at its
-- end a bucket is a picture; $4: how many microseconds before that a value may come from; $5 to $8 broker, account,
-- contract, underlying, where NULL does not restrict.
-- The rules are those of v_portfolio_1m (migrations/V9__sound_minutes.sql), for buckets of any length.
WITH stretches AS MATERIALIZED (
    SELECT s.series_id, s.broker, s.account_id, s.underlying, p.quantity,
           CASE WHEN abs(p.quantity) BETWEEN 1e-15 AND 1e15 THEN p.quantity * s.multiplier::double precision END AS units,
           p.observed_at AS held_from,
           min(p.observed_at) OVER (PARTITION BY s.series_id ORDER BY p.positions_history_id DESC
                                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS held_to
      FROM series s
      JOIN positions_history p USING (broker, account_id, contract_key, multiplier)
     WHERE ($5::text IS NULL OR s.broker = $5) AND ($6::text IS NULL OR s.account_id = $6)
       AND ($7::text IS NULL OR s.contract_key = $7) AND ($8::text IS NULL OR s.underlying = $8)),
held AS MATERIALIZED (
    SELECT * FROM stretches
     WHERE quantity <> 0 AND held_from < (SELECT max(until) FROM unnest($2::timestamptz[]) until)
       AND (held_to IS NULL OR held_to >= (SELECT min(until) FROM unnest($2::timestamptz[]) until))),
brokers AS MATERIALIZED (
    SELECT k.broker, k.first_seen, g.blind
      FROM (SELECT broker, min(held_from) AS first_seen FROM stretches GROUP BY broker) k
      LEFT JOIN LATERAL (
           SELECT range_agg(tstzrange(gap_from, gap_to)) AS blind FROM ingest_gaps
            WHERE source IN (k.broker, 'journal') AND reason <> 'clock_step'
              AND (gap_to IS NULL OR gap_to > gap_from)) g ON true),
buckets AS MATERIALIZED (
    SELECT b.bucket, b.until, pictured.since, pictured.since - $4::bigint * interval '1 microsecond' AS carried_since
      FROM unnest($1::timestamptz[], $2::timestamptz[]) AS b(bucket, until)
     -- The bucket that still runs ends with the minute that still runs.
     CROSS JOIN LATERAL (
           SELECT greatest(b.bucket, least(b.until, date_trunc('minute', statement_timestamp()) + interval '1 minute')
                                     - $3::bigint * interval '1 microsecond') AS since) pictured
     WHERE b.bucket <= statement_timestamp()),
heard AS MATERIALIZED (
    SELECT b.bucket, r.broker, NOT coalesce(r.blind @> tstzrange(b.since, b.until), false) AS heard
      FROM buckets b
      JOIN brokers r ON r.first_seen < b.until),
lines AS (
    SELECT b.bucket, h.broker, h.account_id, h.underlying,
           h.units * t.delta AS delta,
           h.units * t.delta * t.underlying_price AS delta_dollars,
           h.units * t.gamma * t.underlying_price * t.underlying_price * 0.01 AS gamma_1pct,
           h.units * t.theta AS theta,
           h.units * t.vega AS vega
      FROM buckets b
      JOIN held h ON h.held_from < b.until AND (h.held_to IS NULL OR h.held_to >= b.until)
      JOIN heard ON heard.bucket = b.bucket AND heard.broker = h.broker
      LEFT JOIN LATERAL (
           SELECT k.event_time,
                  CASE WHEN abs(k.delta) BETWEEN 1e-200 AND 1e200 OR k.delta = 0 THEN k.delta END AS delta,
                  CASE WHEN abs(k.gamma) BETWEEN 1e-200 AND 1e200 OR k.gamma = 0 THEN k.gamma END AS gamma,
                  CASE WHEN abs(k.theta) BETWEEN 1e-200 AND 1e200 OR k.theta = 0 THEN k.theta END AS theta,
                  CASE WHEN abs(k.vega) BETWEEN 1e-200 AND 1e200 OR k.vega = 0 THEN k.vega END AS vega,
                  CASE WHEN abs(k.underlying_price) BETWEEN 1e-15 AND 1e15 OR k.underlying_price = 0
                       THEN k.underlying_price END AS underlying_price
             FROM greek_ticks k
            WHERE k.series_id = h.series_id AND k.event_time >= b.carried_since AND k.event_time < b.until
            ORDER BY k.event_time DESC, k.seq DESC
            LIMIT 1) t
        ON t.event_time >= b.since OR heard.heard)
