-- +goose Up
-- Instants are Unix microseconds UTC, days are counted from 1970-01-01 UTC. Ids are never reused.
-- Users, groups, gates, devices, credentials and permissions are tombstoned: deleted_at is set, the row stays, and
-- names are unique among the living only. Events and audit lines hold ids without foreign keys, and no names.

-- The installation itself. A binary whose newest migration is below oldest_binary_schema must not touch this database.
CREATE TABLE instance (
    id                   INTEGER PRIMARY KEY CHECK (id = 1),
    uuid                 TEXT    NOT NULL,
    oldest_binary_schema INTEGER NOT NULL,
    key_check            TEXT    NOT NULL DEFAULT '', -- tells whether the server's secret key is the one that sealed the tokens
    created_at           BIGINT  NOT NULL
);

-- The one row that each administrative change locks first. Event batches are written only while (version, stamp) are those that decided.
CREATE TABLE policy (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    version    BIGINT NOT NULL,
    stamp      BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);

CREATE TABLE site (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    name               TEXT    NOT NULL,
    zone               TEXT    NOT NULL, -- IANA
    default_release_ms INTEGER NOT NULL,
    retention_days     INTEGER NOT NULL, -- 0 = events are kept for ever
    version            BIGINT  NOT NULL,
    created_at         BIGINT  NOT NULL
);

