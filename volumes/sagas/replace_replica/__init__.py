"""The saga that creates a new replica, either as an additional one or to replace another
replica.
"""
