-- What the book by the minute makes of a clock that was set and of values that cannot be; and a comment on every column.

-- As before, but for two things. A clock that was set is no stretch in which a source was not heard. And a value that is no
-- quantity, price or Greek of this world is unknown to the sums: products of the others, and sums of those, stay within what
-- a double precision can hold, where a single one out of it would fail the question for everything.
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
     WHERE g.reason <> 'clock_step' AND (g.gap_to IS NULL OR g.gap_to > g.gap_from)
     GROUP BY b.broker)
SELECT line.minute, line.broker, line.account_id, line.underlying,
       sum(line.units * line.delta) AS delta,
       sum(line.units * line.delta * line.underlying_price) AS delta_dollars,
       sum(line.units * line.gamma * line.underlying_price * line.underlying_price * 0.01) AS gamma_1pct,
       sum(line.units * line.theta) AS theta,
       sum(line.units * line.vega) AS vega,
       count(*) AS lines,
       count(*) FILTER (WHERE line.units IS NOT NULL AND line.delta IS NOT NULL AND line.gamma IS NOT NULL
                          AND line.theta IS NOT NULL AND line.vega IS NOT NULL
                          AND line.underlying_price IS NOT NULL) AS lines_covered
  FROM (SELECT m.minute, h.broker, h.account_id, h.underlying,
               CASE WHEN abs(h.quantity) BETWEEN 1e-15 AND 1e15
                    THEN h.quantity * h.multiplier::double precision END AS units,
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
               SELECT k.event_time,
                      CASE WHEN abs(k.delta) BETWEEN 1e-200 AND 1e200 OR k.delta = 0 THEN k.delta END AS delta,
                      CASE WHEN abs(k.gamma) BETWEEN 1e-200 AND 1e200 OR k.gamma = 0 THEN k.gamma END AS gamma,
                      CASE WHEN abs(k.theta) BETWEEN 1e-200 AND 1e200 OR k.theta = 0 THEN k.theta END AS theta,
                      CASE WHEN abs(k.vega) BETWEEN 1e-200 AND 1e200 OR k.vega = 0 THEN k.vega END AS vega,
                      CASE WHEN abs(k.underlying_price) BETWEEN 1e-15 AND 1e15 OR k.underlying_price = 0
                           THEN k.underlying_price END AS underlying_price
                 FROM greek_ticks k
                WHERE k.series_id = h.series_id
                  AND k.event_time >= m.minute - interval '15 minutes' AND k.event_time < m.minute + interval '1 minute'
                ORDER BY k.event_time DESC, k.seq DESC
                LIMIT 1) t
            ON t.event_time >= m.minute
            OR NOT coalesce(blind.stretches @> tstzrange(m.minute, m.minute + interval '1 minute'), false)
         WHERE stored.is_stored IS NULL) line
 GROUP BY line.minute, line.broker, line.account_id, line.underlying);

-- Minutes that were stored while a clock that was set counted as silence are worked out anew.
DELETE FROM portfolio_minutes m
 USING ingest_gaps g
 WHERE g.reason = 'clock_step' AND m.minute > g.gap_from - interval '1 minute' AND m.minute < g.gap_to;

