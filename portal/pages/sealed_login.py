"""A form with a login whose password is stored sealed and shown to nobody.

A stored password is sent only to the host for which it was typed: anyone who may edit the address could otherwise have
it sent to a host of their own. So a new host needs it typed again, and a login without a user has no password.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cameras.reach import addresses
from cameras.reach.credentials import SealError, seal, unseal
from cameras.reach.login import can_be_sent


class SealedLoginForm(forms.ModelForm[Any]):
    """A form for a model with `user` and `sealed_password`; a subclass says where the login is sent."""

    password = forms.CharField(
        label=gettext_lazy("Password"),
        max_length=200,
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._kept = self.instance.sealed_password
        stored = {name: getattr(self.instance, name) for name in self.address_fields}
        self._kept_for = addresses.authority_of(self.login_address(stored))
        if self._kept:
            self.fields["password"].help_text = _("A password is stored, and never shown. Leave this empty to keep it.")

    address_fields: tuple[str, ...] = ()

    def login_address(self, values: Mapping[str, Any]) -> str:
        """The address to which the login is sent, from the stored or typed `address_fields`; empty if there is none."""
        raise NotImplementedError

    def check_login(self, cleaned: dict[str, Any]) -> None:
        """Check user and password, and ask for a stored password again if it would be sent to another host."""
        for name in ("user", "password"):
            if not can_be_sent(cleaned.get(name) or ""):
                self.add_error(name, _("There is a line break in it. Type it again."))
        if not self._kept or cleaned.get("password") or not cleaned.get("user"):
            return
        goes_to = self.login_address({name: cleaned.get(name) or "" for name in self.address_fields})
        if goes_to and addresses.authority_of(goes_to) != self._kept_for:
            self.add_error("password", _("This leads to another host now. Type the password again."))

    @property
    def sealed_password(self) -> str:
        """What to store: the password that was typed, the one that was stored, or nothing if there is no user."""
        if typed := self.cleaned_data.get("password"):
            return seal(typed)
        return self._kept if self.cleaned_data.get("user") else ""

    @property
    def secret(self) -> str:
        """The password itself, for a test before saving; empty if no key here unseals the stored one."""
        if typed := self.cleaned_data.get("password"):
            return str(typed)
        try:
            return unseal(self.sealed_password)
        except SealError:
            return ""
