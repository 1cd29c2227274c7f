"""``python -m parallelcfg.cli``, where the script is not on the path."""

from parallelcfg.cli.app import main

main()
