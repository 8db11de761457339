"""Runs the launcher with the settings of its argument, in JSON. Run as a folder, by a Python that sees no packages."""

import os
import sys

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # behind the standard library

from launcher.run import run
from launcher.settings import Settings

sys.exit(run(Settings.of_json(sys.argv[1])))
