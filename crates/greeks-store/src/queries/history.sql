-- One figure of all lines (lines.sql), over time. $9: the metric.
SELECT b.bucket,
       -- Zero only where somebody has said that nothing was held.
       CASE WHEN count(l.bucket) > 0 THEN sum(l.value)
            WHEN EXISTS (SELECT FROM heard WHERE heard.bucket = b.bucket AND heard.heard) THEN 0 END,
       count(l.value), count(l.bucket)
  FROM buckets b
  LEFT JOIN (
       SELECT bucket, CASE $9::text
                  WHEN 'delta' THEN delta
                  WHEN 'delta_dollars' THEN delta_dollars
                  WHEN 'gamma_1pct' THEN gamma_1pct
                  WHEN 'theta' THEN theta
                  WHEN 'vega' THEN vega END AS value
         FROM lines) l USING (bucket)
 GROUP BY b.bucket
