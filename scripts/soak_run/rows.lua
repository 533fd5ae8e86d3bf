-- Posts the lines of a file one after another, and prints a line of JSON about the answers at the end.

local rows, place = {}, 0
local headers = { ["Content-Type"] = "application/json" }

function init(arguments)
  for line in io.lines(arguments[1]) do
    rows[#rows + 1] = line
  end
end

function request()
  place = place % #rows + 1
  return wrk.format("POST", nil, headers, rows[place])
end

function done(summary, latency, _)
  local failed = summary.errors
  io.write(string.format(
    '\n{"responses": %d, "refused": %d, "broken": %d, "late": %d, "p50": %f, "p99": %f}\n',
    summary.requests, failed.status, failed.connect + failed.read + failed.write, failed.timeout,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6
  ))
end
