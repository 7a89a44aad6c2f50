"""Emulators of the clouds a key may live in, for laptops and tests: strict in what they refuse, protecting nothing."""
