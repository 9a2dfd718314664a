-- Stores what all lines (lines.sql) had in these minutes: of each underlying, of each account, and of everything.
INSERT INTO portfolio_minutes
       (minute, broker, account_id, underlying, delta, delta_dollars, gamma_1pct, theta, vega, lines, lines_covered,
        lines_delta, lines_delta_dollars, lines_gamma_1pct, lines_theta, lines_vega)
SELECT b.bucket, coalesce(l.broker, ''), coalesce(l.account_id, ''), coalesce(l.underlying, ''),
       sum(l.delta), sum(l.delta_dollars), sum(l.gamma_1pct), sum(l.theta), sum(l.vega), count(l.broker),
       count(*) FILTER (WHERE l.delta_dollars IS NOT NULL AND l.gamma_1pct IS NOT NULL AND l.theta IS NOT NULL
                          AND l.vega IS NOT NULL),
       count(l.delta), count(l.delta_dollars), count(l.gamma_1pct), count(l.theta), count(l.vega)
  FROM buckets b
  LEFT JOIN lines l ON l.bucket = b.bucket
 GROUP BY GROUPING SETS ((b.bucket, l.broker, l.account_id, l.underlying), (b.bucket, l.broker, l.account_id), (b.bucket))
-- Where nothing was held there is only the sum over everything.
HAVING grouping(l.broker) = 1 OR l.broker IS NOT NULL
