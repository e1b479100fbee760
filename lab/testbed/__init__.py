"""Testbeds: each gives a trial a fresh client and a fresh server to run between."""
