-- The rows people query, in compact form: one row per contract held (series) and one per event (greek_ticks),
-- joined again by the view greek_snapshots. Valid on PostgreSQL 14 to 18.

CREATE TABLE series (
    series_id    integer     GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    broker       text        NOT NULL,
    account_id   text        NOT NULL,
    contract_key text        NOT NULL,
    multiplier   numeric     NOT NULL,
    underlying   text        NOT NULL,
    expiration   date        NOT NULL,
    strike       numeric     NOT NULL,
    option_type  text        NOT NULL CHECK (option_type IN ('C', 'P')),
    first_seen   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (broker, account_id, contract_key, multiplier)
);

COMMENT ON TABLE series IS 'One row per broker, account, contract and multiplier ever held';
COMMENT ON COLUMN series.broker IS 'ibkr, tastytrade, or the name of another source';
COMMENT ON COLUMN series.account_id IS 'Account number as the broker writes it';
COMMENT ON COLUMN series.contract_key IS 'The same contract has the same key at every broker: 21-character OSI symbol, or for futures options /ESZ26 261127P5000';
COMMENT ON COLUMN series.multiplier IS 'Money per 1.00 of the option price and contract';
COMMENT ON COLUMN series.underlying IS 'Canonical symbol of the underlying';
COMMENT ON COLUMN series.expiration IS 'Date in the contract';
COMMENT ON COLUMN series.strike IS 'In the units of the underlying price';
COMMENT ON COLUMN series.option_type IS 'C or P';
COMMENT ON COLUMN series.first_seen IS 'When the row was made';

-- Wide columns first, so that no row is padded. No foreign key to series: rows and series are written by one program,
-- in one transaction.
CREATE TABLE greek_ticks (
    event_time         timestamptz      NOT NULL,
    seq                bigint           NOT NULL,
    received_at        timestamptz      NOT NULL,
    persisted_at       timestamptz      NOT NULL DEFAULT now(),
    series_id          integer          NOT NULL,
    flags              smallint         NOT NULL DEFAULT 0,
    quantity           double precision NOT NULL,
    delta              double precision,
    gamma              double precision,
    theta              double precision,
    vega               double precision,
    rho                double precision,
    implied_volatility double precision,
    option_price       double precision,
    underlying_price   double precision,
    source_payload     jsonb,
    PRIMARY KEY (event_time, series_id, seq)
) PARTITION BY RANGE (event_time);

CREATE INDEX greek_ticks_series_time ON greek_ticks (series_id, event_time);

-- Takes only what belongs to a month that could not be made; a row in it is an alarm.
CREATE TABLE greek_ticks_default PARTITION OF greek_ticks DEFAULT;

COMMENT ON TABLE greek_ticks IS 'One row per event, partitioned by UTC month of event_time; query greek_snapshots instead';
COMMENT ON COLUMN greek_ticks.event_time IS 'The broker''s time of the value';
COMMENT ON COLUMN greek_ticks.seq IS 'ingest_progress.stream * 2^40 + number of the record in its incarnation; never reused';
COMMENT ON COLUMN greek_ticks.received_at IS 'When the frame was read from the socket';
COMMENT ON COLUMN greek_ticks.persisted_at IS 'now() of the transaction that stored the row';
COMMENT ON COLUMN greek_ticks.flags IS 'Bits: 1 some Greek computed, 2 late, 4 first value after a connect, 8 delayed data, 16 frozen data, 32 event_time substituted, 64 a non-finite value became NULL, 128 doubtful scale of implied volatility';
COMMENT ON COLUMN greek_ticks.quantity IS 'Contracts held at that moment, negative when short';
COMMENT ON COLUMN greek_ticks.delta IS 'Per 1.00 of the underlying, for one unit of the contract';
COMMENT ON COLUMN greek_ticks.gamma IS 'Change of delta per 1.00 of the underlying';
COMMENT ON COLUMN greek_ticks.theta IS 'Per calendar day';
COMMENT ON COLUMN greek_ticks.vega IS 'Per 1 volatility point';
COMMENT ON COLUMN greek_ticks.rho IS 'Per 1 % of interest rate';
COMMENT ON COLUMN greek_ticks.implied_volatility IS 'A fraction: 0.25 is 25 %';
COMMENT ON COLUMN greek_ticks.option_price IS 'The option''s own mark or model price, per unit';
COMMENT ON COLUMN greek_ticks.underlying_price IS 'The underlying''s own last or mid known at that moment';
COMMENT ON COLUMN greek_ticks.source_payload IS 'The raw event, only when asked for';

CREATE VIEW greek_snapshots AS
SELECT t.event_time, t.received_at, t.persisted_at,
       s.broker, s.account_id, s.underlying, s.contract_key, s.expiration, s.strike, s.option_type,
       t.quantity, s.multiplier,
       t.delta, t.gamma, t.theta, t.vega, t.rho, t.implied_volatility,
       t.option_price, t.underlying_price, t.flags, t.source_payload
  FROM greek_ticks t
  JOIN series s USING (series_id);

COMMENT ON VIEW greek_snapshots IS 'One flat row per event. Greeks are per one unit of the contract; a portfolio figure is value * quantity * multiplier';

-- One descent of the index per series instead of a scan of everything.
CREATE VIEW v_latest_greeks AS
SELECT t.event_time, t.received_at, t.persisted_at,
       s.broker, s.account_id, s.underlying, s.contract_key, s.expiration, s.strike, s.option_type,
       t.quantity, s.multiplier,
       t.delta, t.gamma, t.theta, t.vega, t.rho, t.implied_volatility,
       t.option_price, t.underlying_price, t.flags, t.source_payload
  FROM series s
 CROSS JOIN LATERAL (
       SELECT * FROM greek_ticks
        WHERE greek_ticks.series_id = s.series_id
        ORDER BY greek_ticks.event_time DESC, greek_ticks.seq DESC
        LIMIT 1) t;

COMMENT ON VIEW v_latest_greeks IS 'The row with the newest event_time of each series';