-- What `\d+` shows. Values and units are those of greek_ticks and series.
COMMENT ON COLUMN greek_snapshots.event_time IS 'The broker''s time of the value';
COMMENT ON COLUMN greek_snapshots.received_at IS 'When the frame was read from the socket';
COMMENT ON COLUMN greek_snapshots.persisted_at IS 'now() of the transaction that stored the row';
COMMENT ON COLUMN greek_snapshots.broker IS 'ibkr, tastytrade, or the name of another source';
COMMENT ON COLUMN greek_snapshots.account_id IS 'Account number as the broker writes it';
COMMENT ON COLUMN greek_snapshots.underlying IS 'Canonical symbol of the underlying';
COMMENT ON COLUMN greek_snapshots.contract_key IS 'The same contract has the same key at every broker: 21-character OSI symbol, or for futures options /ESZ26 261127P5000';
COMMENT ON COLUMN greek_snapshots.expiration IS 'Date in the contract';
COMMENT ON COLUMN greek_snapshots.strike IS 'In the units of the underlying price';
COMMENT ON COLUMN greek_snapshots.option_type IS 'C or P';
COMMENT ON COLUMN greek_snapshots.quantity IS 'Contracts held at that moment, negative when short';
COMMENT ON COLUMN greek_snapshots.multiplier IS 'Money per 1.00 of the option price and contract';
COMMENT ON COLUMN greek_snapshots.delta IS 'Per 1.00 of the underlying, for one unit of the contract';
COMMENT ON COLUMN greek_snapshots.gamma IS 'Change of delta per 1.00 of the underlying';
COMMENT ON COLUMN greek_snapshots.theta IS 'Money per calendar day, for one unit of the contract';
COMMENT ON COLUMN greek_snapshots.vega IS 'Money per 1 volatility point, for one unit of the contract';
COMMENT ON COLUMN greek_snapshots.rho IS 'Money per 1 % of interest rate, for one unit of the contract';
COMMENT ON COLUMN greek_snapshots.implied_volatility IS 'A fraction: 0.25 is 25 %';
COMMENT ON COLUMN greek_snapshots.option_price IS 'The option''s own mark or model price, per unit';
COMMENT ON COLUMN greek_snapshots.underlying_price IS 'The underlying''s own last or mid known at that moment';
COMMENT ON COLUMN greek_snapshots.flags IS 'Bits: 1 some Greek computed, 2 late, 4 first value after a connect, 8 delayed data, 16 frozen data, 32 event_time substituted, 64 a non-finite value became NULL, 128 doubtful scale of implied volatility';
COMMENT ON COLUMN greek_snapshots.source_payload IS 'The raw event, only when asked for';

COMMENT ON COLUMN v_latest_greeks.event_time IS 'The broker''s time of the value';
COMMENT ON COLUMN v_latest_greeks.received_at IS 'When the frame was read from the socket';
COMMENT ON COLUMN v_latest_greeks.persisted_at IS 'now() of the transaction that stored the row';
COMMENT ON COLUMN v_latest_greeks.broker IS 'ibkr, tastytrade, or the name of another source';
COMMENT ON COLUMN v_latest_greeks.account_id IS 'Account number as the broker writes it';
COMMENT ON COLUMN v_latest_greeks.underlying IS 'Canonical symbol of the underlying';
COMMENT ON COLUMN v_latest_greeks.contract_key IS 'The same contract has the same key at every broker: 21-character OSI symbol, or for futures options /ESZ26 261127P5000';
COMMENT ON COLUMN v_latest_greeks.expiration IS 'Date in the contract';
COMMENT ON COLUMN v_latest_greeks.strike IS 'In the units of the underlying price';
COMMENT ON COLUMN v_latest_greeks.option_type IS 'C or P';
COMMENT ON COLUMN v_latest_greeks.quantity IS 'Contracts held at that moment, negative when short';
COMMENT ON COLUMN v_latest_greeks.multiplier IS 'Money per 1.00 of the option price and contract';
COMMENT ON COLUMN v_latest_greeks.delta IS 'Per 1.00 of the underlying, for one unit of the contract';
COMMENT ON COLUMN v_latest_greeks.gamma IS 'Change of delta per 1.00 of the underlying';
COMMENT ON COLUMN v_latest_greeks.theta IS 'Money per calendar day, for one unit of the contract';
COMMENT ON COLUMN v_latest_greeks.vega IS 'Money per 1 volatility point, for one unit of the contract';
COMMENT ON COLUMN v_latest_greeks.rho IS 'Money per 1 % of interest rate, for one unit of the contract';
COMMENT ON COLUMN v_latest_greeks.implied_volatility IS 'A fraction: 0.25 is 25 %';
COMMENT ON COLUMN v_latest_greeks.option_price IS 'The option''s own mark or model price, per unit';
COMMENT ON COLUMN v_latest_greeks.underlying_price IS 'The underlying''s own last or mid known at that moment';
COMMENT ON COLUMN v_latest_greeks.flags IS 'Bits: 1 some Greek computed, 2 late, 4 first value after a connect, 8 delayed data, 16 frozen data, 32 event_time substituted, 64 a non-finite value became NULL, 128 doubtful scale of implied volatility';
COMMENT ON COLUMN v_latest_greeks.source_payload IS 'The raw event, only when asked for';

