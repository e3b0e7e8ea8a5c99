"""Every address of the portal."""

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import path

from portal import health
from portal.api import addresses as api_addresses
from portal.pages import audit, cameras, connect, dashboard, people, profile, sign_in, sites, two_factor, violations

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
    path("cameras/", cameras.cameras, name="cameras"),
    path("cameras/add/", cameras.add_camera, name="camera_add"),
    path("cameras/test/", cameras.test_camera, name="camera_test"),
    path("cameras/tests/<uuid:probe_id>/", cameras.show_probe, name="probe"),
    path("cameras/tests/<uuid:probe_id>/picture.jpg", cameras.show_probe_picture, name="probe_picture"),
    path("cameras/<int:camera_id>/", cameras.camera, name="camera"),
    path("cameras/<int:camera_id>/duplicate/", cameras.duplicate_camera, name="camera_duplicate"),
    path("cameras/<int:camera_id>/pause/", cameras.pause_camera, name="camera_pause"),
    path("cameras/<int:camera_id>/resume/", cameras.resume_camera, name="camera_resume"),
    path("cameras/<int:camera_id>/delete/", cameras.delete_camera, name="camera_delete"),
    path("cameras/<int:camera_id>/restore/", cameras.restore_camera, name="camera_restore"),
    path("sites/", sites.sites, name="sites"),
    path("sites/add/", sites.add_site, name="site_add"),
    path("sites/<int:site_id>/", sites.site, name="site"),
    path("sites/<int:site_id>/archive/", sites.archive_site, name="site_archive"),
    path("sites/<int:site_id>/restore/", sites.restore_site, name="site_restore"),
    path("people/", people.people, name="people"),
    path("people/invite/", people.invite, name="invite"),
    path("people/invitations/<int:invitation_id>/renew/", people.renew_invitation, name="invitation_renew"),
    path("people/invitations/<int:invitation_id>/withdraw/", people.withdraw_invitation, name="invitation_withdraw"),
    path("people/roles/<int:membership_id>/", people.change_role, name="change_role"),
    path("people/roles/<int:membership_id>/remove/", people.remove, name="remove_member"),
    path("people/roles/<int:membership_id>/hand-over/", people.hand_over, name="hand_over"),
    path("people/bring-back/<str:kept>/", people.bring_back, name="bring_back"),
    path("people/<int:user_id>/password-link/", people.make_password_link, name="password_link"),
    path("invitation/<str:secret>/", people.invitation, name="invitation"),
    path("audit/", audit.audit, name="audit"),
    path("audit.csv", audit.export, name="audit_export"),
    path("profile/", profile.profile, name="profile"),
    path("profile/password/", profile.change_password, name="change_password"),
    path("profile/sign-out-everywhere/", profile.sign_out_everywhere, name="sign_out_everywhere"),
    path("profile/two-factor/", two_factor.set_up, name="two_factor"),
    path("profile/two-factor/off/", two_factor.turn_off, name="two_factor_off"),
    path("profile/recovery-codes/", two_factor.new_recovery_codes, name="recovery_codes"),
    path("sign-in/", sign_in.SignIn.as_view(), name="login"),
    path("sign-in/code/", two_factor.second_factor, name="second_factor"),
    path("sign-out/", LogoutView.as_view(), name="logout"),
    path("password/", sign_in.PasswordReset.as_view(), name="password_reset"),
    path("password/sent/", sign_in.PasswordResetDone.as_view(), name="password_reset_done"),
    path("password/<uidb64>/<token>/", sign_in.PasswordResetConfirm.as_view(), name="password_reset_confirm"),
    path("first-user/<str:token>/", sign_in.first_user, name="first_user"),
    path("connect/", connect.connect, name="connect"),
    path("connect/authority.crt", connect.authority, name="authority"),
    path("api/", api_addresses()),
    path("healthz", health.healthz, name="healthz"),
    path("admin/", admin.site.urls),
]
