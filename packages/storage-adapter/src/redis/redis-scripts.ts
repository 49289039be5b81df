// What runs inside Redis. A script is one step: nobody sees half of it, nothing runs in between.
//
// The keys of a shard, all beginning with KEYS[1], which is `<prefix>{<shard>}`:
//   :h  hash    config (JSON), end, logStart, lastMs (time of the last record), bytes (of all payloads)
//   :r  stream  one entry per record, id `<offset>-1` (0-0 is no legal id); fields t (time), d (payload),
//               k (key, if any), g (a tag, as often as there are tags)
//   :k  hash    key -> offset of its newest record
//   :t  zset    `<tag> 00 <offset in 16 digits>`, all with score 0, so in the order of bytes
//   :d  zset    keys whose newest record is a tombstone, by its time (compacted shards)
//   :p  hash    producer id -> msgpack [epoch, [sequence, records, first offset], ...up to 5]
//   :w  hash    writer -> msgpack [attempt, reply]: an attempt that is sent again is answered, not done again
//
// Offsets are doubles in Lua, exact to 2^53; '%.0f' writes them in full, which tostring() does not.

const COMMON = `
local base = KEYS[1]
local H, R, K, T, D, P, W = base..':h', base..':r', base..':k', base..':t', base..':d', base..':p', base..':w'
local function num(n) return string.format('%.0f', n) end
local function pad(n) return string.format('%016.0f', n) end
local function offsetOf(entry) return tonumber(string.match(entry[1], '^(%d+)-')) end
local head = redis.call('HMGET', H, 'end', 'logStart', 'lastMs', 'bytes', 'config')
if not head[1] then return {'NONE'} end
local last, logStart, lastMs, bytes = tonumber(head[1]), tonumber(head[2]), tonumber(head[3]), tonumber(head[4])
local config = cjson.decode(head[5])
local function drop(entry, keyToo)
  local offset = offsetOf(entry)
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == 'd' then bytes = bytes - #fields[i + 1] end
    if fields[i] == 'g' then redis.call('ZREM', T, fields[i + 1]..'\\0'..pad(offset)) end
    if fields[i] == 'k' and keyToo and redis.call('HGET', K, fields[i + 1]) == num(offset) then
      redis.call('HDEL', K, fields[i + 1])
      redis.call('ZREM', D, fields[i + 1])
    end
  end
  redis.call('XDEL', R, entry[1])
end
`;

/** ARGV: writer, attempt, now, appends; each append: has a producer, id, epoch, sequence, records; each record: payload,
 *  has a key, key, tags, each tag. Reply: OK and per append [A first last], [F epoch] or [G next sequence]. */
