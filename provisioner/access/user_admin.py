"""Console pages of users and roles. Only superusers see them."""

from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

if TYPE_CHECKING:
    _Users = UserAdmin[User]

    class _Page: ...
else:
    from unfold.admin import ModelAdmin as _Page

    _Users = UserAdmin


admin.site.unregister([User, Group])


@admin.register(User)
class LocalUserAdmin(_Users, _Page):
    """Users that log in with a password."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class RoleAdmin(GroupAdmin, _Page):
    """Roles. Each role is a group of the same name."""
