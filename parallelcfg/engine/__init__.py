"""The shell around `core`: threads, clocks and sessions."""
