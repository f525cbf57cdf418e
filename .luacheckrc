-- The scripts run inside Redis: no globals of their own, and these from the server.
std = "lua51"
read_globals = { "redis", "cjson", "cmsgpack", "struct", "bit", "KEYS", "ARGV" }
-- An include serves several scripts, not each of which uses all of it; checks are generated, however long.
ignore = { "211", "241", "631" }
