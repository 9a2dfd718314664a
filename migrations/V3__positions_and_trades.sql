CREATE TABLE positions_history (
    positions_history_id bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    observed_at          timestamptz      NOT NULL,
    broker               text             NOT NULL,
    account_id           text             NOT NULL,
    contract_key         text             NOT NULL,
    multiplier           numeric          NOT NULL,
    underlying           text             NOT NULL,
    quantity             double precision NOT NULL,
    previous_quantity    double precision NOT NULL,
    seq                  bigint           NOT NULL
);

CREATE INDEX positions_history_line
    ON positions_history (broker, account_id, contract_key, multiplier, positions_history_id);

COMMENT ON TABLE positions_history IS 'One row per change of a position';
COMMENT ON COLUMN positions_history.observed_at IS 'When the broker''s answer that showed the change was received';
COMMENT ON COLUMN positions_history.quantity IS 'Contracts held from then on, negative when short, 0 when closed';
COMMENT ON COLUMN positions_history.previous_quantity IS 'Contracts held before, 0 when opened';
COMMENT ON COLUMN positions_history.seq IS 'As greek_ticks.seq: the record that brought the change';

CREATE TABLE trades (
    id           uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    created_at   timestamptz NOT NULL DEFAULT now(),
    broker       text        NOT NULL,
    account_id   text        NOT NULL,
    symbol       text        NOT NULL,
    contract_key text,
    action       text        NOT NULL,
    quantity     numeric     NOT NULL CHECK (quantity <> 0),
    price        numeric,
    strategy_tag text,
    metadata     jsonb
);

CREATE INDEX trades_created_at ON trades (created_at);
CREATE INDEX trades_strategy_tag ON trades (strategy_tag) WHERE strategy_tag IS NOT NULL;

COMMENT ON TABLE trades IS 'Strategy log, written by hand or by a strategy; never by the stream';
COMMENT ON COLUMN trades.symbol IS 'As the writer calls it';
COMMENT ON COLUMN trades.contract_key IS 'As series.contract_key, where the trade is in an option';
COMMENT ON COLUMN trades.quantity IS 'Contracts, negative when sold';
COMMENT ON COLUMN trades.price IS 'Per unit, without the multiplier';
