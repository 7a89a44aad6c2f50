"""Bring your own key from end to end: the whole service over the emulated AWS KMS, spoken to by the real SDK."""
