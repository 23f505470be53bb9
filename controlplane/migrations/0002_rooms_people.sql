-- What a room remembers of its people. The same text runs on SQLite and on PostgreSQL.

-- 'token', 'open' or 'lobby'; null: as auth.mode says.
ALTER TABLE rooms ADD COLUMN mode TEXT;
ALTER TABLE rooms ADD COLUMN chat_history BOOLEAN NOT NULL DEFAULT TRUE;

-- Chat. `number` orders the messages of a room; times alone do not.
CREATE TABLE messages (
    id         TEXT   NOT NULL PRIMARY KEY,
    room_id    TEXT   NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    number     BIGINT NOT NULL,
    -- The breakout room it was said in; null: the main room.
    place      TEXT,
    sender     TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    -- The only reader; null: everybody.
    recipient  TEXT,
    body       TEXT   NOT NULL,
    -- Seconds since 1970, UTC.
    sent_at    BIGINT NOT NULL,
    edited_at  BIGINT,
    deleted    BOOLEAN NOT NULL DEFAULT FALSE,
    UNIQUE (room_id, number)
);

CREATE TABLE reactions (
    message_id TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    sender     TEXT NOT NULL,
    emoji      TEXT NOT NULL,
    PRIMARY KEY (message_id, emoji, sender)
);

-- Who may not come back into a room.
CREATE TABLE bans (
    id         TEXT   NOT NULL PRIMARY KEY,
    room_id    TEXT   NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    kind       TEXT   NOT NULL CHECK (kind IN ('identity', 'address')),
    value      TEXT   NOT NULL,
    created_by TEXT   NOT NULL,
    -- Milliseconds since 1970, UTC.
    created_at BIGINT NOT NULL,
    UNIQUE (room_id, kind, value)
);

-- Tokens that are good for nothing any more, kept until they would have expired anyway.
CREATE TABLE revoked_tokens (
    jti        TEXT   NOT NULL PRIMARY KEY,
    -- Seconds since 1970, UTC.
    expires_at BIGINT NOT NULL
);

-- Breakout rooms of a room, as one document: they change together.
CREATE TABLE breakouts (
    room_id TEXT NOT NULL PRIMARY KEY REFERENCES rooms (id) ON DELETE CASCADE,
    state   TEXT NOT NULL
);

-- Answers to POST requests that carried an Idempotency-Key.
CREATE TABLE idempotency (
    caller      TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    -- SHA-256 of path and body.
    fingerprint TEXT   NOT NULL,
    -- Null while the first request is under way.
    status      BIGINT,
    answer      TEXT,
    -- Seconds since 1970, UTC.
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (caller, name)
);