COMMENT ON COLUMN v_positions.event_time IS 'The broker''s time of the newest value; it and what follows NULL before the first';
COMMENT ON COLUMN v_positions.received_at IS 'When the frame was read from the socket';
COMMENT ON COLUMN v_positions.persisted_at IS 'now() of the transaction that stored the row';
COMMENT ON COLUMN v_positions.broker IS 'ibkr, tastytrade, or the name of another source';
COMMENT ON COLUMN v_positions.account_id IS 'Account number as the broker writes it';
COMMENT ON COLUMN v_positions.underlying IS 'Canonical symbol of the underlying';
COMMENT ON COLUMN v_positions.contract_key IS 'The same contract has the same key at every broker: 21-character OSI symbol, or for futures options /ESZ26 261127P5000';
COMMENT ON COLUMN v_positions.expiration IS 'Date in the contract';
COMMENT ON COLUMN v_positions.strike IS 'In the units of the underlying price';
COMMENT ON COLUMN v_positions.option_type IS 'C or P';
COMMENT ON COLUMN v_positions.multiplier IS 'Money per 1.00 of the option price and contract';
COMMENT ON COLUMN v_positions.delta IS 'Per 1.00 of the underlying, for one unit of the contract';
COMMENT ON COLUMN v_positions.gamma IS 'Change of delta per 1.00 of the underlying';
COMMENT ON COLUMN v_positions.theta IS 'Money per calendar day, for one unit of the contract';
COMMENT ON COLUMN v_positions.vega IS 'Money per 1 volatility point, for one unit of the contract';
COMMENT ON COLUMN v_positions.rho IS 'Money per 1 % of interest rate, for one unit of the contract';
COMMENT ON COLUMN v_positions.implied_volatility IS 'A fraction: 0.25 is 25 %';
COMMENT ON COLUMN v_positions.option_price IS 'The option''s own mark or model price, per unit';
COMMENT ON COLUMN v_positions.underlying_price IS 'The underlying''s own last or mid known at that moment';
COMMENT ON COLUMN v_positions.flags IS 'Bits: 1 some Greek computed, 2 late, 4 first value after a connect, 8 delayed data, 16 frozen data, 32 event_time substituted, 64 a non-finite value became NULL, 128 doubtful scale of implied volatility';

COMMENT ON COLUMN v_cross_broker.contract_key IS 'The same contract has the same key at every broker: 21-character OSI symbol, or for futures options /ESZ26 261127P5000';
COMMENT ON COLUMN v_cross_broker.expiration IS 'Date in the contract';
COMMENT ON COLUMN v_cross_broker.strike IS 'In the units of the underlying price';
COMMENT ON COLUMN v_cross_broker.option_type IS 'C or P';
COMMENT ON COLUMN v_cross_broker.underlying IS 'Canonical symbol of the underlying, as broker_a has it';
COMMENT ON COLUMN v_cross_broker.broker_a IS 'The first of the two in the order of the alphabet';
COMMENT ON COLUMN v_cross_broker.delta_a IS 'Per 1.00 of the underlying, for one unit of the contract, at broker_a';
COMMENT ON COLUMN v_cross_broker.implied_volatility_a IS 'At broker_a, a fraction: 0.25 is 25 %';
COMMENT ON COLUMN v_cross_broker.flags_a IS 'At broker_a; bits as in greek_snapshots.flags';
COMMENT ON COLUMN v_cross_broker.broker_b IS 'The second of the two in the order of the alphabet';
COMMENT ON COLUMN v_cross_broker.delta_b IS 'Per 1.00 of the underlying, for one unit of the contract, at broker_b';
COMMENT ON COLUMN v_cross_broker.implied_volatility_b IS 'At broker_b, a fraction: 0.25 is 25 %';
COMMENT ON COLUMN v_cross_broker.flags_b IS 'At broker_b; bits as in greek_snapshots.flags';

