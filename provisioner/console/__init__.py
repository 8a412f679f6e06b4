"""The console: Django's administration site with its own design, navigation and additional
pages.
"""
