-- Replace a state if it is still the one that was read, and note its name and a point of the recent rates.
-- KEYS: state, names, recent.  ARGV: expected text ('' for none), new text, seconds to live (0: for ever),
-- name, time of the change, names kept, point ('' for none), points kept, seconds that points live.
-- Returns {1, ''}, or {0, what is there now}.
local current = redis.call('GET', KEYS[1]) or ''
if current ~= ARGV[1] then
  return {0, current}
end
redis.call('SET', KEYS[1], ARGV[2])
if tonumber(ARGV[3]) > 0 then
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
redis.call('ZADD', KEYS[2], ARGV[5], ARGV[4])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - tonumber(ARGV[6]))
if ARGV[7] ~= '' then
  redis.call('RPUSH', KEYS[3], ARGV[7])
  redis.call('LTRIM', KEYS[3], -tonumber(ARGV[8]), -1)
  redis.call('EXPIRE', KEYS[3], ARGV[9])
end
return {1, ''}
