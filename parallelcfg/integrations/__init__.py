"""Bridges to joblib and IPython."""
