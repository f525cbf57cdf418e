-- An instant in ms as RFC 3339 text in UTC: the days since 1970 as a date of the Gregorian calendar, whose years
-- are counted from March, so that the leap day is the last.
local function decided_at(ms)
  local seconds = math.floor(ms / 1000)
  local days, clock = math.floor(seconds / 86400) + 719468, seconds % 86400
  local era, day = math.floor(days / 146097), days % 146097
  local year =
    math.floor((day - math.floor(day / 1460) + math.floor(day / 36524) - math.floor(day / 146096)) / 365)
  day = day - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * day + 2) / 153)
  day = day - math.floor((153 * month + 2) / 5) + 1
  month, year = month < 10 and month + 3 or month - 9, year + era * 400 + (month < 10 and 0 or 1)
  local hour, minute = math.floor(clock / 3600), math.floor(clock / 60) % 60
  return ("%04d-%02d-%02dT%02d:%02d:%02d.%03dZ"):format(year, month, day, hour, minute, clock % 60, ms % 1000)
end