export const APPEND = `${COMMON}
local done = redis.call('HGET', W, ARGV[1])
if done then
  done = cmsgpack.unpack(done)
  if done[1] == ARGV[2] then return done[2] end
end
local compact = config.cleanup == 'compact'
lastMs = math.max(lastMs, tonumber(ARGV[3]))
local at = 5
local reply = {'OK'}
local function admit(id, epoch, sequence, count)
  local known = redis.call('HGET', P, id)
  local state = known and cmsgpack.unpack(known) or {epoch}
  if epoch < state[1] then return {'F', num(state[1])} end
  if epoch > state[1] then state = {epoch} end
  for i = 2, #state do
    local batch = state[i]
    if batch[1] == sequence then return {'A', num(batch[3]), num(batch[3] + batch[2] - 1)} end
  end
  local previous = #state > 1 and state[#state]
  if previous and sequence ~= previous[1] + previous[2] then return {'G', num(previous[1] + previous[2])} end
  if #state > 5 then table.remove(state, 2) end
  state[#state + 1] = {sequence, count, last}
  redis.call('HSET', P, id, cmsgpack.pack(state))
  return nil
end
for _ = 1, tonumber(ARGV[4]) do
  local count = tonumber(ARGV[at + 4])
  local refusal = nil
  if ARGV[at] == '1' then refusal = admit(ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), count) end
  at = at + 5
  local first = last
  for _ = 1, count do
    local payload, hasKey, key, tags = ARGV[at], ARGV[at + 1] == '1', ARGV[at + 2], tonumber(ARGV[at + 3])
    at = at + 4
    if not refusal then
      local fields = {'t', num(lastMs), 'd', payload}
      if hasKey then
        fields[#fields + 1] = 'k'
        fields[#fields + 1] = key
      end
      for i = 0, tags - 1 do
        fields[#fields + 1] = 'g'
        fields[#fields + 1] = ARGV[at + i]
        redis.call('ZADD', T, 0, ARGV[at + i]..'\\0'..pad(last))
      end
      if hasKey and compact then
        local older = redis.call('HGET', K, key)
        if older then
          local entry = redis.call('XRANGE', R, older..'-1', older..'-1')[1]
          if entry then drop(entry, false) end
        end
        if #payload == 0 then redis.call('ZADD', D, lastMs, key) else redis.call('ZREM', D, key) end
      end
      if hasKey then redis.call('HSET', K, key, num(last)) end
      redis.call('XADD', R, num(last)..'-1', unpack(fields))
      bytes = bytes + #payload
      last = last + 1
    end
    at = at + tags
  end
  reply[#reply + 1] = refusal or {'A', num(first), num(last - 1)}
end
redis.call('HSET', H, 'end', num(last), 'lastMs', num(lastMs), 'bytes', num(bytes))
redis.call('HSET', W, ARGV[1], cmsgpack.pack({ARGV[2], reply}))
return reply
`;

/** ARGV: from, records, bytes. Reply: OK, next, end, entries; or RANGE, logStart, end. */
export const READ = `${COMMON}
local from, maxRecords, maxBytes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if from < logStart or from > last then return {'RANGE', num(logStart), num(last)} end
local found, size, at, step = {}, 0, from, 4
while true do
  local entries = redis.call('XRANGE', R, num(at)..'-1', '+', 'COUNT', step)
  for _, entry in ipairs(entries) do
    local offset = offsetOf(entry)
    if #found >= maxRecords or size >= maxBytes then return {'OK', num(offset), num(last), found} end
    found[#found + 1] = entry
    size = size + #entry[2][4]
    at = offset + 1
  end
  if #entries < step then return {'OK', num(last), num(last), found} end
  step = math.min(step * 2, 256)
end
`;

/** ARGV: from, records, bytes, tag. Reply as that of READ. */
export const READ_TAGGED = `${COMMON}
local from, maxRecords, maxBytes, tag = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
if from < logStart or from > last then return {'RANGE', num(logStart), num(last)} end
local found, size, at = {}, 0, from
while true do
  local members = redis.call('ZRANGEBYLEX', T, '['..tag..'\\0'..pad(at), '['..tag..'\\0'..'9999999999999999', 'LIMIT', 0, 256)
  for _, member in ipairs(members) do
    local offset = tonumber(string.sub(member, -16))
    if #member == #tag + 17 and offset then
      if #found >= maxRecords or size >= maxBytes then return {'OK', num(offset), num(last), found} end
      local entry = redis.call('XRANGE', R, num(offset)..'-1', num(offset)..'-1')[1]
      if entry then
        found[#found + 1] = entry
        size = size + #entry[2][4]
      end
      at = offset + 1
    end
  end
  if #members < 256 then return {'OK', num(last), num(last), found} end
end
`;

/** ARGV: key. Reply: OK and the entry, if there is one. A key whose newest record is a tombstone has none. */
export const READ_KEY = `${COMMON}
local offset = redis.call('HGET', K, ARGV[1])
if not offset or tonumber(offset) < logStart then return {'OK'} end
if config.cleanup == 'compact' and redis.call('ZSCORE', D, ARGV[1]) then return {'OK'} end
return {'OK', redis.call('XRANGE', R, offset..'-1', offset..'-1')[1]}
`;

