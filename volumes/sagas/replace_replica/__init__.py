"""Saga: a new replica, beside the others or in place of one of them."""
