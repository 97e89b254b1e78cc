-- KEYS: names, recent.  Returns all names, and the recent points.
return {redis.call('ZRANGE', KEYS[1], 0, -1), redis.call('LRANGE', KEYS[2], 0, -1)}
