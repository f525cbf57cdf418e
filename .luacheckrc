-- The scripts run inside Redis: no globals of their own, and these from the server.
std = "lua51"
read_globals = { "redis", "cjson", "cmsgpack", "struct", "bit", "KEYS", "ARGV" }
max_line_length = 110
