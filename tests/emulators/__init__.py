"""The emulators: that they refuse what the real services refuse."""
