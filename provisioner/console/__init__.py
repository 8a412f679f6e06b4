"""The console: Django's administration site with a look, a navigation and pages of its own."""
