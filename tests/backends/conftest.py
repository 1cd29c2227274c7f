"""Assertions inside the shipped contract explain themselves like those of tests."""

import pytest

pytest.register_assert_rewrite("parallelcfg.testing")
