"""Paths of the event log."""

from django.urls import URLPattern, path

from events.views import EventsViewSet

urlpatterns: list[URLPattern] = [path("events", EventsViewSet.as_view({"get": "list"}))]
