-- +goose Up
-- What the admin pages ask of the log, counted beside the gate path from the batches (counts.go), so that no page counts events.
-- It is derived: the events are the truth. counted_seq is the last batch of a lane that is counted; it moves in the transaction that counts.
ALTER TABLE writer ADD COLUMN counted_seq BIGINT NOT NULL DEFAULT 0;
ALTER TABLE writer ADD COLUMN counted BOOLEAN NOT NULL DEFAULT FALSE; -- the lane is retired, and all its batches are counted
CREATE INDEX writer_uncounted ON writer (id) WHERE NOT counted;
CREATE INDEX writer_retired ON writer (retired_at);

-- The one row that whoever counts moves first: two processes never count the same batch.
CREATE TABLE event_counter (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    round      BIGINT NOT NULL,
    counted_at BIGINT NOT NULL -- of the last round that counted something
);
INSERT INTO event_counter (id, round, counted_at) VALUES (1, 0, 0);

-- Decisions by hour. hour is the instant at which an hour of the site's zone begins; folded events count as many as they are.
CREATE TABLE event_hour (
    gate_id  BIGINT NOT NULL, -- 0 = all gates and none: the whole site
    hour     BIGINT NOT NULL,
    decision TEXT   NOT NULL,
    reason   TEXT   NOT NULL,
    count    BIGINT NOT NULL,
    PRIMARY KEY (gate_id, hour, decision, reason)
) WITHOUT ROWID;

-- Who was let in on a day of the site's zone (the instant at which it begins), and how many people that were. Of user_day the last days are kept.
CREATE TABLE user_day (
    day     BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    PRIMARY KEY (day, user_id)
) WITHOUT ROWID;
CREATE TABLE people_day (
    day    INTEGER PRIMARY KEY,
    people BIGINT NOT NULL
);

-- The last decision at each gate.
CREATE TABLE gate_seen (
    gate_id  INTEGER PRIMARY KEY,
    at       BIGINT NOT NULL,
    decision TEXT   NOT NULL,
    reason   TEXT   NOT NULL,
    event_id BIGINT NOT NULL
);
CREATE INDEX gate_seen_at ON gate_seen (at);

-- The living permissions of a page: who passes a gate, which gates somebody passes, the cells of groups and gates.
CREATE INDEX permission_gate_user ON permission (gate_id, user_id, id) WHERE deleted_at IS NULL AND user_id IS NOT NULL;
CREATE INDEX permission_gate_group ON permission (gate_id, group_id, id) WHERE deleted_at IS NULL AND group_id IS NOT NULL;
CREATE INDEX permission_user_gate ON permission (user_id, gate_id) WHERE deleted_at IS NULL AND user_id IS NOT NULL;
CREATE INDEX permission_group_gate ON permission (group_id, gate_id) WHERE deleted_at IS NULL AND group_id IS NOT NULL;

-- The audit by what was done to what kind of thing, by whom, and when.
CREATE INDEX change_kind ON change (object, id);
CREATE INDEX change_action ON change (action, id);
CREATE INDEX change_actor ON change (actor_user_id, id) WHERE actor_user_id IS NOT NULL;
CREATE INDEX change_at ON change (at, id);

-- The owners among many users.
CREATE INDEX users_superuser ON users (id) WHERE is_superuser AND deleted_at IS NULL;
