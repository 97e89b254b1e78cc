-- The counts of several services, as text: accepted, refused, unknown.
-- KEYS     the hash of each service
local rows = {}
for i, key in ipairs(KEYS) do
  rows[i] = redis.call('HMGET', key, 'accepted', 'refused', 'unknown')
end
return rows
