-- Rooms. A closed room stays, so that its id and slug never name another one by accident.
CREATE TABLE rooms (
    id                TEXT    NOT NULL PRIMARY KEY,
    slug              TEXT    NOT NULL UNIQUE,
    name              TEXT    NOT NULL,
    status            TEXT    NOT NULL CHECK (status IN ('active', 'closed')),
    max_participants  BIGINT  NOT NULL,
    -- Argon2id in PHC form; null: no password.
    password_hash     TEXT,
    locked            BOOLEAN NOT NULL DEFAULT FALSE,
    lobby_enabled     BOOLEAN NOT NULL DEFAULT FALSE,
    recording_enabled BOOLEAN NOT NULL DEFAULT FALSE,
    -- Milliseconds since 1970, UTC.
    created_at        BIGINT  NOT NULL,
    closed_at         BIGINT
);

CREATE INDEX rooms_by_status ON rooms (status, created_at);
