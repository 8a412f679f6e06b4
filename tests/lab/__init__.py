"""Storage nodes on the Linux kernel of virtual machines: ``make lab-test``. No other run collects
these tests.
"""
