-- KEYS: who asks, once for each limit. ARGV, three for each: microseconds between two, how many more may come at once, and
-- whether nothing at all is counted where this one may not come.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local answers, even_at, passes = {}, {}, true
for i, key in ipairs(KEYS) do
  local interval, burst = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1])
  local ahead = math.max((tonumber(redis.call('GET', key)) or 0) - now, 0)
  local over = ahead - interval * burst
  if over > 0 then
    answers[i] = -math.ceil(over)
    passes = passes and ARGV[3 * i] ~= '1'
  else
    answers[i] = math.floor(ahead)
    even_at[i] = now + ahead + interval
  end
end
if passes then
  for i, key in ipairs(KEYS) do
    if even_at[i] then
      -- Behind that moment there is nothing to remember.
      redis.call('SET', key, string.format('%.2f', even_at[i]), 'PX', math.ceil((even_at[i] - now) / 1000))
    end
  end
end
return answers
