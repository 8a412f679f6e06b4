"""The administration site."""

from django.contrib import admin

from provisioner import __version__
from provisioner.access.admin import AuthorizationServerAdmin

__all__ = ["AuthorizationServerAdmin"]

admin.site.site_header = f"Provisioner {__version__}"
admin.site.site_title = "Provisioner"
admin.site.index_title = "Pool of storage nodes"
admin.site.site_url = None
admin.site.enable_nav_sidebar = False  # the lists are wide
