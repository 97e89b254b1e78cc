-- Ask for a permit. ARGV[15] '1' for one who may probe.

local record = load()
local may_probe = ARGV[15] == '1'

if record.state == 'closed' then
    save(record)
    return answer(record, nil, 0)
end
if time_to_next(record) ~= 0 or not may_probe then
    save(record)
    return answer(record)
end
local before = record
if record.state == 'open' then record = enter(record, 'half-open') end
record.issued = record.issued + 1
record.permits = live(record)
record.permits[#record.permits + 1] = {number = record.issued, ends = now + rules.lease}
save(record)
return answer(record, before, record.issued)
