"""The ``parallelcfg`` command: which settings are in force, who said so, and programs run under them.

One module for each group of commands, imported when one of them is called.
"""

from parallelcfg.cli.app import main

__all__ = ["main"]
