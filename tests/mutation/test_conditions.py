"""Tests that the mutation test asked for: each holds a condition that no other test missed."""

from __future__ import annotations
