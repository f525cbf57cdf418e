"""Migrations of the row store: the same steps for MariaDB and SQLite."""
