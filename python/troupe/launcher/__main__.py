"""Launches the settings of an argument, in JSON, or watches over a worker on another host. Run as a folder, by a Python
that sees no packages."""

import os
import sys

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # behind the standard library

from launcher.remote import supervise
from launcher.run import run
from launcher.settings import Settings

if sys.argv[1] == "supervise":
    sys.exit(supervise(sys.argv[2:]))
sys.exit(run(Settings.of_json(sys.argv[2])))
