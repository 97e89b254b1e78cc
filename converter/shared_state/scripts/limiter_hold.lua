-- Hold a service: nothing passes before the hold ends, then one call and the usual rate. Never shortens a hold.
-- KEYS     the end of the service's hold, the arrival of its scope
-- ARGV     microseconds from now, interval and tolerance of the scope
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local ends = now + tonumber(ARGV[1])

local function put_later(key, moment)
  if moment > math.max(now, tonumber(redis.call('GET', key) or '0')) then
    local keep = math.ceil((moment - now) / 1000) + 1000
    redis.call('SET', key, string.format('%.0f', moment), 'PX', string.format('%.0f', keep))
  end
end

put_later(KEYS[1], ends)
put_later(KEYS[2], ends + tonumber(ARGV[3]) - tonumber(ARGV[2]))
return ends
