"""Tests of core.service over memory stores, a scripted clock and a scripted key provider."""
