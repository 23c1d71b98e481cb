"""The studio: a page on the user's own model. It sees the net forward and backward, live."""