COMMENT ON COLUMN v_portfolio_1m.broker IS 'ibkr, tastytrade, or the name of another source';
COMMENT ON COLUMN v_portfolio_1m.account_id IS 'Account number as the broker writes it';
COMMENT ON COLUMN v_portfolio_1m.underlying IS 'Canonical symbol of the underlying';

COMMENT ON COLUMN portfolio_minutes.delta_dollars IS 'delta times the price of the underlying';
COMMENT ON COLUMN portfolio_minutes.gamma_1pct IS 'By how much delta_dollars changes when the underlying moves by 1 %, from gamma alone';
COMMENT ON COLUMN portfolio_minutes.theta IS 'Money per calendar day';
COMMENT ON COLUMN portfolio_minutes.vega IS 'Money per 1 volatility point';
COMMENT ON COLUMN portfolio_minutes.lines_delta_dollars IS 'Contracts of which delta_dollars is known';
COMMENT ON COLUMN portfolio_minutes.lines_gamma_1pct IS 'Contracts of which gamma_1pct is known';
COMMENT ON COLUMN portfolio_minutes.lines_theta IS 'Contracts of which theta is known';
COMMENT ON COLUMN portfolio_minutes.lines_vega IS 'Contracts of which vega is known';

COMMENT ON COLUMN series.series_id IS 'What greek_ticks calls it by';
COMMENT ON COLUMN greek_ticks.series_id IS 'The contract held: series.series_id';

COMMENT ON COLUMN positions_history.positions_history_id IS 'Rises with every change stored: of one line the greatest is the present';
COMMENT ON COLUMN positions_history.broker IS 'ibkr, tastytrade, or the name of another source';
COMMENT ON COLUMN positions_history.account_id IS 'Account number as the broker writes it';
COMMENT ON COLUMN positions_history.contract_key IS 'The same contract has the same key at every broker: 21-character OSI symbol, or for futures options /ESZ26 261127P5000';
COMMENT ON COLUMN positions_history.multiplier IS 'Money per 1.00 of the option price and contract';
COMMENT ON COLUMN positions_history.underlying IS 'Canonical symbol of the underlying';

COMMENT ON COLUMN trades.id IS 'Drawn when the trade is written down';
COMMENT ON COLUMN trades.created_at IS 'When the trade was written down, unless the writer says another time';
COMMENT ON COLUMN trades.broker IS 'Where it was made';
COMMENT ON COLUMN trades.account_id IS 'Account number as the broker writes it';
COMMENT ON COLUMN trades.action IS 'What was done, in the words of the writer: buy_to_open, roll, ..';
COMMENT ON COLUMN trades.strategy_tag IS 'What trades of one strategy have in common, as the writer calls it';
COMMENT ON COLUMN trades.metadata IS 'Whatever else the writer wants to keep';

COMMENT ON COLUMN ingest_progress.started_at IS 'When the incarnation was first heard of';
COMMENT ON COLUMN ingest_progress.updated_at IS 'When last_seq moved last';

COMMENT ON COLUMN ingest_gaps.source IS 'Whose values are missing: ibkr, tastytrade, or the name of another source; journal where that cannot be told any more';
COMMENT ON COLUMN ingest_gaps.noted_at IS 'When the row was made';

COMMENT ON COLUMN ingest_quarantine.incarnation IS 'The run of record numbers that seq counts in: ingest_progress.incarnation';
COMMENT ON COLUMN ingest_quarantine.received_at IS 'When what the record tells was received, where it says so';
COMMENT ON COLUMN ingest_quarantine.message IS 'What the database said of it';
COMMENT ON COLUMN ingest_quarantine.quarantined_at IS 'When it was refused';
