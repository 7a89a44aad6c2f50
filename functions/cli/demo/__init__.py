"""``keystead demo``: the whole story on the embedded default, every claim of it checked.

`steps` is what it tells, in order; a new chapter is a function there and one more line in ``STEPS``.
"""
