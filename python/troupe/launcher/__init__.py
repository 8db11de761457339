"""The process that `troupe launch` becomes: it starts the driver, which is the user's script, and the workers, which
live and end together.

The driver finds in its environment TROUPE_RUN_DIR (a directory of mode 0700), TROUPE_WORKERS (how many will come) and
TROUPE_TOKEN (64 hexadecimal digits, the secret of the run; the workers have it too); for encrypted connections also
TROUPE_TLS_CERT and TROUPE_TLS_KEY, files in the launcher's memory. When it first needs devices it listens and writes
TROUPE_RUN_DIR/driver.json, whole at once by a rename: {"address": "127.0.0.1:41234", "pid": 123}. Then the workers
start, on this host, or by ssh or srun on others. A script that needs no devices just ends.

Beside a worker on another host runs a supervisor, which is this folder too (`remote.py`). It gets the secrets through
stdin, of ssh or srun, and kills the worker when that ends; so nothing there outlives the launcher or the connection.

This process has one thread until the workers run, and imports nothing but the standard library: it takes its signals
from a queue, which another thread, such as NumPy's, would empty; and a child dies with the thread that started it. So
it runs this folder alone (`__main__.py`), not the package around it.
"""
