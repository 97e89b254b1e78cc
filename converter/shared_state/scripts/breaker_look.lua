-- How the breaker stands. Written back unchanged, so that a server that refuses writes is seen here as well.

local record = load()
save(record)
return answer(record)
