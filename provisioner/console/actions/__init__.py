"""The actions of the console. Each action calls one operation of the API, in this process, with the
rights of the user who is logged in.
"""
