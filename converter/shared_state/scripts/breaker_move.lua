-- Put the breaker into a state by hand. ARGV[15] the state, or 'release', which only ends a forced-open one.

local record = load()
local before = record
local target = ARGV[15]

if target == 'release' then
    if record.state == 'forced-open' then record = enter(record, 'closed') end
elseif record.state ~= 'forced-open' and record.state ~= target then
    record = target == 'open' and open(record) or enter(record, target)
end
save(record)
return answer(record, before)
