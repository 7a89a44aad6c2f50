"""What Keystead does, over ports only."""
