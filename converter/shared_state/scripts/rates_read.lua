-- The texts under the keys, false for what is not there.
return redis.call('MGET', unpack(KEYS))
