"""``keystead key``: a tenant's own key, from the policies for its cloud to the way out."""
