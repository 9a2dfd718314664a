-- What is held now, and where two brokers hold the same. Each line is found by one descent of an index per series, so
-- the cost grows with the contracts ever held and not with the rows stored.

CREATE VIEW v_positions AS
SELECT s.broker, s.account_id, s.underlying, s.contract_key, s.expiration, s.strike, s.option_type,
       p.quantity, s.multiplier, p.observed_at AS quantity_since,
       t.event_time, t.received_at, t.persisted_at,
       t.delta, t.gamma, t.theta, t.vega, t.rho, t.implied_volatility,
       t.option_price, t.underlying_price, t.flags
  FROM series s
 CROSS JOIN LATERAL (
       SELECT h.quantity, h.observed_at FROM positions_history h
        WHERE h.broker = s.broker AND h.account_id = s.account_id
          AND h.contract_key = s.contract_key AND h.multiplier = s.multiplier
        ORDER BY h.positions_history_id DESC
        LIMIT 1) p
  LEFT JOIN LATERAL (
       SELECT * FROM greek_ticks
        WHERE greek_ticks.series_id = s.series_id
        ORDER BY greek_ticks.event_time DESC, greek_ticks.seq DESC
        LIMIT 1) t ON true
 WHERE p.quantity <> 0;

COMMENT ON VIEW v_positions IS 'One row per open position, with the row of greek_snapshots that has its newest event_time; those columns are NULL before the first';
COMMENT ON COLUMN v_positions.quantity IS 'Contracts held by the broker''s last answer, negative when short';
COMMENT ON COLUMN v_positions.quantity_since IS 'When the broker''s answer that first showed this quantity was received';

-- The Greeks are those of one unit of the contract, so accounts of one broker share them: its newest row speaks for all.
CREATE VIEW v_cross_broker AS
WITH held AS MATERIALIZED (
    SELECT DISTINCT ON (contract_key, broker)
           contract_key, broker, underlying, expiration, strike, option_type,
           sum(quantity) OVER (PARTITION BY contract_key, broker) AS quantity,
           event_time, delta, implied_volatility, flags
      FROM v_positions
     ORDER BY contract_key, broker, event_time DESC NULLS LAST, account_id, multiplier)
SELECT a.contract_key, a.underlying, a.expiration, a.strike, a.option_type,
       a.broker AS broker_a, a.quantity AS quantity_a, a.event_time AS event_time_a,
       a.delta AS delta_a, a.implied_volatility AS implied_volatility_a, a.flags AS flags_a,
       b.broker AS broker_b, b.quantity AS quantity_b, b.event_time AS event_time_b,
       b.delta AS delta_b, b.implied_volatility AS implied_volatility_b, b.flags AS flags_b,
       a.delta - b.delta AS delta_difference,
       a.implied_volatility - b.implied_volatility AS implied_volatility_difference
  FROM held a
  JOIN held b ON b.contract_key = a.contract_key AND a.broker < b.broker;

COMMENT ON VIEW v_cross_broker IS 'One row per contract held at two brokers and pair of brokers, named in the order of the alphabet';
COMMENT ON COLUMN v_cross_broker.quantity_a IS 'Contracts in all accounts at broker_a';
COMMENT ON COLUMN v_cross_broker.event_time_a IS 'The newest at broker_a; delta, implied volatility and flags are of that row';
COMMENT ON COLUMN v_cross_broker.quantity_b IS 'Contracts in all accounts at broker_b';
COMMENT ON COLUMN v_cross_broker.event_time_b IS 'The newest at broker_b; delta, implied volatility and flags are of that row';
COMMENT ON COLUMN v_cross_broker.delta_difference IS 'delta_a - delta_b, NULL unless both are known';
COMMENT ON COLUMN v_cross_broker.implied_volatility_difference IS 'implied_volatility_a - implied_volatility_b, NULL unless both are known';
