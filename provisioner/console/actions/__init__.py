"""What an operator can do in the console. Each action is one operation of the API, called in this
process with the rights of the user who is logged in.
"""