CREATE TABLE gate (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    site_id    BIGINT NOT NULL REFERENCES site (id),
    code       TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    location   TEXT   NOT NULL,
    release_ms INTEGER, -- NULL = the site's default
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX gate_code ON gate (code) WHERE deleted_at IS NULL;

CREATE TABLE users (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    username      TEXT    NOT NULL,
    first_name    TEXT    NOT NULL,
    last_name     TEXT    NOT NULL,
    email         TEXT    NOT NULL,
    language      TEXT    NOT NULL, -- '' = the browser's
    password      TEXT    NOT NULL, -- an encoded hash; '!' = none can match
    is_active     BOOLEAN NOT NULL,
    is_staff      BOOLEAN NOT NULL,
    is_superuser  BOOLEAN NOT NULL,
    last_login_at BIGINT,
    version       BIGINT  NOT NULL,
    created_at    BIGINT  NOT NULL,
    deleted_at    BIGINT,
    erased_at     BIGINT -- personal text was blanked
);
CREATE UNIQUE INDEX users_username ON users (username) WHERE deleted_at IS NULL;

CREATE TABLE password_history (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id    BIGINT NOT NULL REFERENCES users (id),
    password   TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX password_history_user ON password_history (user_id, id);

-- What a user may do as an administrator; is_staff and is_superuser of users map in as manager and owner.
CREATE TABLE role_grant (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id BIGINT NOT NULL REFERENCES users (id),
    role    TEXT   NOT NULL CHECK (role IN ('viewer', 'manager', 'owner')),
    site_id BIGINT REFERENCES site (id) -- NULL = all
);
CREATE UNIQUE INDEX role_grant_user ON role_grant (user_id, COALESCE(site_id, 0));

CREATE TABLE user_group (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX user_group_name ON user_group (name) WHERE deleted_at IS NULL;

CREATE TABLE membership (
    user_id  BIGINT NOT NULL REFERENCES users (id),
    group_id BIGINT NOT NULL REFERENCES user_group (id),
    PRIMARY KEY (user_id, group_id)
);
CREATE INDEX membership_group ON membership (group_id, user_id);

CREATE TABLE permission (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    gate_id     BIGINT  NOT NULL REFERENCES gate (id),
    user_id     BIGINT REFERENCES users (id),
    group_id    BIGINT REFERENCES user_group (id),
    allow       BOOLEAN NOT NULL, -- false = suspended: grants nothing, denies nothing
    valid_from  BIGINT,           -- half-open; NULL = without end on that side
    valid_until BIGINT,
    version     BIGINT  NOT NULL,
    created_at  BIGINT  NOT NULL,
    deleted_at  BIGINT,
    CHECK ((user_id IS NULL) <> (group_id IS NULL)),
    CHECK (valid_from < valid_until)
);
-- One living plain row for a gate and subject.
CREATE UNIQUE INDEX permission_plain_user ON permission (gate_id, user_id)
    WHERE deleted_at IS NULL AND user_id IS NOT NULL AND valid_from IS NULL AND valid_until IS NULL;
CREATE UNIQUE INDEX permission_plain_group ON permission (gate_id, group_id)
    WHERE deleted_at IS NULL AND group_id IS NOT NULL AND valid_from IS NULL AND valid_until IS NULL;
CREATE INDEX permission_user ON permission (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX permission_group ON permission (group_id) WHERE group_id IS NOT NULL;

CREATE TABLE device (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id           BIGINT  NOT NULL REFERENCES users (id),
    name              TEXT    NOT NULL,
    android_device_id TEXT    NOT NULL, -- '' = none
    is_active         BOOLEAN NOT NULL,
    version           BIGINT  NOT NULL,
    created_at        BIGINT  NOT NULL,
    deleted_at        BIGINT
);
CREATE INDEX device_user ON device (user_id, created_at, id);

-- Anything that can be presented at a gate. The token itself is never stored in clear.
CREATE TABLE credential (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id       BIGINT  NOT NULL REFERENCES users (id),
    device_id     BIGINT REFERENCES device (id),
    kind          TEXT    NOT NULL, -- user_token, device_token
    lookup        BLOB NOT NULL,
    lookup_scheme INTEGER NOT NULL, -- 1 SHA-256, 2 HMAC under the server's key
    sealed        BLOB,
    preview       TEXT    NOT NULL,
    label         TEXT    NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('active', 'inactive', 'revoked')),
    state_reason  TEXT    NOT NULL,
    valid_from    BIGINT,
    valid_until   BIGINT,
    idle_expires  BOOLEAN NOT NULL, -- ends after the site's idle days without use
    created_at    BIGINT  NOT NULL,
    last_used_day INTEGER NOT NULL, -- written off the gate path, without a new policy version
    version       BIGINT  NOT NULL,
    deleted_at    BIGINT
);
CREATE UNIQUE INDEX credential_lookup ON credential (lookup) WHERE deleted_at IS NULL;
CREATE INDEX credential_user ON credential (user_id, id);
CREATE INDEX credential_device ON credential (device_id) WHERE device_id IS NOT NULL;

-- Sessions of the admin pages.
CREATE TABLE session (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    lookup     BLOB NOT NULL, -- SHA-256 of the cookie's secret
    user_id    BIGINT  NOT NULL REFERENCES users (id),
    created_at BIGINT  NOT NULL,
    seen_at    BIGINT  NOT NULL, -- at most once a minute
    expires_at BIGINT  NOT NULL,
    address    TEXT    NOT NULL,
    agent      TEXT    NOT NULL
);
CREATE UNIQUE INDEX session_lookup ON session (lookup);
CREATE INDEX session_of_user ON session (user_id);

-- The audit, which is the policy feed as well: replicas re-read the objects that lines with a higher version name.
CREATE TABLE change (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    version       BIGINT NOT NULL, -- the policy that it made, or (a refused sign-in, an export) that stood
    stamp         BIGINT NOT NULL,
    at            BIGINT NOT NULL,
    actor_kind    TEXT   NOT NULL, -- user, cli, api, system
    actor_user_id BIGINT,
    actor_label   TEXT   NOT NULL, -- a user name, or root@host
    address       TEXT   NOT NULL,
    request_id    TEXT   NOT NULL,
    session_id    BIGINT,
    object        TEXT   NOT NULL, -- gate, user, group, …; member and role bear the user's id
    object_id     BIGINT NOT NULL,
    action        TEXT   NOT NULL,
    detail        TEXT   NOT NULL -- JSON {"before":{},"after":{}}; '' = none, or erased
);
CREATE INDEX change_version ON change (version);
CREATE INDEX change_object ON change (object, object_id, id);

-- A lane: one committing connection of one process, with one batch in flight. host and pid are for the operator.
CREATE TABLE writer (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    host       TEXT   NOT NULL,
    pid        INTEGER NOT NULL,
    started_at BIGINT NOT NULL,
    retired_at BIGINT
);

-- One commit of a lane. seq has no gaps within a lane; count 0 fences a commit whose outcome was unknown.
CREATE TABLE event_batch (
    writer_id      BIGINT  NOT NULL,
    seq            BIGINT  NOT NULL,
    policy_version BIGINT  NOT NULL,
    count          INTEGER NOT NULL,
    oldest_at      BIGINT  NOT NULL, -- the smallest occurred_at in it, to find its events without an index of their own
    recorded_at    BIGINT  NOT NULL,
    digest         BLOB,          -- reserved for a hash chain
    PRIMARY KEY (writer_id, seq)
);
CREATE INDEX event_batch_recorded ON event_batch (recorded_at);

-- One decision, or several equal denials folded. A decision is not a passage.
CREATE TABLE events (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    kind           TEXT    NOT NULL, -- decision, system
    occurred_at    BIGINT  NOT NULL, -- the request was accepted
    recorded_at    BIGINT  NOT NULL, -- its batch was written
    writer_id      BIGINT  NOT NULL, -- with seq: the batch
    seq            BIGINT  NOT NULL,
    gate_id        BIGINT,           -- NULL = no such gate: then presented_gate says what was asked for, 64 characters at most
    presented_gate TEXT,
    user_id        BIGINT,
    credential_id  BIGINT,
    device_id      BIGINT,
    permission_id  BIGINT,           -- what granted an ALLOW
    controller_id  BIGINT,           -- reserved
    policy_version BIGINT  NOT NULL, -- the policy that decided
    decision       TEXT    NOT NULL,
    reason         TEXT    NOT NULL,
    count          INTEGER NOT NULL, -- how many are folded here; 1 = just this one
    until          BIGINT,           -- the last of those that are folded; NULL = not folded
    address        TEXT    NOT NULL,
    request_id     TEXT    NOT NULL,
    fingerprint    TEXT    NOT NULL  -- of the presented token: 12 hex digits of an HMAC; '' = none
);
CREATE INDEX events_gate ON events (gate_id, id);
CREATE INDEX events_user ON events (user_id, id);
CREATE INDEX events_occurred ON events (occurred_at);
