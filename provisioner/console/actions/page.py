"""The page of an action: it says what the action will do, asks, and calls the operation."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action as unfold_action
from unfold.enums import ActionVariant

from provisioner.access.local_users import user_caller
from provisioner.console.actions.action import Action
from provisioner.console.actions.form import KEY, PASSWORD, ActionForm
from provisioner.console.actions.operation import Answer, Call, operation_call

DRY_RUN = "dry_run"
if TYPE_CHECKING:
    Admin = ModelAdmin[Any]
else:
    Admin = ModelAdmin


def admin_options(actions: list[Action], listed: list[Any]) -> dict[str, Any]:
    """What makes an admin class show these actions, which are all of one model. ``listed``: their
    names, in the order and groups in which a page of an object shows them.
    """
    options: dict[str, Any] = {
        "actions_list": [action.name for action in actions if action.of_list],
        "actions_detail": listed,
    }
    for action in actions:
        options[action.name] = _handler(action)
        options[f"has_{action.name}_permission"] = _is_shown(action)
    return options


def _handler(action: Action) -> Callable[..., HttpResponse]:
    """The method of an admin class that answers for an action."""

    def handle(admin: Admin, request: HttpRequest, object_id: str | None = None) -> HttpResponse:
        return action_page(admin, request, action, object_id)

    handle.__name__ = action.name
    variant = ActionVariant.DANGER if action.destroys else ActionVariant.DEFAULT
    method: Any = unfold_action(
        description=action.title,
        url_path=action.name.replace("_", "-"),
        icon=action.icon,
        variant=ActionVariant.PRIMARY if action.of_list else variant,
    )(handle)
    method.allowed_permissions = [action.name]
    handler: Callable[..., HttpResponse] = method
    return handler


def _is_shown(action: Action) -> Callable[..., bool]:
    """Whether a user sees the button of an action: it is allowed, and applies to the object."""

    def is_shown(admin: Admin, request: HttpRequest, object_id: str | None = None) -> bool:
        if not action.is_allowed(user_caller(request.user)):
            return False
        if action.applies is None or object_id is None:
            return True
        seen: dict[str, Any] = request.__dict__.setdefault("_rows_of_actions", {})
        if object_id not in seen:
            seen[object_id] = admin.model._default_manager.filter(pk=unquote(object_id)).first()
        return seen[object_id] is not None and action.applies(seen[object_id])

    return is_shown


def action_page(
    admin: Admin, request: HttpRequest, action: Action, object_id: str | None
) -> HttpResponse:
    """Ask for an action, and carry it out when the form is sent. No transaction is open here.

    :raises PermissionDenied: HTTP 403, the API would refuse it to this user.
    """
    if not action.is_allowed(user_caller(request.user)):
        raise PermissionDenied(f"{request.user.get_username()} may not do this")
    row = None
    if object_id is not None:
        row = admin.get_object(request, unquote(object_id))
        if row is None:
            text = f"There is no {admin.opts.verbose_name} {unquote(object_id)!r} any more."
            messages.warning(request, text)
            return redirect(_page_of(admin.model, None))
    return _Page(admin, request, action, row).answer()


@dataclass(frozen=True)
class _Page:
    """The page of an action for one request; ``row``: the object, None beside a list."""

    admin: Admin
    request: HttpRequest
    action: Action
    row: Any

    def answer(self) -> HttpResponse:
        sent = self.request.POST if self.request.method == "POST" else None
        caller = user_caller(self.request.user)
        form = ActionForm(self.action, self.row, caller, sent)
        if not form.is_valid():
            return self._asked(form)
        is_trial = self.action.dry_run is not None and DRY_RUN in self.request.POST
        answer = operation_call(self.request, caller, self._call(form, is_trial=is_trial))
        if answer.http == HTTPStatus.FORBIDDEN:
            raise PermissionDenied(answer.description)
        if not answer.ok:
            form.refuse(answer)
            return self._asked(form)
        if is_trial:
            return self._asked(form, answer)
        return self._revealed(answer) if self.action.reveals else self._done(form, answer)

    def _call(self, form: ActionForm, *, is_trial: bool) -> Call:
        content = {**form.content, **self.action.body(self.row)}
        is_query = self.action.endpoint.body is None
        return Call(
            self.action.method,
            self.action.path_of(self.row),
            body={} if is_query else content,
            query=(content if is_query else {}) | ({"dryRun": "true"} if is_trial else {}),
            key="" if is_trial else form.cleaned_data[KEY],
            password=form.cleaned_data.get(PASSWORD),
        )

    def _done(self, form: ActionForm, answer: Answer) -> HttpResponse:
        """Say what happened, on the page that follows."""
        named = form.cleaned_data | dict(answer.data)
        messages.success(self.request, self.action.done.format(row=self.row, **named))
        return redirect(self._next(answer))

    def _next(self, answer: Answer) -> str:
        """The page of the object that the action made or changed, or the list if it is gone."""
        model, found = self.admin.model, self.row
        if self.action.opens:
            model, key, name = self.action.opens
            rows = model._default_manager.filter(**{name: answer.data.get(key)})
            found = rows.order_by("-pk").first()
        elif found is not None and not model._default_manager.filter(pk=found.pk).exists():
            found = None
        return _page_of(model, found)

    def _asked(self, form: ActionForm, trial: Answer | None = None) -> HttpResponse:
        found = self.action.dry_run(trial.data) if trial and self.action.dry_run else None
        return self._rendered(form=form, facts=self.action.facts(self.row), found=found)

    def _revealed(self, answer: Answer) -> HttpResponse:
        """The page that shows a secret, once. No browser keeps a page of the administration."""
        done = self.action.done.format(**answer.data)
        return self._rendered(secret=answer.data[self.action.reveals], done=done)

    def _rendered(self, **context: Any) -> HttpResponse:
        shared = self.admin.admin_site.each_context(self.request)
        own = {
            "title": self.action.title,
            "action": self.action,
            "has_dry_run": self.action.dry_run is not None,
            "row": self.row,
            "back": _page_of(self.admin.model, self.row),
        }
        return TemplateResponse(self.request, "console/action.html", shared | own | context)


def _page_of(model: type[Model], row: Any) -> str:
    """The page of an object, or the list."""
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    if row is None:
        return reverse(f"{name}_changelist")
    return reverse(f"{name}_change", args=[quote(row.pk)])
