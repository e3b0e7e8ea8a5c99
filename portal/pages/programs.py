"""The programs that may use the API at a site: for its managers."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from portal.models import Program
from portal.people import access, audit, programs
from portal.people.audit import Action


class ProgramForm(forms.ModelForm[Program]):
    """A new program: its name, and what it may do."""

    rights = forms.MultipleChoiceField(
        label=gettext_lazy("What it may do"),
        choices=Program.May.choices,
        widget=forms.CheckboxSelectMultiple,
        initial=[Program.May.FIGURES.value],
        error_messages={"required": gettext_lazy("Choose at least one.")},
    )

    class Meta:
        model = Program
        fields = ("name", "rights")


@never_cache
def programs_of_site(request: HttpRequest, site_id: int) -> HttpResponse:
    """The list, and a form for one more, whose token is shown once. Five queries for any number of programs."""
    site = access.get_site(request, site_id)
    form = ProgramForm(request.POST if request.method == "POST" else None)
    context: dict[str, Any] = {"site": site, "form": form}
    if form.is_bound:
        if Program.objects.filter(site=site, revoked_at=None).count() >= programs.MOST:
            form.add_error(None, _("A site has at most %(most)d programs. Revoke one first.") % {"most": programs.MOST})
        if form.is_valid():
            given = form.cleaned_data
            made, token = programs.make(site, given["name"], given["rights"], access.person(request))
            audit.note(request, Action.PROGRAM_ADDED, f"{made.name}: {', '.join(made.rights)}", site)
            context |= {"made": made, "token": token, "form": ProgramForm(), "base": request.build_absolute_uri("/")}
    context["programs"] = Program.objects.filter(site=site, revoked_at=None).select_related("made_by")
    status = 422 if form.is_bound and form.errors else 200
    return render(request, "sites/programs.html", context, status=status)


@require_POST
def revoke_program(request: HttpRequest, program_id: int) -> HttpResponse:
    found = access.get_of_site(request, Program, program_id)
    programs.revoke(found)
    audit.note(request, Action.PROGRAM_REVOKED, found.name, found.site)
    messages.success(request, _("The token of “%(name)s” is not valid any more.") % {"name": found.name})
    return redirect("programs", found.site_id)
