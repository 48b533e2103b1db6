"""The same promises on every database we support: real SQLite, PostgreSQL and MariaDB, no stand-ins."""
