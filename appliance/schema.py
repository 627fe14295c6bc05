"""What is in the box's one SQLite file: its tables, as they came to be."""

from collections.abc import Sequence

# Each entry brings a file from the version before to its own; what is once released never changes. Times of day are
# ISO 8601 text, for people; `due_at` alone is a number (Unix seconds), since it is compared.
MIGRATIONS: tuple[Sequence[str], ...] = (
    (
        """CREATE TABLE apps (
            app_id TEXT PRIMARY KEY, name TEXT NOT NULL,
            answer_url TEXT NOT NULL, answer_method TEXT NOT NULL,
            hangup_url TEXT, hangup_method TEXT NOT NULL,
            fallback_answer_url TEXT, fallback_answer_method TEXT NOT NULL,
            status TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT
        ) STRICT""",
        """CREATE TABLE links (
            number TEXT PRIMARY KEY,
            app_id TEXT NOT NULL REFERENCES apps ON DELETE CASCADE,
            created_at TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX links_of_app ON links (app_id)",
        """CREATE TABLE keys (
            sha256 TEXT PRIMARY KEY, name TEXT NOT NULL, created_at TEXT NOT NULL, revoked_at TEXT
        ) STRICT""",
        """CREATE TABLE calls (
            id INTEGER PRIMARY KEY AUTOINCREMENT, uuid TEXT NOT NULL UNIQUE, request_uuid TEXT UNIQUE,
            line TEXT NOT NULL, direction TEXT NOT NULL, from_ TEXT NOT NULL, to_ TEXT NOT NULL,
            state TEXT NOT NULL, started_at TEXT NOT NULL, answered_at TEXT, ended_at TEXT,
            reason TEXT, cause INTEGER, app_id TEXT, route TEXT NOT NULL,
            CHECK ((state = 'ended') = (ended_at IS NOT NULL)),
            CHECK ((state = 'ended') = (reason IS NOT NULL AND cause IS NOT NULL))
        ) STRICT""",
        "CREATE INDEX open_calls ON calls (id) WHERE ended_at IS NULL",
        """CREATE TABLE recordings (
            wav TEXT PRIMARY KEY, call_id INTEGER NOT NULL REFERENCES calls,
            frames INTEGER, size_bytes INTEGER, sha256 TEXT
        ) STRICT""",
        "CREATE INDEX recordings_of_call ON recordings (call_id)",
        """CREATE TABLE deliveries (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
            webhook TEXT NOT NULL, type TEXT NOT NULL, body BLOB NOT NULL,
            state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
            attempts INTEGER NOT NULL DEFAULT 0, due_at REAL NOT NULL, born_h INTEGER NOT NULL
        ) STRICT""",
        "CREATE INDEX pending ON deliveries (webhook, seq, due_at) WHERE state = 'pending'",
        "CREATE INDEX births ON deliveries (born_h)",
        """CREATE TABLE attempts (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, webhook TEXT NOT NULL, event_id TEXT NOT NULL, type TEXT NOT NULL,
            attempt INTEGER NOT NULL, url TEXT NOT NULL, code INTEGER, response BLOB NOT NULL, error TEXT,
            duration_ms INTEGER NOT NULL, at TEXT NOT NULL, next_at TEXT
        ) STRICT""",
        "CREATE INDEX attempts_of_webhook ON attempts (webhook, seq)",
        "CREATE TABLE gone (url TEXT PRIMARY KEY, at TEXT NOT NULL) STRICT",
        # How long this box has been up, all in all: the age of what waits, whatever the wall clock does.
        "CREATE TABLE uptime (hours INTEGER NOT NULL) STRICT",
        "INSERT INTO uptime VALUES (0)",
    ),
    (
        """CREATE TABLE messages (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
            line TEXT NOT NULL, direction TEXT NOT NULL, from_ TEXT NOT NULL, to_ TEXT NOT NULL, text TEXT NOT NULL,
            created_at TEXT NOT NULL, sent_at TEXT, expires_at TEXT, report INTEGER NOT NULL
        ) STRICT""",
        # `sim` is the number of ours that it came to or goes from. What we send has no fingerprint; what came and is
        # of a message that is not complete has no message yet.
        """CREATE TABLE message_parts (
            key INTEGER PRIMARY KEY AUTOINCREMENT, message INTEGER REFERENCES messages,
            sim TEXT NOT NULL, fingerprint TEXT, number INTEGER NOT NULL, total INTEGER NOT NULL, pdu TEXT NOT NULL,
            state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, reference INTEGER, error TEXT, at TEXT NOT NULL,
            UNIQUE (sim, fingerprint)
        ) STRICT""",
        "CREATE INDEX parts_of_message ON message_parts (message)",
        "CREATE INDEX loose_parts ON message_parts (sim) WHERE message IS NULL",
        "CREATE INDEX unsent_parts ON message_parts (key) WHERE state IN ('queued', 'sending')",
        "CREATE INDEX sent_parts ON message_parts (reference) WHERE state = 'sent'",
    ),
    (
        # All that happened, once, whoever is told of it; `data` is JSON.
        """CREATE TABLE events (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT NOT NULL, at TEXT NOT NULL, data TEXT NOT NULL,
            born_h INTEGER NOT NULL
        ) STRICT""",
        "CREATE INDEX births_of_events ON events (born_h)",
        # What was measured of it, as JSON.
        "ALTER TABLE calls ADD COLUMN receipt TEXT",
        "CREATE INDEX calls_of_line ON calls (line, id)",
        "ALTER TABLE recordings ADD COLUMN id TEXT",
        "UPDATE recordings SET id = (SELECT uuid FROM calls WHERE calls.id = call_id)",
        "CREATE UNIQUE INDEX recordings_by_id ON recordings (id)",
        # The box's own, beside what the contract knows of an app; JSON.
        """CREATE TABLE app_options (
            app_id TEXT PRIMARY KEY REFERENCES apps ON DELETE CASCADE, options TEXT NOT NULL
        ) STRICT""",
    ),
    (
        # The box's own, which are no customer's calls; and the figures of each direction, as JSON.
        """CREATE TABLE test_calls (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, caller TEXT NOT NULL, callee TEXT NOT NULL,
            outcome TEXT NOT NULL, detail TEXT NOT NULL, talked_s REAL NOT NULL
        ) STRICT""",
        "CREATE INDEX test_calls_of_line ON test_calls (caller, at)",
        """CREATE TABLE test_ways (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, test_call INTEGER NOT NULL REFERENCES test_calls ON DELETE CASCADE,
            speaker TEXT NOT NULL, listener TEXT NOT NULL, figures TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX ways_of_test_call ON test_ways (test_call)",
        # Lines with a fault, as was told.
        "CREATE TABLE degraded_lines (line TEXT PRIMARY KEY, since TEXT NOT NULL, codes TEXT NOT NULL) STRICT",
        "CREATE TABLE test_rounds (day TEXT PRIMARY KEY) STRICT",
    ),
    (
        # Tenants. What belongs to a project is seen by nobody else; of tokens there are digests alone.
        """CREATE TABLE users (
            id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL UNIQUE COLLATE NOCASE, name TEXT NOT NULL,
            created_at TEXT NOT NULL
        ) STRICT""",
        """CREATE TABLE projects (
            id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE COLLATE NOCASE,
            owner INTEGER NOT NULL REFERENCES users, legacy_secret TEXT NOT NULL, created_at TEXT NOT NULL
        ) STRICT""",
        """CREATE TABLE members (
            user INTEGER NOT NULL REFERENCES users, project INTEGER NOT NULL REFERENCES projects,
            PRIMARY KEY (user, project)
        ) STRICT""",
        """CREATE TABLE tokens (
            sha256 TEXT PRIMARY KEY, project INTEGER REFERENCES projects, user INTEGER REFERENCES users,
            name TEXT NOT NULL, created_at TEXT NOT NULL, revoked_at TEXT,
            CHECK ((project IS NULL) <> (user IS NULL))
        ) STRICT""",
        "CREATE INDEX tokens_of_project ON tokens (project)",
        """CREATE TABLE signups (
            email TEXT PRIMARY KEY COLLATE NOCASE, name TEXT, code TEXT NOT NULL, tries INTEGER NOT NULL,
            expires_at TEXT NOT NULL
        ) STRICT""",
        # The box's own, for who needs no tenants.
        """INSERT INTO users (name, email, created_at)
            VALUES ('box', 'box@localhost', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))""",
        """INSERT INTO projects (name, owner, legacy_secret, created_at)
            SELECT 'box', id, 'whsec_' || lower(hex(randomblob(32))), created_at FROM users""",
        "INSERT INTO members (user, project) SELECT owner, id FROM projects",
        # One route per number, whichever contract it goes by.
        "CREATE TABLE claims (number TEXT PRIMARY KEY, contract TEXT NOT NULL) STRICT",
        "INSERT INTO claims (number, contract) SELECT number, 'sfvopi' FROM links",
        # `rule` is JSON: what a caller hears whom nobody answers.
        """CREATE TABLE relay_numbers (
            id INTEGER PRIMARY KEY AUTOINCREMENT, number TEXT NOT NULL UNIQUE,
            project INTEGER NOT NULL REFERENCES projects, forward_to TEXT, enabled INTEGER NOT NULL,
            country TEXT NOT NULL, type TEXT NOT NULL, created_at TEXT NOT NULL, rule TEXT,
            CHECK (NOT enabled OR forward_to IS NOT NULL)
        ) STRICT""",
        "CREATE INDEX relay_numbers_of_project ON relay_numbers (project, id)",
        # `settings` is JSON: where its stream goes, and what its owner says of it.
        """CREATE TABLE agents (
            id INTEGER PRIMARY KEY AUTOINCREMENT, project INTEGER NOT NULL REFERENCES projects, name TEXT NOT NULL,
            slug TEXT NOT NULL, settings TEXT NOT NULL, created_at TEXT NOT NULL, UNIQUE (project, slug)
        ) STRICT""",
        # What was answered to a request that may be repeated, by the token's digest; born_h as of deliveries.
        """CREATE TABLE repeats (
            token TEXT NOT NULL, path TEXT NOT NULL, key TEXT NOT NULL, body_sha256 TEXT NOT NULL,
            status INTEGER NOT NULL, answer BLOB NOT NULL, born_h INTEGER NOT NULL, PRIMARY KEY (token, path, key)
        ) STRICT""",
        # Whose a call is, and what its kind knows of it; `details` are JSON.
        "ALTER TABLE calls ADD COLUMN project INTEGER",
        "ALTER TABLE calls ADD COLUMN kind TEXT NOT NULL DEFAULT 'app'",
        "ALTER TABLE calls ADD COLUMN relay_number TEXT",
        "ALTER TABLE calls ADD COLUMN joined_at TEXT",
        "ALTER TABLE calls ADD COLUMN details TEXT NOT NULL DEFAULT '{}'",
        "CREATE INDEX calls_of_project ON calls (project, id) WHERE project IS NOT NULL",
        # The lines that a call has beside its own. When the call has ended none is open.
        """CREATE TABLE legs (
            id INTEGER PRIMARY KEY AUTOINCREMENT, call_id INTEGER NOT NULL REFERENCES calls, line TEXT NOT NULL,
            role TEXT NOT NULL, to_ TEXT NOT NULL, dialed_at TEXT NOT NULL, answered_at TEXT, ended_at TEXT,
            reason TEXT, cause INTEGER,
            CHECK ((ended_at IS NULL) = (reason IS NULL) AND (ended_at IS NULL) = (cause IS NULL))
        ) STRICT""",
        "CREATE INDEX legs_of_call ON legs (call_id)",
        "CREATE INDEX legs_of_line ON legs (line, answered_at)",
        # Of an ended call: how often its end was told, each time with more.
        "ALTER TABLE calls ADD COLUMN revision INTEGER NOT NULL DEFAULT 1",
        # Webhooks that a project's customers made; `events` is JSON.
        """CREATE TABLE subscriptions (
            id INTEGER PRIMARY KEY AUTOINCREMENT, project INTEGER NOT NULL REFERENCES projects, url TEXT NOT NULL,
            name TEXT, events TEXT NOT NULL, secret TEXT NOT NULL, active INTEGER NOT NULL, off_reason TEXT,
            created_at TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX subscriptions_of_project ON subscriptions (project, id)",
        # Minutes beyond full hours; and of all of them those with a network.
        "ALTER TABLE uptime ADD COLUMN minutes INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE uptime ADD COLUMN online_min INTEGER NOT NULL DEFAULT 0",
        # Webhooks of which no attempt went well since then: by `online_min`, and as people have it.
        "CREATE TABLE failing (webhook TEXT PRIMARY KEY, since_min INTEGER NOT NULL, since TEXT NOT NULL) STRICT",
        # Why a webhook of the configuration is off.
        "ALTER TABLE gone ADD COLUMN reason TEXT NOT NULL DEFAULT 'status 410'",
        # A delivery's body is made of its event, which is there once for all of them; the older generation's have a
        # body and an address of their own.
        "ALTER TABLE deliveries ADD COLUMN event INTEGER",
        "ALTER TABLE deliveries ADD COLUMN url TEXT",
        # Apart: a hundred thousand that were tried are not looked through for one that was not. With the address:
        # those for one that is busy are passed over by the index alone.
        "DROP INDEX pending",
        "CREATE INDEX untried ON deliveries (webhook, seq, url) WHERE state = 'pending' AND attempts = 0",
        "CREATE INDEX tried ON deliveries (webhook, due_at, seq, url) WHERE state = 'pending' AND attempts > 0",
        "ALTER TABLE deliveries ADD COLUMN call_id INTEGER",
        "CREATE INDEX pending_of_call ON deliveries (call_id) WHERE state = 'pending'",
        # A recording's row outlives its file, and says who deleted that, and why.
        "ALTER TABLE recordings ADD COLUMN born_h INTEGER NOT NULL DEFAULT 0",
        "UPDATE recordings SET born_h = (SELECT hours FROM uptime)",
        "ALTER TABLE recordings ADD COLUMN deleted_at TEXT",
        "ALTER TABLE recordings ADD COLUMN deleted_why TEXT",
        "ALTER TABLE recordings ADD COLUMN deleted_by TEXT",
        "CREATE INDEX kept_recordings ON recordings (born_h, size_bytes) WHERE deleted_at IS NULL",
        # To the cloud: null where there is none, or else 'waiting', 'uploaded' or 'refused'; and how often in vain.
        "ALTER TABLE recordings ADD COLUMN upload TEXT",
        "ALTER TABLE recordings ADD COLUMN upload_tries INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX waiting_uploads ON recordings (upload_tries) WHERE upload = 'waiting'",
        # Calls of the older generation whose end is told when their recording is there.
        "CREATE TABLE legacy_ends (call_id INTEGER PRIMARY KEY REFERENCES calls) STRICT",
        "CREATE INDEX refused_uploads ON recordings (upload) WHERE upload = 'refused'",
    ),
    (
        # When an event of its call was last delivered: from then on its addresses are good for as long as new ones.
        "ALTER TABLE recordings ADD COLUMN told_at TEXT",
    ),
)
