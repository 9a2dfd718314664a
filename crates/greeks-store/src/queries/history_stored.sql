-- One figure over time, as far as the minutes that end the buckets are stored and anything was held. $1 and $2: the
-- buckets' beginnings, and the last minute of each; $3 the metric; $4 and $5 broker and account, where NULL does not
-- restrict; $6 the underlying, or empty for all; $7 whether everything is asked for, which is one row a minute.
SELECT b.bucket, m.value, m.covered, m.held
  FROM unnest($1::timestamptz[], $2::timestamptz[]) AS b(bucket, minute)
 -- One descent of the index for each bucket, whatever the planner knows of the table.
 CROSS JOIN LATERAL (
       SELECT sum(CASE $3::text
                      WHEN 'delta' THEN p.delta
                      WHEN 'delta_dollars' THEN p.delta_dollars
                      WHEN 'gamma_1pct' THEN p.gamma_1pct
                      WHEN 'theta' THEN p.theta
                      WHEN 'vega' THEN p.vega END) AS value,
              sum(CASE $3::text
                      WHEN 'delta' THEN p.lines_delta
                      WHEN 'delta_dollars' THEN p.lines_delta_dollars
                      WHEN 'gamma_1pct' THEN p.lines_gamma_1pct
                      WHEN 'theta' THEN p.lines_theta
                      WHEN 'vega' THEN p.lines_vega END) AS covered,
              sum(p.lines) AS held
         FROM portfolio_minutes p
        WHERE p.underlying = $6::text AND p.minute = b.minute AND (p.broker = '') = $7::boolean
          AND ($4::text IS NULL OR p.broker = $4) AND ($5::text IS NULL OR p.account_id = $5)) m
 WHERE m.held > 0
