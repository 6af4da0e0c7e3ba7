-- Publishes a probe: what it is, the time, and what the primary calls itself.
-- KEYS none
-- ARGV channel, what the probe is, what the node calls itself on which somebody listens
-- Returns what the primary calls itself.
--
-- Nodes of a Cluster pass on what is published over connections of their own, and
-- what was published while there was none is lost without a word. So to the name
-- belongs when the one to that node was made: another may have cost something.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))

local function made_at(node)
  local links = redis.pcall('CLUSTER', 'LINKS')
  if links.err then
    return 'unknown'
  end
  for _, flat in ipairs(links) do
    local link = {}
    for i = 1, #flat, 2 do
      link[flat[i]] = flat[i + 1]
    end
    if link.direction == 'to' and link.node == node then
      return string.format('%.0f', link['create-time'])
    end
  end
  return 'none'
end

local name = redis.pcall('CLUSTER', 'MYID')
name = type(name) == 'string' and name or ''
if name ~= '' and ARGV[3] ~= '' and ARGV[3] ~= name then
  name = name .. '@' .. made_at(ARGV[3])
end
redis.call('PUBLISH', ARGV[1], ARGV[2] .. ' ' .. now .. ' ' .. name)
return name
