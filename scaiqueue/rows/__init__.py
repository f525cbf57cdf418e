"""Durable rows: tables, migrations and the queries on them."""
