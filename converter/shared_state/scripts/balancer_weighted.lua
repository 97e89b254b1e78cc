-- Smooth weighted round-robin: gives the order of the members, and charges one of them.
-- KEYS[1]  hash: service -> credit
-- ARGV     whom to charge ('' nobody, '*' the first), seconds to keep, how many of the members may be chosen, then
--          service and weight of each member: those first, by id, and behind them those that only wait
local key, chosen, ttl = KEYS[1], ARGV[1], tonumber(ARGV[2])

local candidates = tonumber(ARGV[3])

local members, waiting, total = {}, {}, 0
for i = 4, #ARGV, 2 do
  local weight = tonumber(ARGV[i + 1])
  local credit = tonumber(redis.call('HGET', key, ARGV[i]) or '0')
  local member = {id = ARGV[i], weight = weight, place = i, credit = credit + weight}
  if #members < candidates then
    members[#members + 1] = member
  else
    waiting[#waiting + 1] = member
  end
  total = total + weight
end

table.sort(members, function(a, b)
  if a.credit ~= b.credit then return a.credit > b.credit end
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
  for _, member in ipairs(members) do
    local credit = member.credit
    if member.id == chosen then credit = credit - total end
    redis.call('HSET', key, member.id, string.format('%.0f', credit))
  end
  for _, member in ipairs(waiting) do
    redis.call('HSET', key, member.id, string.format('%.0f', member.credit))
  end
  redis.call('EXPIRE', key, ttl)
end
return order
