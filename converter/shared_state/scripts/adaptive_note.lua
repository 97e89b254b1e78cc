-- Count one more attempt at a service; older ones lose a little weight.
-- KEYS[1]  hash: accepted, refused, unknown
-- ARGV     how it ended, what remains of a count after one more attempt, seconds to keep
for _, ending in ipairs({'accepted', 'refused', 'unknown'}) do
  local count = tonumber(redis.call('HGET', KEYS[1], ending) or '0') * tonumber(ARGV[2])
  if ending == ARGV[1] then count = count + 1 end
  redis.call('HSET', KEYS[1], ending, string.format('%.17g', count))
end
redis.call('EXPIRE', KEYS[1], tonumber(ARGV[3]))
