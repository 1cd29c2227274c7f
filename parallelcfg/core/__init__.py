"""Pure logic: no threads, files, clocks or pickles."""
