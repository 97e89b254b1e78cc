-- Generic cell rate algorithm over several scopes, all of them or none. Whole microseconds of Redis' clock.
-- KEYS     the end of the service's hold, then the arrival of each scope
-- ARGV     '1' to count the call ('0' only looks), then step and tolerance of each scope
-- Returns  0 or the microseconds to wait, the place in KEYS of what refuses longest, the present
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local held_until = tonumber(redis.call('GET', KEYS[1]) or '0')

local longest, refused, after = held_until - now, 1, {}
for i = 2, #KEYS do
  local step, tolerance = tonumber(ARGV[2 * i - 2]), tonumber(ARGV[2 * i - 1])
  local arrival = tonumber(redis.call('GET', KEYS[i]) or '0')
  -- Further ahead than the scope can put it: the clock was set back.
  arrival = math.min(arrival, math.max(now, held_until) + tolerance)
  after[i] = math.max(now, arrival) + step
  local wait = after[i] - tolerance - now
  if wait > math.max(0, longest) then
    longest, refused = wait, i
  end
end
if longest > 0 then return {longest, refused, now} end

if ARGV[1] == '1' then
  for i = 2, #KEYS do
    local keep = math.ceil((after[i] - now) / 1000) + 1000
    redis.call('SET', KEYS[i], string.format('%.0f', after[i]), 'PX', string.format('%.0f', keep))
  end
end
return {0, 0, now}
