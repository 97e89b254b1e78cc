-- Round-robin, least recently executed first: gives the order of the members, and charges one of them.
-- KEYS[1]  hash: service -> number of its last turn
-- ARGV     whom to charge ('' nobody, '*' the first), seconds to keep, how many of the members may be chosen, then
--          service and weight of each member: those first, by id, and behind them those that only wait
local key, chosen, ttl = KEYS[1], ARGV[1], tonumber(ARGV[2])

local members = {}
for i = 4, #ARGV, 2 do
  local last = tonumber(redis.call('HGET', key, ARGV[i]) or '0')
  members[#members + 1] = {id = ARGV[i], weight = tonumber(ARGV[i + 1]), place = i, last = last}
end

table.sort(members, function(a, b)
  if a.last ~= b.last then return a.last < b.last end
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
  local turn = 0
  for _, last in ipairs(redis.call('HVALS', key)) do
    turn = math.max(turn, tonumber(last))
  end
  redis.call('HSET', key, chosen, string.format('%.0f', turn + 1))
  redis.call('EXPIRE', key, ttl)
end
return order
