"""The schema of the database, migration by migration.  Never edited once released.  Pure."""

MIGRATIONS = (
    """
    CREATE TABLE positions (
        path TEXT NOT NULL, head BLOB NOT NULL, device INTEGER NOT NULL, inode INTEGER NOT NULL,
        offset INTEGER NOT NULL, tail BLOB NOT NULL, latest INTEGER NOT NULL,
        fresh_end INTEGER NOT NULL, cutoff INTEGER NOT NULL, seen INTEGER NOT NULL,
        PRIMARY KEY (path, head, device, inode)
    ) WITHOUT ROWID;
    CREATE TABLE traps (number INTEGER PRIMARY KEY, name TEXT NOT NULL);
    CREATE TABLE windows (subject BLOB PRIMARY KEY, marks BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE bans (
        id INTEGER PRIMARY KEY, subject BLOB NOT NULL, trap TEXT NOT NULL,
        start INTEGER NOT NULL, until INTEGER NOT NULL, hits INTEGER NOT NULL,
        offence INTEGER NOT NULL, applied INTEGER NOT NULL, dry INTEGER NOT NULL
    );
    CREATE INDEX bans_subject ON bans (subject, start);
    CREATE INDEX bans_until ON bans (until);
    CREATE TABLE counters (
        log TEXT NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (log, name)
    ) WITHOUT ROWID;
    """,
    # Bans by offence number, instead of a count of repeated ones; the start of the first ban that
    # was enforced; and the subjects with the most hits, by the hour.
    """
    DELETE FROM counters WHERE name = 'repeat_bans';
    INSERT INTO counters
        SELECT '', 'offence:' || CASE WHEN offence < 4 THEN offence ELSE '4+' END, count(*)
        FROM bans GROUP BY 2;
    INSERT INTO counters
        SELECT '', 'enforcing_since', first
        FROM (SELECT min(start) AS first FROM bans WHERE NOT dry) WHERE first NOT NULL;
    CREATE TABLE offenders (
        hour INTEGER NOT NULL, subject BLOB NOT NULL, hits INTEGER NOT NULL,
        PRIMARY KEY (hour, subject)
    ) WITHOUT ROWID;
    """,
    # An administrator's reason for a ban.
    """
    ALTER TABLE bans ADD COLUMN reason TEXT NOT NULL DEFAULT '';
    """,
    # The IPv6 prefix length of stored subjects, and the table of the kernel's elements.
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    """,
    # How far a journal has been judged: the cursor of an entry; "" for a file.
    """
    ALTER TABLE positions ADD COLUMN cursor TEXT NOT NULL DEFAULT '';
    """,
)
"""Each migrates the schema from its index to the next version; never edited once released."""
