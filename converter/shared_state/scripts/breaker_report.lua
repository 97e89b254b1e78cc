-- Tell a call's end. ARGV[15] generation and ARGV[16] number of its permit, ARGV[17] good, slow, failed or neutral.

local record = load()
local before = record
local number, verdict = tonumber(ARGV[16]), ARGV[17]

local function trips(after)
    if verdict == 'good' then return false end
    if after.failures >= rules.max_failures then return true end
    local failed, poor = 0, 0
    for _, one in ipairs(after.window) do
        if one.kind == 'failed' then failed = failed + 1 end
        if one.kind ~= 'good' then poor = poor + 1 end
    end
    local calls = #after.window
    local often = failed * 100 >= rules.failure_percent * calls or poor * 100 >= rules.slow_percent * calls
    return calls >= rules.minimum and often
end

local function count()
    if verdict == 'neutral' then return end
    local recent = {}
    for _, one in ipairs(record.window) do
        if one.at > now - rules.window_age then recent[#recent + 1] = one end
    end
    recent[#recent + 1] = {kind = verdict, at = now}
    while #recent > rules.window_size do table.remove(recent, 1) end
    record.window = recent
    record.failures = verdict == 'failed' and record.failures + 1 or 0
    if trips(record) then record = open(record) end
end

local function probed()
    local others, held = {}, false
    for _, permit in ipairs(record.permits) do
        if permit.number ~= number then
            others[#others + 1] = permit
        elseif permit.ends > now then
            held = true
        end
    end
    if not held then return end
    record.permits = others
    if verdict == 'failed' then
        record.failures = record.failures + 1
        record = open(record)
    elseif verdict ~= 'neutral' then
        record.successes = record.successes + 1
        if record.successes >= rules.successes then record = enter(record, 'closed') end
    end
end

if tonumber(ARGV[15]) == record.generation then
    if record.state == 'closed' then
        count()
    elseif record.state == 'half-open' then
        probed()
    end
end
save(record)
return answer(record, before)
