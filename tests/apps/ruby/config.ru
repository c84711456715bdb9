# A small Rack application for Puma. It works, and it breaks on purpose when the JSON file named by FAULTS says so; the file is
# read again at each request:
#   {"slow": {"path": "/", "ms": 2000}}    a path is slow, each request holding its thread
#   {"freeze": {"path": "/"}}              a path stops its own worker, as one stuck in native code looks to its master
require "json"

faults = lambda do
  JSON.parse(File.read(ENV.fetch("FAULTS")))
rescue SystemCallError, KeyError, JSON::ParserError
  {}
end

run(lambda do |env|
  fault, path = faults.call, env["PATH_INFO"]
  unless path == "/health"
    sleep(fault["slow"]["ms"] / 1000.0) if fault["slow"] && path.start_with?(fault["slow"]["path"])
    if fault["freeze"] && path.start_with?(fault["freeze"]["path"])
      Process.kill("STOP", Process.pid)
      sleep # The thread may get this far before the whole process stands still.
    end
  end
  [200, { "Content-Type" => "application/json" }, [JSON.generate(from: ENV["NAME"], path: path), "\n"]]
end)
