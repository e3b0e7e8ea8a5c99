"""Every address of the portal."""

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import path

from portal import health
from portal.pages import dashboard, people, violations

handler403 = "portal.pages.errors.forbidden"
handler404 = "portal.pages.errors.not_found"
handler500 = "portal.pages.errors.server_error"

urlpatterns = [
    path("", dashboard.dashboard, name="dashboard"),
    path("strip/", dashboard.strip, name="strip"),
    path("violations/", violations.violations, name="violations"),
    path("violations/review/", violations.review_violations, name="review"),
    path("violations/<uuid:violation_id>/", violations.violation, name="violation"),
    path("violations/<uuid:violation_id>/snapshot.jpg", violations.picture, {"view": "full"}, name="snapshot"),
    path("violations/<uuid:violation_id>/face.jpg", violations.picture, {"view": "face"}, name="face"),
    path("violations/<uuid:violation_id>/thumbnail.jpg", violations.picture, {"view": "thumbnail"}, name="thumbnail"),
    path("people/", people.people, name="people"),
    path("people/<int:user_id>/password-link/", people.make_password_link, name="password_link"),
    path("sign-in/", people.SignIn.as_view(), name="login"),
    path("sign-out/", LogoutView.as_view(), name="logout"),
    path("password/", people.PasswordReset.as_view(), name="password_reset"),
    path("password/sent/", people.PasswordResetDone.as_view(), name="password_reset_done"),
    path("password/<uidb64>/<token>/", people.PasswordResetConfirm.as_view(), name="password_reset_confirm"),
    path("first-user/<str:token>/", people.first_user, name="first_user"),
    path("healthz", health.healthz, name="healthz"),
    path("admin/", admin.site.urls),
]