/** ARGV: time. Reply: OK and the offset. Times never fall, so halving finds it, with gaps or without. */
export const AT_TIME = `${COMMON}
local low, high, time, answer = logStart, last, tonumber(ARGV[1]), last
while low < high do
  local middle = math.floor((low + high) / 2)
  local entry = redis.call('XRANGE', R, num(middle)..'-1', '+', 'COUNT', 1)[1]
  if entry and tonumber(entry[2][2]) < time then
    low = offsetOf(entry) + 1
  else
    if entry then answer = offsetOf(entry) end
    high = middle
  end
end
return {'OK', num(answer)}
`;

/** ARGV: the new logStart, entries to delete at most. Reply: OK and whether some are left; or RANGE, logStart, end. */
export const TRIM = `${COMMON}
local before = tonumber(ARGV[1])
if before > last then return {'RANGE', num(logStart), num(last)} end
logStart = math.max(logStart, before)
local limit = tonumber(ARGV[2])
local entries = redis.call('XRANGE', R, '-', '('..num(logStart)..'-0', 'COUNT', limit)
for _, entry in ipairs(entries) do drop(entry, true) end
redis.call('HSET', H, 'logStart', num(logStart), 'bytes', num(bytes))
return {'OK', #entries == limit and '1' or '0'}
`;

/** ARGV: now, records to look at, time a tombstone is kept by default. Reply: OK and whether there is more to do. */
export const EXPIRE = `${COMMON}
local now, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local gone = 0
if config.cleanup == 'delete' and (config.retentionMs or config.retentionBytes) then
  local oldest = config.retentionMs and now - config.retentionMs or 0
  for _, entry in ipairs(redis.call('XRANGE', R, '-', '+', 'COUNT', limit)) do
    local old = tonumber(entry[2][2]) < oldest
    if not old and not (config.retentionBytes and bytes > config.retentionBytes) then break end
    drop(entry, true)
    gone = gone + 1
    logStart = math.max(logStart, offsetOf(entry) + 1)
  end
end
if config.cleanup == 'compact' then
  local oldest = now - (config.tombstoneMs or tonumber(ARGV[3]))
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', D, '-inf', '('..num(oldest), 'LIMIT', 0, limit)) do
    local offset = redis.call('HGET', K, key)
    local entry = offset and redis.call('XRANGE', R, offset..'-1', offset..'-1')[1]
    if entry then drop(entry, true) end
    redis.call('ZREM', D, key)
    gone = gone + 1
  end
end
if gone > 0 then redis.call('HSET', H, 'logStart', num(logStart), 'bytes', num(bytes)) end
return {'OK', gone >= limit and '1' or '0'}
`;

/** KEYS: base, set of shards. ARGV: name, config. Reply: OK, or the config of the one that exists. */
export const CREATE = `
local existing = redis.call('HGET', KEYS[1]..':h', 'config')
if existing then return {'EXISTS', existing} end
redis.call('HSET', KEYS[1]..':h', 'config', ARGV[2], 'end', '0', 'logStart', '0', 'lastMs', '0', 'bytes', '0')
redis.call('SADD', KEYS[2], ARGV[1])
return {'OK'}
`;

/** KEYS: base. ARGV: the config as it was, the new one. Reply: OK, CHANGED or NONE. */
export const CONFIGURE = `
local existing = redis.call('HGET', KEYS[1]..':h', 'config')
if not existing then return {'NONE'} end
if existing ~= ARGV[1] then return {'CHANGED'} end
redis.call('HSET', KEYS[1]..':h', 'config', ARGV[2])
return {'OK'}
`;

/** KEYS: base, set of shards. ARGV: name. Reply: OK or NONE. */
export const DELETE = `
if redis.call('SREM', KEYS[2], ARGV[1]) == 0 then return {'NONE'} end
for _, part in ipairs({'h', 'r', 'k', 't', 'd', 'p', 'w'}) do redis.call('UNLINK', KEYS[1]..':'..part) end
return {'OK'}
`;
