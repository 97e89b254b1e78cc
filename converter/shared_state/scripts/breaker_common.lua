-- The breaker's state machine, put before each breaker script. The same rules as converter/domain/breakers.py.
-- KEYS[1] the breaker's hash. ARGV[1..13] the rules, ARGV[14] chance, from ARGV[15] on the script's own.

local KEY = KEYS[1]
local FORCED_KEEP = 30 * 24 * 3600 * 1000
local NO_PERMIT, NO_END = -1, -1
local STATES = {closed = true, open = true, ['half-open'] = true, ['forced-open'] = true}

local names = {'max_failures', 'open_for', 'cap', 'jitter', 'window_size', 'window_age', 'minimum', 'failure_percent',
    'slow_percent', 'permitted', 'successes', 'lease', 'keep'}
local rules = {}
for i, name in ipairs(names) do rules[name] = tonumber(ARGV[i]) end
local chance = tonumber(ARGV[14])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- Lua's own tostring writes 1.7e+15, which is no integer for anybody else.
local function whole(number) return string.format('%.0f', number) end

local function pairs_of(text, first, second)
    local found = {}
    for a, b in string.gmatch(text or '', '(%w+):(%d+)') do
        found[#found + 1] = {[first] = tonumber(a) or a, [second] = tonumber(b)}
    end
    return found
end

local function text_of(list, first, second)
    local parts = {}
    for i, one in ipairs(list) do
        local a = one[first]
        parts[i] = (type(a) == 'number' and whole(a) or a) .. ':' .. whole(one[second])
    end
    return table.concat(parts, ' ')
end

local function fresh()
    -- In microseconds, so that a breaker that was forgotten never meets a permit of its own generation again.
    local generation = tonumber(time[1]) * 1000000 + tonumber(time[2])
    return {state = 'closed', generation = generation, since = now, till = 0, failures = 0, successes = 0, trips = 0,
        outage = false, issued = 0, permits = {}, window = {}}
end

-- A hash that is gone, or in part, or written by something else is a breaker of which nothing is known.
local function load()
    local raw = redis.call('HMGET', KEY, 'state', 'generation', 'since', 'until', 'failures', 'successes', 'trips',
        'outage', 'issued', 'permits', 'window')
    if not STATES[raw[1]] then return fresh() end
    for i = 2, 9 do
        if not tonumber(raw[i]) then return fresh() end
    end
    return {state = raw[1], generation = tonumber(raw[2]), since = tonumber(raw[3]), till = tonumber(raw[4]),
        failures = tonumber(raw[5]), successes = tonumber(raw[6]), trips = tonumber(raw[7]), outage = raw[8] == '1',
        issued = tonumber(raw[9]), permits = pairs_of(raw[10], 'number', 'ends'),
        window = pairs_of(raw[11], 'kind', 'at')}
end

-- Always written, also when nothing changed: a server that refuses writes then says so before anything is decided.
local function save(record)
    redis.call('HSET', KEY, 'state', record.state, 'generation', whole(record.generation), 'since', whole(record.since),
        'until', whole(record.till), 'failures', record.failures, 'successes', record.successes, 'trips', record.trips,
        'outage', record.outage and '1' or '0', 'issued', record.issued,
        'permits', text_of(record.permits, 'number', 'ends'), 'window', text_of(record.window, 'kind', 'at'))
    redis.call('PEXPIRE', KEY, whole(record.state == 'forced-open' and math.max(FORCED_KEEP, rules.keep) or rules.keep))
end

local function live(record)
    local kept = {}
    for _, permit in ipairs(record.permits) do
        if permit.ends > now then kept[#kept + 1] = permit end
    end
    return kept
end

local function time_to_next(record)
    if record.state == 'forced-open' then return NO_END end
    if record.state == 'open' then return math.max(0, record.till - now) end
    if record.state == 'closed' then return 0 end
    local held = live(record)
    local needed = math.max(rules.permitted, rules.successes)
    if #held == 0 or (#held < rules.permitted and #held + record.successes < needed) then return 0 end
    local first = held[1].ends
    for _, permit in ipairs(held) do first = math.min(first, permit.ends) end
    return first - now
end

local function enter(record, state)
    local closed = state == 'closed'
    return {state = state, generation = record.generation + 1, since = now, till = 0,
        failures = closed and 0 or record.failures, successes = 0, trips = record.trips,
        outage = not closed and (record.outage or state == 'open'), issued = 0, permits = {},
        window = closed and {} or record.window}
end

local function open(record)
    local trips = record.trips
    if record.state == 'closed' then
        trips = math.max(0, trips - math.floor((now - record.since) / rules.cap))
    end
    local length = math.min(rules.open_for * 2 ^ math.min(trips, 20), rules.cap)
    local after = enter(record, 'open')
    after.till = now + math.floor(length * (1 + rules.jitter * chance / 100))
    after.trips = trips + 1
    return after
end

-- {permit, wait, state before or '', event or '', state, generation, since, until, failures, trips}
local function answer(record, before, permit)
    local changed = before and before.generation ~= record.generation
    local event = ''
    if before and before.outage ~= record.outage then event = record.outage and 'open' or 'closed' end
    return {permit or NO_PERMIT, time_to_next(record), changed and before.state or '', event, record.state,
        record.generation, record.since, record.till, record.failures, record.trips}
end
