from django.urls import URLPattern, path

from tasks.views import TaskViewSet

urlpatterns: list[URLPattern] = [
    path("tasks", TaskViewSet.as_view({"get": "list", "put": "update", "delete": "destroy"})),
]
