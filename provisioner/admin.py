"""The console's site."""

from django.contrib import admin

from provisioner.access import user_admin
from provisioner.access.admin import AuthorizationServerAdmin

__all__ = ["AuthorizationServerAdmin", "user_admin"]

admin.site.index_title = "Overview"
