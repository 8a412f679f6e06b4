"""Console pages of users and roles. Only superusers see them."""

from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.forms import BaseInlineFormSet, ModelForm
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from provisioner.access.models import UserTenant

if TYPE_CHECKING:
    _Users = UserAdmin[User]

    _Inline = admin.TabularInline[UserTenant, User]
    _FormSet = BaseInlineFormSet[UserTenant, User, ModelForm[UserTenant]]

    class _Page: ...
else:
    from unfold.admin import ModelAdmin as _Page
    from unfold.admin import TabularInline as _Inline

    _Users = UserAdmin
    _FormSet = BaseInlineFormSet


admin.site.unregister([User, Group])


class _OneTenant(_FormSet):
    """The form of the tenant of a user."""

    def clean(self) -> None:
        super().clean()
        bound = any(form.cleaned_data.get("tenant_id") for form in self.forms if form.is_valid())
        if bound and self.instance.is_superuser:
            raise ValidationError("A superuser sees the whole pool, so no tenant can be set.")


class TenantInline(_Inline):
    """The tenant that a user is bound to."""

    model = UserTenant
    formset = _OneTenant
    verbose_name_plural = (
        "tenant: the user sees and changes only its objects; without a tenant, "
        "the user sees the whole pool"
    )


@admin.register(User)
class LocalUserAdmin(_Users, _Page):
    """Users who log in with a password."""

    inlines = (TenantInline,)

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class RoleAdmin(GroupAdmin, _Page):
    """Roles. Each role is a group of the same name."""
