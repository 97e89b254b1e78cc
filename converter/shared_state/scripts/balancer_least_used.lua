-- Fewest executions in the last 60 seconds first: gives the order of the members, and charges one of them.
-- KEYS[1]  hash: "second service" -> executions begun in that second of Redis' clock
-- ARGV     whom to charge ('' nobody, '*' the first), seconds to keep, how many of the members may be chosen, then
--          service and weight of each member: those first, by id, and behind them those that only wait
local key, chosen, ttl = KEYS[1], ARGV[1], tonumber(ARGV[2])
local second = tonumber(redis.call('TIME')[1])

local used, old = {}, {}
local found = redis.call('HGETALL', key)
for i = 1, #found, 2 do
  local began, id = string.match(found[i], '^(%d+) (.*)$')
  if tonumber(began) > second - 60 then
    used[id] = (used[id] or 0) + tonumber(found[i + 1])
  else
    old[#old + 1] = found[i]
  end
end

local members = {}
for i = 4, #ARGV, 2 do
  members[#members + 1] = {id = ARGV[i], weight = tonumber(ARGV[i + 1]), place = i, used = used[ARGV[i]] or 0}
end

table.sort(members, function(a, b)
  if a.used ~= b.used then return a.used < b.used end
  if a.weight ~= b.weight then return a.weight > b.weight end
  return a.place < b.place
end)

if chosen == '*' and members[1] then chosen = members[1].id end
local order, known = {}, false
for i, member in ipairs(members) do
  order[i] = member.id
  known = known or member.id == chosen
end

if known then
  for _, bucket in ipairs(old) do
    redis.call('HDEL', key, bucket)
  end
  redis.call('HINCRBY', key, string.format('%.0f %s', second, chosen), 1)
  redis.call('EXPIRE', key, ttl)
end
return order
