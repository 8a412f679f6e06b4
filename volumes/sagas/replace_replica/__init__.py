"""The saga that makes a new replica, in addition to the others or in place of one of them."""
