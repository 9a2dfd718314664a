"""The event classes of the Python clients, as a peer of `cargo xtask bench decode --peers`.

    decode.py tastytrade|ibind FILE

FILE holds a frame in each line. For each line of standard input, a number of seconds, all frames are decoded again and
again for so long; a JSON object says what processor time that took, how often it was done, and how many events came out.
"""

import json
import sys
import time

# The thirteen columns of the frames.
COLUMNS = (
    "eventType eventSymbol time sequence index eventFlags price volatility delta gamma theta rho vega".split()
)


def tastytrade(frames):
    """As the streamer does it: JSON, then the event class, which reads columns by their places."""
    from tastytrade.dxfeed import Greeks

    asked = list(Greeks.model_json_schema()["properties"])

    def in_its_order(frame):
        message = json.loads(frame)
        values, width, rows = message["data"][1], len(COLUMNS), []
        for start in range(0, len(values), width):
            row = dict(zip(COLUMNS, values[start : start + width]), eventTime=0)
            rows += [row[name] for name in asked]
        message["data"][1] = rows
        return json.dumps(message, separators=(",", ":"))

    frames = [in_its_order(frame) for frame in frames]

    def decode():
        events = 0
        for frame in frames:
            message = json.loads(frame)
            if message["type"] == "FEED_DATA":
                events += len(Greeks.from_stream(message["data"][1]))
        return events

    return decode


def ibind(frames):
    """As the client does it: its router, from the text of a frame to its event."""
    from ibind.ibkr_ws.ibkr_router import IbkrRouter

    router = IbkrRouter(log_raw_messages=False)

    def decode():
        events = 0
        for frame in frames:
            router.route(frame)
            events += 1
        return events

    return decode


def main():
    package, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        frames = file.read().splitlines()
    decode = {"tastytrade": tastytrade, "ibind": ibind}[package](frames)
    for line in sys.stdin:
        limit, passes = float(line) * 1e9, 0
        decode()  # does not count: whoever had the processor before has left its caches to itself
        begin = time.thread_time_ns()
        while passes == 0 or time.thread_time_ns() - begin < limit:
            events = decode()
            passes += 1
        nanos = time.thread_time_ns() - begin
        print(json.dumps({"nanos": nanos, "passes": passes, "events": events}), flush=True)


main()
