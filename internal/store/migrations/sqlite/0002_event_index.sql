-- +goose Up
-- The events of a gate, user, device, reason or request are found through an index of our own, which costs an append nothing:
-- in a B-tree each event would dirty a page of each. See eventindex.go.
DROP INDEX events_gate;
DROP INDEX events_user;

-- Events with ids up to mark are in the index; the others are looked through one by one.
CREATE TABLE event_index (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    mark  BIGINT NOT NULL,
    epoch BIGINT NOT NULL -- how often it was begun anew
);
INSERT INTO event_index (id, mark, epoch) VALUES (1, 0, 0);

-- A part of the index, for a stretch of events. Those that live follow one another without overlap and reach up to mark.
CREATE TABLE event_segment (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    level    INTEGER NOT NULL, -- 0 is made of events, others of segments of the level below
    first_id BIGINT  NOT NULL,
    last_id  BIGINT  NOT NULL,
    state    TEXT    NOT NULL CHECK (state IN ('building', 'live', 'dead')),
    inputs   INTEGER NOT NULL, -- how many segments it is made of
    done_key BIGINT  NOT NULL, -- building: the last posting that was taken over
    done_id  BIGINT  NOT NULL
);
-- Where a chunk of postings (package posting) begins. Their bodies have a table of their own: each fills a page.
CREATE TABLE event_chunk (
    segment_id BIGINT NOT NULL,
    key        BIGINT NOT NULL,
    first_id   BIGINT NOT NULL,
    body_id    BIGINT NOT NULL,
    PRIMARY KEY (segment_id, key, first_id)
) WITHOUT ROWID;
CREATE TABLE event_chunk_body (
    id   INTEGER PRIMARY KEY,
    body BLOB NOT NULL
);
-- When the events of a stretch occurred: of level 0 each slice, of level 1 many of them.
CREATE TABLE event_span (
    level    INTEGER NOT NULL,
    first_id BIGINT  NOT NULL,
    last_id  BIGINT  NOT NULL,
    min_at   BIGINT  NOT NULL,
    max_at   BIGINT  NOT NULL,
    PRIMARY KEY (level, first_id)
) WITHOUT ROWID;

-- A batch is one page less to write when its table is its primary key.
CREATE TABLE event_batch_by_key (
    writer_id      BIGINT  NOT NULL,
    seq            BIGINT  NOT NULL,
    policy_version BIGINT  NOT NULL,
    count          INTEGER NOT NULL,
    oldest_at      BIGINT  NOT NULL, -- the smallest occurred_at in it, to find its events without an index of their own
    recorded_at    BIGINT  NOT NULL,
    digest         BLOB,          -- reserved for a hash chain
    PRIMARY KEY (writer_id, seq)
) WITHOUT ROWID;
INSERT INTO event_batch_by_key SELECT writer_id, seq, policy_version, count, oldest_at, recorded_at, digest FROM event_batch;
DROP TABLE event_batch;
ALTER TABLE event_batch_by_key RENAME TO event_batch;
CREATE INDEX event_batch_recorded ON event_batch (recorded_at);
