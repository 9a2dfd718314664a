-- The ledger of the writer: what is stored, what could not be received, what was refused.

-- Updated once per commit: half-empty pages keep the updates in place (HOT).
CREATE TABLE ingest_progress (
    incarnation uuid        PRIMARY KEY,
    stream      integer     GENERATED ALWAYS AS IDENTITY UNIQUE,
    last_seq    bigint      NOT NULL CHECK (last_seq >= 0),
    instance    text        NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    closed_at   timestamptz
) WITH (fillfactor = 50);

COMMENT ON TABLE ingest_progress IS 'One row per run of record numbers; last_seq moves in the transaction that stores the records';
COMMENT ON COLUMN ingest_progress.incarnation IS 'Drawn anew at every start; a number counts within it';
COMMENT ON COLUMN ingest_progress.stream IS 'Short name of the incarnation in greek_ticks.seq';
COMMENT ON COLUMN ingest_progress.last_seq IS 'Every record up to this number is stored, the next is not';
COMMENT ON COLUMN ingest_progress.instance IS 'Which program on which host';
COMMENT ON COLUMN ingest_progress.closed_at IS 'When its last record was stored, if it ended in order';

CREATE TABLE ingest_gaps (
    source   text        NOT NULL,
    kind     text        NOT NULL CHECK (kind IN ('gap', 'shed')),
    gap_from timestamptz NOT NULL,
    gap_to   timestamptz,
    reason   text        NOT NULL,
    events   bigint,
    seq      bigint      NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, kind, gap_from)
);

COMMENT ON TABLE ingest_gaps IS 'Stretches of time in which a source may have had values that could not be received or kept';
COMMENT ON COLUMN ingest_gaps.kind IS 'gap: could not be received; shed: was received and could not be kept';
COMMENT ON COLUMN ingest_gaps.gap_from IS 'The last moment up to which the stream was whole';
COMMENT ON COLUMN ingest_gaps.gap_to IS 'When it was whole again; NULL while that is not known';
COMMENT ON COLUMN ingest_gaps.reason IS 'Why: disconnected, silence, ..';
COMMENT ON COLUMN ingest_gaps.events IS 'How many events were lost, where that is known';
COMMENT ON COLUMN ingest_gaps.seq IS 'As greek_ticks.seq: the record that last changed the row';

CREATE TABLE ingest_quarantine (
    incarnation    uuid        NOT NULL,
    seq            bigint      NOT NULL,
    received_at    timestamptz,
    sqlstate       text        NOT NULL,
    message        text        NOT NULL,
    record         bytea       NOT NULL,
    quarantined_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (incarnation, seq)
);

COMMENT ON TABLE ingest_quarantine IS 'Single records that the database refused; the rest of their batch is stored';
COMMENT ON COLUMN ingest_quarantine.seq IS 'Number of the record within its incarnation';
COMMENT ON COLUMN ingest_quarantine.sqlstate IS 'The error code of the refusal';
COMMENT ON COLUMN ingest_quarantine.record IS 'The record in its binary form';
