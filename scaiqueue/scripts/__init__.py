"""The Lua scripts: contract, bundle, and the calls."""
