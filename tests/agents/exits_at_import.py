"""Gives up while it loads."""

import sys

sys.exit("no API key, see README")
